//! Slots move while clients read and write: every value is right, no redirect is seen, and one look at the
//! topology is enough for everybody.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nearside::protocol::key::Slot;
use nearside::sandbox::client::encode;
use nearside::sandbox::{Cluster, Node, Reply, SandboxClient};
use tokio::time::Instant;

use crate::support::daemon::{Daemon, upstream_url};
use crate::support::servers::{own_primaries, owner};

const KEYS: usize = 2_000;
const WRITERS: usize = 4;

#[test]
fn a_migrating_slot_is_read_and_written_right() {
    let cluster = own_primaries(3);
    let daemon = Daemon::before(&cluster);
    let slot = Slot::of(b"mover");
    let mut client = daemon.client();
    for number in 0..KEYS {
        client.command(&["SET", &key(number), &value(number, 0)]).unwrap();
    }
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|first| {
                scope.spawn({
                    let (daemon, is_over) = (&daemon, &is_over);
                    move || write_and_read(daemon.client(), first, is_over)
                })
            })
            .collect();
        // There and back, so that the second move meets a daemon that knows the first.
        let from = cluster.owner_of(slot).unwrap();
        move_slowly(&cluster, slot, other_primary(&cluster, from));
        move_slowly(&cluster, slot, from);
        is_over.store(true, Ordering::SeqCst);
        for writer in writers {
            let rounds = writer.join().unwrap();
            assert!(rounds > 0, "a writer never got through its keys");
        }
    });
}

#[test]
fn a_storm_of_moved_is_no_storm_of_refreshes() {
    const GAP: Duration = Duration::from_secs(2);
    let cluster = own_primaries(3);
    let daemon = Daemon::start(&["--upstream", &upstream_url(&cluster), "--topology-refresh-gap-min", "2s"]);
    let mut clients: Vec<SandboxClient> = (0..200).map(|_| daemon.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        assert!(client.command(&["SET", &key(number), &value(number, 0)]).unwrap().is_ok());
    }
    let from = owner(&cluster, b"mover");
    cluster.migrate(Slot::of(b"mover"), other_primary(&cluster, from)).unwrap();

    let began = Instant::now();
    let before = daemon.counter("topology_refreshes");
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(&["GET", &key(number)]).unwrap();
    }
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.receive().unwrap(), Reply::bulk(value(number, 0)));
    }
    thread::sleep(Duration::from_millis(500));
    let refreshes = daemon.counter("topology_refreshes") - before;
    // One that had begun before, one for the storm, and one more for each gap that a slow machine takes.
    let gaps = began.elapsed().as_secs() / GAP.as_secs();
    assert!(refreshes <= 2 + gaps, "{refreshes} refreshes");
}

/// Until it is over: writes keys that nobody else writes, and reads them back along with keys of the others.
/// How many rounds through its keys it made.
fn write_and_read(mut client: SandboxClient, first: usize, is_over: &AtomicBool) -> usize {
    let mut round = 0;
    while !is_over.load(Ordering::SeqCst) {
        round += 1;
        for number in (first..KEYS).step_by(WRITERS * 4) {
            let own = value(number, round);
            let set = client.command(&["SET", &key(number), &own]).unwrap();
            assert!(set.is_ok(), "SET of {} gave {set:?}", key(number));
            let get = client.command(&["GET", &key(number)]).unwrap();
            assert_eq!(get, Reply::bulk(&own), "{}", key(number));
            let other = (number * 31 + round) % KEYS;
            let get = client.command(&["GET", &key(other)]).unwrap();
            assert!(get.text().starts_with(&format!("{other}:")), "GET of {} gave {get:?}", key(other));
        }
    }
    round
}

fn move_slowly(cluster: &Cluster, slot: Slot, to: &Node) {
    let migration = cluster.begin_migration(slot, to).unwrap();
    while migration.move_keys(20).unwrap() > 0 {
        thread::sleep(Duration::from_millis(5));
    }
    migration.finish().unwrap();
    thread::sleep(Duration::from_millis(200));
}

fn other_primary<'a>(cluster: &'a Cluster, than: &Node) -> &'a Node {
    cluster.primaries().unwrap().into_iter().find(|node| node.id() != than.id()).unwrap()
}

fn key(number: usize) -> String {
    format!("{{mover}}{number}")
}

fn value(number: usize, round: usize) -> String {
    format!("{number}:{round}")
}

#[test]
fn nodes_that_send_each_other_a_slot_end_in_an_error() {
    let cluster = own_primaries(2);
    let daemon = Daemon::before(&cluster);
    let mut client = daemon.client();
    assert!(client.command(&["SET", "circle", "1"]).unwrap().is_ok());
    let slot = Slot::of(b"circle").to_string();
    let nodes = cluster.nodes();
    let owned_by = owner(&cluster, b"circle").id();
    let owner = nodes.iter().position(|node| node.id() == owned_by).unwrap();
    let (first, second) = (&nodes[owner], &nodes[1 - owner]);
    // The owner must not hold keys of a slot that it gives away.
    first.server().command(&["DEL", "circle"]).unwrap();
    for (node, other) in [(first, second), (second, first)] {
        assert!(node.server().command(&["CLUSTER", "SETSLOT", &slot, "NODE", other.id()]).unwrap().is_ok());
    }
    let reply = client.command(&["SET", "circle", "2"]).unwrap();
    assert!(reply.text().contains("redirected more than 5 times"), "{reply:?}");
    // One that comes back to a node that it was at could be overtaken there by what its session sent after
    // it.
    let pipeline = [encode(&["SET", "circle", "3"]), encode(&["GET", "circle"])].concat();
    client.send_raw(&pipeline).unwrap();
    for said in ["TRYAGAIN", "redirected more than 5 times"] {
        let reply = client.receive().unwrap();
        assert!(reply.text().contains(said), "{reply:?}");
    }
    // Nobody else is harmed.
    assert_eq!(client.command(&["PING"]).unwrap().text(), "PONG");
}
