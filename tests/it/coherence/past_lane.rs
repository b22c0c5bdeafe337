//! What a client was told may be newer than what the lane of the node has heard of: over a dedicated
//! connection, or as the reply to a read that writes. L1 must not serve anything older after it, even if the
//! lane never hears.

use nearside::sandbox::{Cluster, Reply, SandboxClient};

use crate::support::daemon::Daemon;
use crate::support::relay::Relay;
use crate::support::servers::{client_of_owner, eventually, own_primaries};

/// A node whose pushes about `key` are lost, with `key` set by `set`, and two clients of a daemon that has
/// the answer to `read` in L1.
fn deaf(key: &str, set: &[&str], read: &[&str]) -> (Cluster, Relay, Daemon, [SandboxClient; 2]) {
    let cluster = own_primaries(1);
    let relay = Relay::before(&cluster.nodes()[0]);
    let daemon = Daemon::start(&["--upstream", &format!("redis-cluster://{}", relay.address())]);
    daemon.until_tracked(1);
    let mut clients = [daemon.client(), daemon.client()];
    clients[0].command(set).unwrap();
    eventually("it is in L1", std::time::Duration::from_secs(5), || {
        let hits = daemon.counter("l1_hits");
        clients.iter_mut().for_each(|client| _ = client.command(read).unwrap());
        daemon.counter("l1_hits") == hits + 2
    });
    relay.lose_pushes_with(key.as_bytes());
    (cluster, relay, daemon, clients)
}

fn command(client: &mut SandboxClient, words: &str) -> Reply {
    client.command(&words.split(' ').collect::<Vec<_>>()).unwrap()
}

#[test]
fn what_a_transaction_with_watched_keys_read_is_not_followed_by_something_older() {
    let (cluster, _relay, _daemon, mut clients) = deaf("{k}", &["SET", "{k}", "old"], &["GET", "{k}"]);
    assert!(command(&mut client_of_owner(&cluster, b"{k}"), "SET {k} new").is_ok());
    assert_eq!(command(&mut clients[1], "GET {k}"), Reply::bulk("old"), "the lane is not deaf");
    for words in ["WATCH other{k}", "MULTI", "GET {k}"] {
        command(&mut clients[0], words);
    }
    assert_eq!(command(&mut clients[0], "EXEC").items(), [Reply::bulk("new")]);
    for client in &mut clients {
        assert_eq!(command(client, "GET {k}"), Reply::bulk("new"));
    }
}

#[test]
fn what_a_transaction_with_watched_keys_flushed_is_not_served_any_more() {
    // The push that says so names no key.
    let (_cluster, _relay, _daemon, mut clients) = deaf("_", &["SET", "k", "old"], &["GET", "k"]);
    for words in ["WATCH other", "MULTI", "FLUSHALL"] {
        command(&mut clients[0], words);
    }
    assert!(command(&mut clients[0], "EXEC").items()[0].is_ok());
    for client in &mut clients {
        assert!(command(client, "GET k").is_nil());
    }
}

#[test]
fn what_was_waited_for_is_not_followed_by_something_older() {
    let (cluster, _relay, daemon, mut clients) =
        deaf("{s}", &["XADD", "{s}", "1-1", "f", "v"], &["XLEN", "{s}"]);
    let mut waiting = daemon.client();
    waiting.send(&["XREAD", "BLOCK", "0", "STREAMS", "{s}", "1-1"]).unwrap();
    eventually("it waits", std::time::Duration::from_secs(5), || daemon.counter("waits_begun") > 0);
    let added = client_of_owner(&cluster, b"{s}").command(&["XADD", "{s}", "2-1", "f", "v"]).unwrap();
    assert_eq!(added, Reply::bulk("2-1"));
    assert!(!waiting.receive().unwrap().is_nil());
    for client in clients.iter_mut().chain([&mut waiting]) {
        assert_eq!(command(client, "XLEN {s}").integer(), Some(2));
    }
}

#[test]
fn what_pfcount_leaves_in_its_key_is_read_behind_it() {
    let (cluster, _relay, _daemon, mut clients) = deaf("{h}", &["PFADD", "{h}", "a", "b"], &["GET", "{h}"]);
    let before = command(&mut clients[1], "GET {h}");
    assert_eq!(command(&mut clients[0], "PFCOUNT {h}").integer(), Some(2));
    let after = command(&mut client_of_owner(&cluster, b"{h}"), "GET {h}");
    assert_ne!(before, after, "PFCOUNT changed nothing");
    for client in &mut clients {
        assert_eq!(command(client, "GET {h}"), after);
    }
}
