//! What clients that stay cost: thousands that are connected, subscribed, blocked or in transactions, on
//! nearside and on redis-server in the same run. `benches/README.md` says how to read it. `cargo bench
//! --bench sessions`

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench ends at the first surprise, and prints"
)]

mod blocked;
#[path = "../shared/cpu.rs"]
mod cpu;
mod figures;
mod hits;
mod member;
mod servers;
mod subscribed;
mod transactions;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const USAGE: &str = "cargo bench --bench sessions -- [--only TEXT]
  --only TEXT  only the part whose name contains TEXT: subscribed, blocked, transactions, hits";

const PARTS: [(&str, fn()); 4] = [
    ("subscribed", subscribed::measure),
    ("blocked", blocked::measure),
    ("transactions", transactions::measure),
    ("hits", hits::measure),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let only = match &arguments[..] {
        [] => "",
        [flag, text] if flag == "--only" => text,
        _ => return println!("{USAGE}"),
    };
    raise_open_files();
    for (name, measure) in PARTS {
        if name.contains(only) {
            measure();
        }
    }
}

/// Lets this process, and those that it starts, hold as many sockets as the system lets them.
fn raise_open_files() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}
