//! Connections to a node that are cut or silent, seen through a relay: nothing is done twice, nothing stale
//! is served.

use std::time::Duration;

use nearside::sandbox::{Cluster, Node, Reply};
use tokio::time::Instant;

use crate::support::daemon::Daemon;
use crate::support::relay::Relay;
use crate::support::servers::{eventually, own_primaries};

/// How long the daemon may take to be back after a cut.
const BACK_LIMIT: Duration = Duration::from_secs(10);

/// One node, the relay in front of it, and a daemon that knows only the relay.
fn behind_a_relay(cluster: &Cluster) -> (&Node, Relay, Daemon) {
    let node = &cluster.nodes()[0];
    let relay = Relay::before(node);
    let daemon = Daemon::start(&["--upstream", &format!("redis-cluster://{}", relay.address())]);
    (node, relay, daemon)
}

#[test]
fn a_lost_reply_of_incr_is_an_error_and_the_command_runs_once() {
    let cluster = own_primaries(1);
    let (node, relay, daemon) = behind_a_relay(&cluster);
    let mut client = daemon.client();
    for round in 1..=5 {
        eventually("the daemon is back", BACK_LIMIT, || {
            !client.command(&["GET", "other"]).unwrap().is_error()
        });
        relay.lose_reply_to(b"INCR");
        let reply = client.command(&["INCR", "counter"]).unwrap();
        assert!(reply.is_error(), "round {round}: {reply:?}");
        assert!(!relay.is_armed(), "round {round}: INCR never reached the relay");
        let counted = cluster.command(node, &["GET", "counter"]).unwrap();
        assert_eq!(counted, Reply::bulk(round.to_string()), "executed once each");
    }
    eventually("the daemon reads the counter", BACK_LIMIT, || {
        client.command(&["GET", "counter"]).unwrap() == Reply::bulk("5")
    });
}

#[test]
fn what_was_cached_before_a_cut_is_not_served_after_it() {
    let cluster = own_primaries(1);
    let (node, relay, daemon) = behind_a_relay(&cluster);
    let mut client = daemon.client();
    for round in 0..10 {
        let value = round.to_string();
        cluster.command(node, &["SET", "key", &value]).unwrap();
        eventually("the value is read", BACK_LIMIT, || {
            client.command(&["GET", "key"]).unwrap() == Reply::bulk(&value)
        });
        client.command(&["GET", "key"]).unwrap();
        relay.cut();
        cluster.command(node, &["SET", "key", "changed"]).unwrap();
        // An invalidation's way, not the L1 TTL, is what a stale read may last.
        eventually("the new value is read after the cut", Duration::from_secs(2), || {
            client.command(&["GET", "key"]).unwrap() == Reply::bulk("changed")
        });
    }
}

#[test]
fn what_was_cached_is_not_served_for_long_over_a_silent_connection() {
    let cluster = own_primaries(1);
    let (node, relay, daemon) = behind_a_relay(&cluster);
    let mut client = daemon.client();
    client.set_timeout(Duration::from_secs(20)).unwrap();
    cluster.command(node, &["SET", "key", "old"]).unwrap();
    client.command(&["GET", "key"]).unwrap();
    assert_eq!(client.command(&["GET", "key"]).unwrap(), Reply::bulk("old"));
    relay.pause();
    cluster.command(node, &["SET", "key", "new"]).unwrap();
    // No push can come. Once the heartbeat is late, a read must no longer be answered from memory.
    eventually("the old value is no longer served", Duration::from_secs(15), || {
        client.command(&["GET", "key"]).unwrap() != Reply::bulk("old")
    });
    relay.resume();
    eventually("the new value is read", BACK_LIMIT, || {
        client.command(&["GET", "key"]).unwrap() == Reply::bulk("new")
    });
}

#[test]
fn a_node_that_hangs_up_again_and_again_is_not_connected_to_without_pause() {
    let cluster = own_primaries(1);
    let node = &cluster.nodes()[0];
    let relay = Relay::before(node);
    let upstream = format!("redis-cluster://{}", relay.address());
    let (mut connections, began) = (0, Instant::now());
    let daemon = Daemon::start(&["--upstream", &upstream, "--upstream-backoff-min", "200ms"]);
    let mut client = daemon.client();
    while began.elapsed() < Duration::from_secs(2) {
        // A command that came before the loss was seen is an error; one that waited for the connection is
        // not.
        if !client.command(&["INCR", "counter"]).unwrap().is_error() {
            connections += 1;
            relay.cut();
        }
    }
    let most = 1 + began.elapsed().as_millis() / 200;
    assert!((3..=most).contains(&connections), "{connections} connections in {:?}", began.elapsed());
}
