//! Nodes that announce what leads nowhere from here are reached by a map: those that own slots, those that a
//! redirect names, and the master that a Sentinel names.

use std::net::TcpListener;
use std::time::Duration;

use nearside::protocol::key::Slot;
use nearside::sandbox::sentinel::SERVICE;
use nearside::sandbox::{Cluster, Node, Reply, Sentinel};

use crate::support::daemon::{Daemon, upstream_url};
use crate::support::relay::Relay;
use crate::support::servers::{eventually, own_primaries, owner};

/// A cluster whose nodes announce names that nobody can look up, and those names.
fn nameless() -> (Cluster, Vec<String>) {
    let cluster = own_primaries(3);
    let name = |index: usize| format!("node-{index}.invalid");
    for (index, node) in cluster.nodes().iter().enumerate() {
        for (setting, value) in
            [("cluster-announce-hostname", &*name(index)), ("cluster-preferred-endpoint-type", "hostname")]
        {
            assert!(cluster.command(node, &["CONFIG", "SET", setting, value]).unwrap().is_ok());
        }
    }
    let names: Vec<String> = (0..cluster.nodes().len()).map(name).collect();
    // Each node tells the others.
    for node in cluster.nodes() {
        eventually("all names are known", Duration::from_secs(20), || {
            let slots = cluster.command(node, &["CLUSTER", "SLOTS"]).unwrap();
            let told = format!("{slots:?}");
            names.iter().all(|name| told.contains(&format!("{:?}", Reply::bulk(name))))
        });
    }
    (cluster, names)
}

/// Keys of every node are written and read, and one whose slot is moved meanwhile.
fn assert_served(cluster: &Cluster, daemon: &Daemon) {
    let mut client = daemon.client();
    let keys = || (0..64).map(|number| format!("key{number}"));
    for key in keys() {
        assert_eq!(client.command(&["SET", &key, &key]).unwrap().text(), "OK");
    }
    let from = owner(cluster, b"key7");
    let to = cluster.nodes().iter().find(|node| node.id() != from.id()).unwrap();
    let migration = cluster.begin_migration(Slot::of(b"key7"), to).unwrap();
    while migration.move_keys(10).unwrap() > 0 {}
    // ASK, and then MOVED.
    assert_eq!(client.command(&["GET", "key7"]).unwrap().text(), "key7");
    assert_eq!(client.command(&["APPEND", "key7", "!"]).unwrap(), Reply::Integer(5));
    migration.finish().unwrap();
    assert_eq!(client.command(&["APPEND", "key7", "!"]).unwrap(), Reply::Integer(6));
    for key in keys().filter(|key| key != "key7") {
        assert_eq!(client.command(&["GET", &key]).unwrap().text(), key);
    }
}

#[test]
fn names_that_nobody_can_look_up_are_reached_by_a_rule_for_each_host() {
    let (cluster, names) = nameless();
    let seeds = upstream_url(&cluster);
    let rules: Vec<String> = names.iter().map(|name| format!("{name}=127.0.0.1")).collect();
    let daemon = Daemon::start(&["--upstream", &seeds, "--address-map", &rules.join(",")]);
    daemon.until_tracked(3);
    let mut reached: Vec<String> = daemon.nodes().into_iter().map(|(address, _)| address).collect();
    let mut wanted: Vec<String> =
        cluster.nodes().iter().map(|node| node.server().address().to_string()).collect();
    reached.sort();
    wanted.sort();
    assert_eq!(reached, wanted);
    assert_served(&cluster, &daemon);
    daemon.assert_quiet();

    let without = Daemon::start(&["--upstream", &seeds]);
    let told = without.client().command(&["SET", "key", "value"]).unwrap().text();
    assert!(told.contains(".invalid"), "{told}");
}

#[test]
fn ports_are_reached_by_a_rule_for_each_endpoint() {
    let (cluster, names) = nameless();
    let relay = |node: &Node| Relay::to(TcpListener::bind("127.0.0.1:0").unwrap(), node.server().address());
    let relays: Vec<Relay> = cluster.nodes().iter().map(relay).collect();
    let rules = cluster.nodes().iter().zip(&names).zip(&relays).map(|((node, name), relay)| {
        format!("{name}:{}={}", node.server().address().port(), relay.address())
    });
    let rules: Vec<String> = rules.collect();
    let rules: Vec<&str> = rules.iter().flat_map(|rule| ["--address-map", rule]).collect();
    let url = format!("redis-cluster://{}", relays[0].address());
    let daemon = Daemon::start(&[&["--upstream", &url][..], &rules].concat());
    daemon.until_tracked(3);
    let mut reached: Vec<String> = daemon.nodes().into_iter().map(|(address, _)| address).collect();
    let mut wanted: Vec<String> = relays.iter().map(|relay| relay.address().to_string()).collect();
    reached.sort();
    wanted.sort();
    assert_eq!(reached, wanted);
    assert_served(&cluster, &daemon);
    daemon.assert_quiet();
}

#[test]
fn the_master_that_a_sentinel_names_is_reached_by_it_as_well() {
    let sentinel = Sentinel::launch().unwrap();
    let master = sentinel.servers()[0].address();
    let relay = Relay::to(TcpListener::bind("127.0.0.1:0").unwrap(), master);
    let url = format!("redis-sentinel://{}/{SERVICE}", sentinel.sentinels()[0].address());
    let rule = format!("{master}={}", relay.address());
    let daemon = Daemon::start(&["--upstream", &url, "--address-map", &rule]);
    daemon.until_tracked(1);
    assert_eq!(daemon.nodes()[0].0, relay.address().to_string());
    assert_eq!(daemon.client().command(&["SET", "key", "value"]).unwrap().text(), "OK");
}
