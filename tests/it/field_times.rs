//! Fields of a hash that have a time to live of their own: L1 serves none of them longer.
//!
//! The server is told not to look for expired fields by itself, so nothing is pushed when one ends.

use std::thread;
use std::time::Duration;

use nearside::sandbox::{Reply, SandboxClient, Standalone};

use crate::support::daemon::Daemon;
use crate::support::servers::valkey_server;

/// How long the field lives.
const TIME: Duration = Duration::from_millis(1_500);

fn command(client: &mut SandboxClient, words: &str) -> Reply {
    client.command(&words.split(' ').collect::<Vec<_>>()).unwrap()
}

struct Setup {
    _server: Standalone,
    daemon: Daemon,
    direct: SandboxClient,
    client: SandboxClient,
}

fn setup() -> Setup {
    let arguments = ["--enable-debug-command", "yes"].map(str::to_owned);
    let server = Standalone::launch_program(Some(&valkey_server()), &arguments).unwrap();
    let mut direct = server.server().connect().unwrap();
    assert!(command(&mut direct, "DEBUG SET-ACTIVE-EXPIRE 0").is_ok());
    let daemon = Daemon::start(&["--upstream", &format!("redis://{}", server.server().address())]);
    daemon.until_tracked(1);
    let client = daemon.client();
    Setup { _server: server, daemon, direct, client }
}

// === impl Setup ===

impl Setup {
    /// Whether the second of two reads comes from L1.
    fn is_kept(&mut self, read: &str) -> bool {
        command(&mut self.client, read);
        let hits = self.daemon.counter("l1_hits");
        command(&mut self.client, read);
        self.daemon.counter("l1_hits") > hits
    }
}

#[test]
fn what_is_kept_of_a_hash_ends_with_the_first_of_its_fields() {
    let mut setup = setup();
    let reads = ["HGET @ f", "HMGET @ g f", "HGETALL @", "HEXISTS @ f", "HKEYS @", "HVALS @", "HSTRLEN @ f"];
    let make = |setup: &mut Setup, key: &str| {
        command(&mut setup.direct, &format!("HSET {key} f v g w"));
        command(&mut setup.direct, &format!("HPEXPIRE {key} {} FIELDS 1 f", TIME.as_millis()));
    };
    for (number, read) in reads.iter().enumerate() {
        // Each has a key of its own: what is changed more often than it is read is not kept.
        let key = format!("hash{number}");
        let read = &read.replace('@', &key);
        make(&mut setup, &key);
        let before = command(&mut setup.client, read);
        assert!(setup.is_kept(read), "{read}");
        thread::sleep(TIME);
        let after = command(&mut setup.direct, read);
        assert_ne!(before, after, "{read}");
        assert_eq!(command(&mut setup.client, read), after, "{read}");
    }
    // A field that stays says nothing of the others.
    make(&mut setup, "hash");
    assert!(setup.is_kept("HGET hash g"));
    thread::sleep(TIME);
    let hits = setup.daemon.counter("l1_hits");
    assert_eq!(command(&mut setup.client, "HGET hash g"), Reply::bulk("w"));
    assert_eq!(setup.daemon.counter("l1_hits"), hits + 1);
}

#[test]
fn hashes_without_such_fields_are_kept_as_ever_unless_they_are_very_large() {
    let mut setup = setup();
    // A listpack, a hash table, one with a time of its own, and one that nobody looks through.
    for (key, fields) in [("small", 2), ("table", 1_000), ("timed", 2), ("huge", 1_001)] {
        let fields = (0..fields).map(|number| format!("f{number} v")).collect::<Vec<_>>().join(" ");
        command(&mut setup.direct, &format!("HSET {key} {fields}"));
    }
    command(&mut setup.direct, "PEXPIRE timed 60000");
    for key in ["small", "table", "timed"] {
        for read in ["HGETALL", "HLEN", "HGET"] {
            let field = if read == "HGET" { " f1" } else { "" };
            assert!(setup.is_kept(&format!("{read} {key}{field}")), "{read} {key}");
        }
    }
    assert!(setup.is_kept("HGET huge f1"));
    assert!(!setup.is_kept("HLEN huge"));
    let explained = command(&mut setup.client, "NEARSIDE EXPLAIN huge");
    let why = "the server did not say how long it will live";
    assert!(explained.items().iter().any(|item| item.text().starts_with(why)), "{explained:?}");
    setup.daemon.assert_quiet();
}
