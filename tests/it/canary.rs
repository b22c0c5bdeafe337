//! Canaries: how long it takes until a change is heard of, for each node, and whether it is.

use std::collections::BTreeMap;
use std::time::Duration;

use nearside::router::coherence::canary::PREFIX;

use crate::support::daemon::{Daemon, upstream_url};
use crate::support::relay::Relay;
use crate::support::servers::{eventually, own_primaries};

const SOON: Duration = Duration::from_secs(15);

/// What INFO says of each node's canary.
fn songs(daemon: &Daemon) -> Vec<BTreeMap<String, String>> {
    let info = daemon.client().command(&["INFO", "nearside"]).unwrap().text();
    let lines = info.lines().filter(|line| line.starts_with("canary"));
    let fields = |line: &str| -> BTreeMap<String, String> {
        let fields =
            line.split_once(':').unwrap().1.trim().split(',').map(|field| field.split_once('=').unwrap());
        fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    lines.map(fields).collect()
}

fn number(song: &BTreeMap<String, String>, name: &str) -> u64 {
    song[name].parse().unwrap()
}

#[test]
fn each_node_is_measured_on_a_key_of_its_own_that_does_not_stay() {
    let cluster = own_primaries(3);
    for workers in ["1", "2"] {
        let arguments =
            ["--upstream", &upstream_url(&cluster), "--canary-interval", "50ms", "--workers", workers];
        let daemon = Daemon::start(&arguments);
        eventually("every node is measured", SOON, || {
            let songs = songs(&daemon);
            songs.len() == 3 && songs.iter().all(|song| number(song, "count") >= 5)
        });
        for song in songs(&daemon) {
            let times = ["p50_us", "p99_us", "max_us"].map(|name| number(&song, name));
            assert!(times[0] > 0 && times.is_sorted(), "{song:?}");
            assert!(number(&song, "last_us") > 0);
            assert_eq!(number(&song, "refused"), 0);
        }
        daemon.stop();
    }
    for node in cluster.nodes() {
        let mut direct = node.server().connect().unwrap();
        let keys = direct.command(&["KEYS", "*"]).unwrap();
        assert_eq!(keys.items().len(), 2, "one of each daemon: {keys:?}");
        for key in keys.items() {
            assert!(key.bytes().unwrap().starts_with(PREFIX), "{key:?}");
            let left = direct.command(&["PTTL", &key.text()]).unwrap().integer().unwrap();
            assert!((1..=10_000).contains(&left), "{left}");
        }
    }
}

#[test]
fn there_is_none_unless_it_is_asked_for() {
    let cluster = own_primaries(1);
    let daemon = Daemon::before(&cluster);
    daemon.until_tracked(1);
    assert!(songs(&daemon).is_empty());
    daemon.stop();
}

#[test]
fn what_is_not_heard_of_is_counted_and_logged() {
    let cluster = own_primaries(1);
    let relay = Relay::before(&cluster.nodes()[0]);
    let url = format!("redis-cluster://{}", relay.address());
    let daemon = Daemon::start(&["--upstream", &url, "--canary-interval", "50ms"]);
    eventually("it is measured", SOON, || songs(&daemon).iter().any(|song| number(song, "count") > 0));
    relay.lose_pushes_with(PREFIX);
    eventually("it is missed", SOON, || songs(&daemon).iter().any(|song| number(song, "missed") > 0));
    daemon.assert_logged("WARN", "canary: a key was written and nothing was heard of it in time");
    relay.lose_pushes_with(b"");
    let before = number(&songs(&daemon)[0], "count");
    eventually("it is heard again", SOON, || number(&songs(&daemon)[0], "count") > before);
    daemon.stop();
}

#[test]
fn a_node_that_refuses_the_key_is_counted_and_logged_once() {
    let cluster = own_primaries(1);
    let mut direct = cluster.nodes()[0].server().connect().unwrap();
    assert!(direct.command(&["ACL", "SETUSER", "default", "-set"]).unwrap().is_ok());
    let daemon = Daemon::start(&["--upstream", &upstream_url(&cluster), "--canary-interval", "50ms"]);
    eventually("it is refused", SOON, || songs(&daemon).iter().any(|song| number(song, "refused") > 3));
    daemon.assert_logged("WARN", "canary: the node refuses its key");
    daemon.assert_times_logged("canary: the node refuses its key", 1);
    assert!(direct.command(&["ACL", "SETUSER", "default", "+set"]).unwrap().is_ok());
    eventually("it is measured", SOON, || songs(&daemon).iter().any(|song| number(song, "count") > 0));
    daemon.stop();
}
