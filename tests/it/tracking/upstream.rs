//! What tracking costs the upstream, and what is done where the upstream does not track.

use nearside::sandbox::{Cluster, Node, Reply, Standalone};

use super::{Cacher, SOON, stale};
use crate::support::daemon::Daemon;
use crate::support::servers::{client_of_owner, eventually, own_primaries};

/// How many connections with this flag of CLIENT LIST (`t` tracks, `B` in BCAST mode) a node has.
fn tracked(cluster: &Cluster, node: &Node, flag: char) -> usize {
    let list = cluster.command(node, &["CLIENT", "LIST"]).unwrap().text();
    let flags = list.lines().filter_map(|line| line.split(' ').find_map(|word| word.strip_prefix("flags=")));
    flags.filter(|flags| flags.contains(flag)).count()
}

#[test]
fn each_node_has_one_tracked_connection_however_many_clients_cache() {
    let cluster = own_primaries(3);
    let daemon = Daemon::before(&cluster);
    daemon.until_tracked(3);
    let mut cachers: Vec<Cacher> = (0..50).map(|_| Cacher::new(daemon.client(), &[])).collect();
    for (number, cacher) in cachers.iter_mut().enumerate() {
        cacher.read_to_keep("shared");
        cacher.read_to_keep(&format!("own{number}"));
    }
    let mut listeners: Vec<Cacher> = (0..20)
        .map(|number| {
            Cacher::new(daemon.client(), &["BCAST", "PREFIX", if number % 2 == 0 { "sha" } else { "s" }])
        })
        .collect();
    for node in cluster.nodes() {
        assert_eq!(tracked(&cluster, node, 't'), 2, "one for what is read, one for what is listened to");
        assert_eq!(tracked(&cluster, node, 'B'), 1);
    }
    client_of_owner(&cluster, b"shared").command(&["SET", "shared", "1"]).unwrap();
    for cacher in cachers.iter_mut().chain(&mut listeners) {
        assert_eq!(cacher.next_pushes().last(), Some(&stale(&["shared"])));
    }
    let info = daemon.client().command(&["INFO"]).unwrap().text();
    for line in [
        "tracking_clients:70",
        "tracking_total_keys:50",
        "tracking_total_items:50",
        "tracking_total_prefixes:2",
    ] {
        assert!(info.lines().any(|found| found == line), "no {line} in {info}");
    }
    assert!(daemon.counter("tracking_invalidations_sent") >= 70);
    drop(listeners);
    eventually("nobody listens, so the daemon does not", SOON, || {
        cluster.nodes().iter().all(|node| tracked(&cluster, node, 'B') == 0)
    });
    drop(cachers);
    eventually("all is forgotten", SOON, || {
        let info = daemon.client().command(&["INFO"]).unwrap().text();
        ["tracking_clients:0", "tracking_total_keys:0"]
            .iter()
            .all(|line| info.lines().any(|found| found == *line))
    });
}

#[test]
fn a_listener_that_comes_with_other_prefixes_hears_them_and_the_first_goes_on() {
    let cluster = own_primaries(2);
    let daemon = Daemon::before(&cluster);
    daemon.until_tracked(2);
    let mut first = Cacher::new(daemon.client(), &["BCAST", "PREFIX", "ab"]);
    let mut second = Cacher::new(daemon.client(), &["BCAST", "PREFIX", "a"]);
    let mut third = Cacher::new(daemon.client(), &["BCAST", "PREFIX", "x"]);
    first.pushed();
    second.pushed();
    for key in ["ab1", "ab2", "ab3"] {
        client_of_owner(&cluster, key.as_bytes()).command(&["SET", key, "1"]).unwrap();
        assert_eq!(first.next_pushes(), [stale(&[key])]);
        assert_eq!(second.next_pushes(), [stale(&[key])]);
    }
    client_of_owner(&cluster, b"x").command(&["SET", "x", "1"]).unwrap();
    assert_eq!(third.next_pushes(), [stale(&["x"])]);
    assert!(first.pushed().is_empty());
}

