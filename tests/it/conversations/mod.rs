//! The same conversations with a plain redis-server and with nearside: every byte of every reply must be the
//! same, over TCP and over the Unix socket, in RESP2 and in RESP3, with L1 and without.

mod differing;
mod fragments;
mod large_values;
mod password;
mod script;
mod talk;
mod unread_replies;

use std::collections::BTreeMap;

use nearside::sandbox::{Address, Cluster, ClusterShape, Standalone};

use crate::support::daemon::{Daemon, upstream_url};
use crate::support::servers::sandbox;
use script::Script;
use talk::{Said, talk};

const SCRIPTS: &[(&str, &str)] = &[
    ("administration", include_str!("scripts/administration.txt")),
    ("bitmaps", include_str!("scripts/bitmaps.txt")),
    ("clients", include_str!("scripts/clients.txt")),
    ("counters", include_str!("scripts/counters.txt")),
    ("errors", include_str!("scripts/errors.txt")),
    ("expiry", include_str!("scripts/expiry.txt")),
    ("geo", include_str!("scripts/geo.txt")),
    ("hashes", include_str!("scripts/hashes.txt")),
    ("hello", include_str!("scripts/hello.txt")),
    ("hyperloglogs", include_str!("scripts/hyperloglogs.txt")),
    ("keys", include_str!("scripts/keys.txt")),
    ("lists", include_str!("scripts/lists.txt")),
    ("many_keys", include_str!("scripts/many_keys.txt")),
    ("pipelines", include_str!("scripts/pipelines.txt")),
    ("protocol_errors", include_str!("scripts/protocol_errors.txt")),
    ("scripts", include_str!("scripts/scripts.txt")),
    ("sets", include_str!("scripts/sets.txt")),
    ("sorted_sets", include_str!("scripts/sorted_sets.txt")),
    ("streams", include_str!("scripts/streams.txt")),
    ("strings", include_str!("scripts/strings.txt")),
    ("transactions", include_str!("scripts/transactions.txt")),
];

/// A difference is shown up to here: values may be megabytes.
const SHOWN_BYTES_MAX: usize = 300;

#[test]
fn conversations_are_the_same_in_front_of_a_cluster() {
    let cluster = Cluster::launch(&ClusterShape::default()).unwrap();
    compare(&upstream_url(&cluster));
}

#[test]
fn conversations_are_the_same_in_front_of_one_server() {
    let server = one_database();
    compare(&format!("redis://{}", server.server().address()));
}

/// Compares nearside in front of `upstream` with a plain server, and shows all differences at once.
fn compare(upstream: &str) {
    let plain = one_database();
    let scripts: Vec<Script> = SCRIPTS.iter().map(|(name, text)| Script::read(name, text)).collect();
    let unix = sandbox().make_directory().unwrap().join("nearside.sock");
    let mut differences = Differences::default();
    for version in [2, 3] {
        let expected = |script| talk(script, &Address::Tcp(plain.server().address()), version);
        let expected: Vec<Vec<Said>> = scripts.iter().map(expected).collect();
        for (script, said) in scripts.iter().zip(&expected) {
            let cut: Vec<usize> =
                said.iter().filter(|said| said.is_cut_short).map(|said| said.line).collect();
            assert!(cut.is_empty(), "script {}: a plain server answers otherwise at {cut:?}", script.name);
        }
        for l1_size in ["100mb", "0"] {
            let unix_path = unix.to_str().unwrap();
            let daemon = Daemon::start(&["--upstream", upstream, "--unix", unix_path, "--l1-size", l1_size]);
            for address in [daemon.address().clone(), Address::Unix(unix.clone())] {
                let way = format!("RESP{version}, L1 {l1_size}, {address}");
                for (script, expected) in scripts.iter().zip(&expected) {
                    differences.add(script.name, &way, expected, &talk(script, &address, version));
                }
            }
            assert_eq!(daemon.counter("l1_hits") > 0, l1_size != "0", "with an L1 of {l1_size}");
            daemon.assert_quiet();
            daemon.stop();
        }
    }
    differences.assert_none();
}

/// Like the daemon, a cluster has one database.
fn one_database() -> Standalone {
    Standalone::launch(&["--databases", "1"].map(str::to_owned)).unwrap()
}

/// What differed, with the ways to ask in which it did.
#[derive(Default)]
struct Differences(BTreeMap<String, Vec<String>>);

// === impl Differences ===

impl Differences {
    fn add(&mut self, script: &str, way: &str, expected: &[Said], got: &[Said]) {
        assert_eq!(expected.len(), got.len(), "{script}: other steps were taken");
        for (expected, got) in expected.iter().zip(got) {
            if expected == got {
                continue;
            }
            let begins = expected.replies.iter().zip(&got.replies).take_while(|(one, other)| one == other);
            let from = begins.count().saturating_sub(40);
            let text = format!(
                "{script}:{} (asked for the {}. time), shown from byte {from}\n    Redis:    {}\n    nearside: {}",
                expected.line,
                expected.round,
                shown(&expected.replies[from..]),
                shown(&got.replies[from..]),
            );
            self.0.entry(text).or_default().push(way.to_owned());
        }
    }

    fn assert_none(&self) {
        let all: Vec<String> =
            self.0.iter().map(|(text, ways)| format!("{text}\n    {}", ways.join("; "))).collect();
        assert!(all.is_empty(), "{} differences:\n{}", all.len(), all.join("\n"));
    }
}

fn shown(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(SHOWN_BYTES_MAX)].escape_ascii().to_string()
}
