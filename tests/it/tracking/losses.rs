//! What is told when the upstream cannot tell any more: nodes and connections that are lost, slots that move.

use std::time::Duration;

use nearside::protocol::key::Slot;
use nearside::sandbox::{Cluster, Reply};

use super::{Cacher, SOON, all_stale, stale};
use crate::support::daemon::Daemon;
use crate::support::relay::Relay;
use crate::support::servers::{client_of_owner, eventually, own_primaries, owner};

/// One node behind a relay, and a daemon that knows only the relay.
fn behind_a_relay(cluster: &Cluster) -> (Relay, Daemon) {
    let relay = Relay::before(&cluster.nodes()[0]);
    let daemon = Daemon::start(&["--upstream", &format!("redis-cluster://{}", relay.address())]);
    daemon.until_tracked(1);
    (relay, daemon)
}

#[test]
fn a_lost_connection_is_told_as_everything_in_every_mode() {
    let cluster = own_primaries(1);
    let (relay, daemon) = behind_a_relay(&cluster);
    for options in [&[][..], &["OPTOUT"], &["BCAST"], &["NOLOOP"]] {
        let mut cacher = Cacher::new(daemon.client(), options);
        cacher.read_to_keep("key");
        relay.cut();
        assert_eq!(cacher.next_pushes()[0], all_stale(), "{options:?}");
        eventually("it caches again", SOON, || {
            cacher.read_to_keep("key");
            cluster.command(&cluster.nodes()[0], &["INCR", "key"]).unwrap();
            cacher.next_pushes() == [stale(&["key"])]
        });
    }
}

#[test]
fn a_silent_connection_is_told_once_its_lease_is_over() {
    let cluster = own_primaries(1);
    let (relay, daemon) = behind_a_relay(&cluster);
    let mut cacher = Cacher::new(daemon.client(), &[]);
    let mut listener = Cacher::new(daemon.client(), &["BCAST"]);
    cacher.read_to_keep("key");
    listener.read_to_keep("key");
    cacher.pushed();
    listener.pushed();
    relay.pause();
    assert_eq!(cacher.next_pushes(), [all_stale()]);
    assert_eq!(listener.next_pushes(), [all_stale()]);
    relay.resume();
}

#[test]
fn a_node_that_dies_is_told_as_everything() {
    let cluster = own_primaries(3);
    let daemon = Daemon::before(&cluster);
    daemon.until_tracked(3);
    let mut cacher = Cacher::new(daemon.client(), &[]);
    cacher.read_to_keep("key");
    owner(&cluster, b"key").server().kill9().unwrap();
    assert_eq!(cacher.next_pushes()[0], all_stale());
}

#[test]
fn a_key_is_told_when_its_slot_moves() {
    let cluster = own_primaries(3);
    let daemon = Daemon::before(&cluster);
    daemon.until_tracked(3);
    let mut cacher = Cacher::new(daemon.client(), &[]);
    // It does not exist, so its node has nothing to tell when the slot leaves.
    cacher.read_to_keep("key");
    cacher.read_to_keep("other");
    let from = owner(&cluster, b"key");
    let to = cluster.primaries().unwrap().into_iter().find(|node| node.id() != from.id()).unwrap();
    cluster.migrate(Slot::of(b"key"), to).unwrap();
    // Nobody asks for it: the topology tells.
    let pushes = cacher.next_pushes();
    assert!(pushes == [stale(&["key"])] || pushes == [all_stale()], "{pushes:?}");
    cacher.read_to_keep("key");
    client_of_owner(&cluster, b"key").command(&["SET", "key", "new"]).unwrap();
    // That the epoch of the cluster went up may be heard as late as now, and is told as everything.
    let pushes = cacher.next_pushes();
    let told = [vec![stale(&["key"])], vec![stale(&["key"]), all_stale()]];
    assert!(told.contains(&pushes) || pushes[0] == all_stale(), "{pushes:?}");
    assert_eq!(cacher.ask(&["GET", "key"]), Reply::bulk("new"));
}

#[test]
fn what_a_slot_on_the_move_gives_is_told_too() {
    let cluster = own_primaries(2);
    let daemon = Daemon::before(&cluster);
    daemon.until_tracked(2);
    let slot = Slot::of(b"{m}");
    client_of_owner(&cluster, b"{m}").command(&["SET", "{m}key", "1"]).unwrap();
    let from = cluster.owner_of(slot).unwrap();
    let to = cluster.primaries().unwrap().into_iter().find(|node| node.id() != from.id()).unwrap();
    let migration = cluster.begin_migration(slot, to).unwrap();
    migration.move_keys(10).unwrap();
    let mut cacher = Cacher::new(daemon.client(), &[]);
    // Asked of both nodes: the first one says where to go.
    assert_eq!(cacher.ask(&["GET", "{m}key"]), Reply::bulk("1"));
    std::thread::sleep(Duration::from_millis(100));
    let mut kept = cacher.pushed().is_empty();
    let mut writer = to.server().connect().unwrap();
    for value in ["2", "3"] {
        assert!(writer.command(&["ASKING"]).unwrap().is_ok());
        assert!(writer.command(&["SET", "{m}key", value]).unwrap().is_ok());
        if kept {
            cacher.next_pushes();
        }
        assert_eq!(cacher.ask(&["GET", "{m}key"]), Reply::bulk(value));
        kept = cacher.pushed().is_empty();
    }
    migration.finish().unwrap();
    if kept {
        cacher.next_pushes();
    }
}