#[test]
fn tracking_is_armed_when_it_is_wanted_though_there_is_no_near_cache() {
    let upstream = Standalone::launch(&[]).unwrap();
    let url = format!("redis://{}", upstream.server().address());
    // Armed with the next heartbeat: not before the first read.
    let slowly = ["--heartbeat-interval", "4s", "--lease", "10s"];
    let daemon = Daemon::start(&[&["--upstream", &url, "--l1-size", "0"], &slowly[..]].concat());
    // Whoever connects later than the client comes tracks at once.
    eventually("the node is connected, and does not track", SOON, || {
        daemon.counter("upstream_connections") > 0
            && daemon.nodes().iter().any(|(_, state)| state == "not_asked")
    });
    assert!(!upstream.server().command(&["CLIENT", "LIST"]).unwrap().text().contains("flags=t"));
    let mut cacher = Cacher::new(daemon.client(), &[]);
    // Nobody would tell of this one, so it is not to be kept.
    assert!(cacher.ask(&["GET", "key"]).is_nil());
    assert_eq!(cacher.next_pushes(), [stale(&["key"])]);
    cacher.read_to_keep("key");
    upstream.server().command(&["SET", "key", "1"]).unwrap();
    assert_eq!(cacher.next_pushes(), [stale(&["key"])]);
    assert_eq!(cacher.ask(&["GET", "key"]), Reply::bulk("1"));
}

#[test]
fn what_is_read_on_another_connection_is_not_to_be_kept() {
    let upstream = Standalone::launch(&[]).unwrap();
    let url = format!("redis://{}", upstream.server().address());
    let daemon = Daemon::start(&["--upstream", &url]);
    daemon.until_tracked(1);
    let mut cacher = Cacher::new(daemon.client(), &[]);
    // What is watched is watched, and carried out, on a connection of its own.
    for command in [&["WATCH", "key"][..], &["MULTI"], &["GET", "key"]] {
        assert!(!cacher.ask(command).is_error());
    }
    assert_eq!(cacher.ask(&["EXEC"]).items(), [Reply::Nil(b'_')]);
    assert_eq!(cacher.next_pushes(), [stale(&["key"])]);
    // So is what waits.
    upstream.server().command(&["XADD", "stream", "1-1", "field", "value"]).unwrap();
    assert!(!cacher.ask(&["XREAD", "BLOCK", "1000", "STREAMS", "stream", "0"]).is_nil());
    assert_eq!(cacher.next_pushes(), [stale(&["stream"])]);
}

#[test]
fn a_server_that_refuses_tracking_gives_nothing_to_keep() {
    let upstream = Standalone::launch(&[]).unwrap();
    let user = ["ACL", "SETUSER", "limited", "on", ">secret", "~*", "&*", "+@all", "-client|tracking"];
    assert!(upstream.server().command(&user).unwrap().is_ok());
    let url = format!("redis://limited:secret@{}", upstream.server().address());
    let daemon = Daemon::start(&["--upstream", &url]);
    let mut cacher = Cacher::new(daemon.client(), &[]);
    upstream.server().command(&["MSET", "key", "1", "other", "2"]).unwrap();
    eventually("nothing else is told any more", SOON, || {
        cacher.ask(&["GET", "key"]);
        cacher.pushed() == [stale(&["key"])]
    });
    for _ in 0..3 {
        assert_eq!(cacher.ask(&["GET", "key"]), Reply::bulk("1"));
        assert_eq!(cacher.next_pushes(), [stale(&["key"])]);
        assert_eq!(cacher.ask(&["MGET", "key", "other"]).items().len(), 2);
        assert_eq!(cacher.next_pushes(), [stale(&["key", "other"])]);
        assert_eq!(cacher.ask(&["TTL", "key"]), Reply::Integer(-1));
        assert_eq!(cacher.next_pushes(), [stale(&["key"])]);
    }
}
