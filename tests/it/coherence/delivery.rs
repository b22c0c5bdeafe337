//! What changes on the nodes themselves, past the daemon, is soon seen through it, whatever happens to
//! connections.

use std::time::Duration;

use nearside::sandbox::{Cluster, Reply, SandboxClient};

use crate::support::daemon::Daemon;
use crate::support::servers::{client_of_owner, eventually, own_primaries, owner};

/// How long an invalidation may be under way. Far below the L1 TTL, so that expiry cannot stand in for it.
const DELIVERY: Duration = Duration::from_secs(2);

#[test]
fn flushing_the_nodes_clears_l1() {
    let cluster = own_primaries(3);
    let daemon = Daemon::before(&cluster);
    let mut client = daemon.client();
    let keys: Vec<String> = (0..100).map(|number| format!("flushed:{number}")).collect();
    for flush in ["FLUSHALL", "FLUSHDB"] {
        fill(&cluster, &daemon, &keys);
        for node in cluster.primaries().unwrap() {
            cluster.command(node, &[flush]).unwrap();
        }
        eventually(&format!("all keys are gone after {flush}"), DELIVERY, || {
            keys.iter().all(|key| client.command(&["GET", key]).unwrap().is_nil())
        });
    }
    daemon.assert_quiet();
}

#[test]
fn a_killed_upstream_connection_leaves_nothing_stale() {
    let cluster = own_primaries(3);
    let daemon = Daemon::before(&cluster);
    let mut client = daemon.client();
    let mut somebody = client_of_owner(&cluster, b"killed");
    for round in 0..20 {
        let (before, after) = (format!("{round}:before"), format!("{round}:after"));
        somebody.command(&["SET", "killed", &before]).unwrap();
        eventually("the value is read", DELIVERY, || reads(&mut client, "killed", &before));
        assert!(reads(&mut client, "killed", &before), "round {round}");

        assert!(kill_tracking_connections(&cluster, b"killed") > 0, "the daemon tracks nothing");
        // The read may be answered by a new connection, or fail while there is none; it fills or it does not.
        client.command(&["GET", "killed"]).unwrap();
        somebody.command(&["SET", "killed", &after]).unwrap();
        eventually("the write after the kill is read", DELIVERY, || reads(&mut client, "killed", &after));
        assert!(reads(&mut client, "killed", &after), "round {round}: it went back");
    }
}

#[test]
fn a_burst_of_invalidations_leaves_nothing_stale() {
    let cluster = own_primaries(3);
    let daemon = Daemon::before(&cluster);
    let keys: Vec<String> = (0..10_000).map(|number| format!("burst:{number}")).collect();
    fill(&cluster, &daemon, &keys);
    write_directly(&cluster, &keys, "new");
    let mut client = daemon.client();
    eventually("all new values are read", DELIVERY, || count_of(&mut client, &keys, "new") == keys.len());
    assert_eq!(count_of(&mut client, &keys, "new"), keys.len(), "some went back");
    daemon.assert_quiet();
}

/// Writes the keys on their nodes, and reads them until all of them come from L1: what is read while a
/// connection is new, or while the invalidation of the write before is under way, need not be kept.
fn fill(cluster: &Cluster, daemon: &Daemon, keys: &[String]) {
    // What is read before a connection is tracked is answered and not kept.
    daemon.until_tracked(cluster.nodes().len());
    write_directly(cluster, keys, "old");
    let mut client = daemon.client();
    eventually("all keys are in L1", DELIVERY, || {
        let hits = daemon.counter("l1_hits");
        let old = count_of(&mut client, keys, "old");
        old == keys.len() && daemon.counter("l1_hits") - hits == keys.len() as u64
    });
}

/// How many of the keys are read with this value.
fn count_of(client: &mut SandboxClient, keys: &[String], value: &str) -> usize {
    let mut count = 0;
    for some in keys.chunks(1_000) {
        some.iter().for_each(|key| client.send(&["GET", key]).unwrap());
        // Every reply is taken, so that the next look begins clean.
        count += some.iter().filter(|_| client.receive().unwrap() == Reply::bulk(value)).count();
    }
    count
}

fn write_directly(cluster: &Cluster, keys: &[String], value: &str) {
    for (node, own) in cluster.by_owner(keys).unwrap() {
        let mut direct = node.server().connect().unwrap();
        for some in own.chunks(1_000) {
            some.iter().for_each(|key| direct.send(&["SET", key, value]).unwrap());
            for key in some {
                assert!(direct.receive().unwrap().is_ok(), "{key}");
            }
        }
    }
}

fn reads(client: &mut SandboxClient, key: &str, value: &str) -> bool {
    client.command(&["GET", key]).unwrap() == Reply::bulk(value)
}

/// Kills what tracks on the owner of `key` (flag `t` in CLIENT LIST); how many that were.
fn kill_tracking_connections(cluster: &Cluster, key: &[u8]) -> usize {
    let node = owner(cluster, key);
    let list = cluster.command(node, &["CLIENT", "LIST"]).unwrap().text();
    let word =
        |line: &str, name: &str| line.split(' ').find_map(|word| word.strip_prefix(name).map(str::to_owned));
    let tracking = list.lines().filter(|line| word(line, "flags=").is_some_and(|flags| flags.contains('t')));
    let ids: Vec<String> = tracking.filter_map(|line| word(line, "id=")).collect();
    for id in &ids {
        cluster.command(node, &["CLIENT", "KILL", "ID", id]).unwrap();
    }
    ids.len()
}
