//! What a bad day of a node, of the network or of a client costs everybody else: each row is measured on a
//! calm day and under the fault, with the defaults, real servers, and links that are slow on demand.
//! `benches/README.md` says how to read it. `cargo bench --bench reach`

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench ends at the first surprise, and prints"
)]

#[path = "../../tests/support/mod.rs"]
#[expect(dead_code, reason = "not all of what tests share is needed here")]
mod support;

mod distance;
mod figures;
mod guesses;
mod large_values;
mod many_keys;
mod one_node;
mod probe;
mod trickle;
mod unread;

const USAGE: &str = "cargo bench --bench reach -- [ROW ...]
rows: trickle, large-values, unread, many-keys, distance, one-node, guesses; all without a name";

const ROWS: [(&str, fn()); 7] = [
    ("trickle", trickle::measure),
    ("large-values", large_values::measure),
    ("unread", unread::measure),
    ("many-keys", many_keys::measure),
    ("distance", distance::measure),
    ("one-node", one_node::measure),
    ("guesses", guesses::measure),
];

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if wanted.iter().any(|name| ROWS.iter().all(|(row, _)| row != name)) {
        return println!("{USAGE}");
    }
    figures::print_head();
    for (name, measure) in ROWS {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            measure();
        }
    }
}
