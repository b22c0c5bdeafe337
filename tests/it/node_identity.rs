//! A node is who it says, not where it stands: an address that was given to another cluster's node leads
//! nobody astray.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::daemon::{Daemon, OFTEN};
use crate::support::scripted::{ScriptedNode, slots};
use crate::support::servers::eventually;

/// For what must happen, on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// Two nodes that share the slots, one node of another cluster, and the time of what happens to them.
struct World {
    seed: ScriptedNode,
    other: ScriptedNode,
    stranger: ScriptedNode,
    phase: Arc<AtomicUsize>,
}

/// All is well.
const CALM: usize = 0;
/// The address of `other` is that of another cluster's node now, and the seed cannot tell who owns what.
const ASTRAY: usize = 1;
/// The same, and the seed can tell again.
const TOLD: usize = 2;
/// The seed is a node of the other cluster too.
const MOVED: usize = 3;

// === impl World ===

impl World {
    fn new() -> World {
        let phase = Arc::new(AtomicUsize::new(CALM));
        let stranger = ScriptedNode::start("stranger", |_, _| Ok(false));
        let theirs = slots(&[(0, 16_383, "127.0.0.1", stranger.address().port(), "stranger")]);
        let other = ScriptedNode::start("other", {
            let (phase, theirs) = (phase.clone(), theirs.clone());
            move |request, stream| {
                let is_it = matches!(request, ["CLUSTER", "SLOTS"]) && phase.load(Ordering::Acquire) != CALM;
                if is_it {
                    stream.write_all(theirs.as_bytes())?;
                }
                Ok(is_it)
            }
        });
        let seed = ScriptedNode::start("seed", {
            let (phase, other) = (phase.clone(), other.address().port());
            move |request, stream| {
                let ["CLUSTER", "SLOTS"] = request else { return Ok(false) };
                let port = stream.local_addr()?.port();
                let ours =
                    [(0, 8_191, "127.0.0.1", port, "seed"), (8_192, 16_383, "127.0.0.1", other, "other")];
                let answer = match phase.load(Ordering::Acquire) {
                    CALM | TOLD => slots(&ours),
                    ASTRAY => "-LOADING not yet\r\n".to_owned(),
                    _ => theirs.clone(),
                };
                stream.write_all(answer.as_bytes())?;
                Ok(true)
            }
        });
        World { seed, other, stranger, phase }
    }

    fn daemon(&self, more: &[&str]) -> Daemon {
        let url = format!("redis-cluster://{}", self.seed.address());
        let daemon = Daemon::start(&[&["--upstream", &url][..], &OFTEN, more].concat());
        daemon.until_tracked(2);
        daemon
    }

    fn enter(&self, phase: usize) {
        self.phase.store(phase, Ordering::Release);
    }
}

/// Keys of the two halves of the slots.
const KEYS: [&str; 2] = ["b", "a"];

#[test]
fn a_map_of_another_cluster_is_not_believed_before_a_configured_name_tells_it() {
    let world = World::new();
    let daemon = world.daemon(&[]);
    let mut client = daemon.client();
    for phase in [ASTRAY, TOLD] {
        world.enter(phase);
        let before = world.other.times_asked("CLUSTER SLOTS");
        eventually("who is at the address is asked", SOON, || {
            for key in KEYS {
                assert_eq!(client.command(&["SET", key, "value"]).unwrap().text(), "OK");
            }
            // It is asked in turn when the seed can tell as well.
            world.other.times_asked("CLUSTER SLOTS") >= before + if phase == ASTRAY { 5 } else { 1 }
        });
        assert_eq!(world.stranger.times_asked(""), 0, "nobody speaks to it");
    }
    daemon.assert_logged("WARN", "the node describes another cluster");
    let refreshes = daemon.counter("topology_refreshes");
    eventually("the seed is believed", SOON, || daemon.counter("topology_refreshes") > refreshes);
    assert_eq!(world.stranger.times_asked(""), 0);

    world.enter(MOVED);
    eventually("the configured name decides", SOON, || {
        client.command(&["SET", "a", "value"]).unwrap();
        world.stranger.times_asked("SET") > 0
    });
    daemon.assert_logged("WARN", "the configured names lead to another cluster");
}

#[test]
fn the_configured_names_alone_are_asked_where_that_is_wanted() {
    let world = World::new();
    let daemon = world.daemon(&["--topology-source", "configured"]);
    eventually("more than one turn is over", SOON, || world.seed.times_asked("CLUSTER SLOTS") >= 30);
    assert_eq!(world.other.times_asked("CLUSTER SLOTS"), 0);
    world.enter(ASTRAY);
    let asked = world.seed.times_asked("CLUSTER SLOTS");
    eventually("it fails again and again", SOON, || world.seed.times_asked("CLUSTER SLOTS") >= asked + 5);
    assert_eq!(world.other.times_asked("CLUSTER SLOTS"), 0);
    for key in KEYS {
        assert_eq!(daemon.client().command(&["SET", key, "value"]).unwrap().text(), "OK");
    }
}

#[test]
fn no_command_goes_to_another_node_than_the_topology_means() {
    // The seed goes on telling of a node that is not there any more: another one has its address.
    let is_stranger = Arc::new(AtomicUsize::new(0));
    let other = ScriptedNode::start("other", {
        let is_stranger = is_stranger.clone();
        move |request, stream| {
            let is_it = matches!(request, ["CLUSTER", "MYID"]) && is_stranger.load(Ordering::Acquire) == 1;
            if is_it {
                stream.write_all(b"$8\r\nstranger\r\n")?;
            }
            Ok(is_it)
        }
    });
    let id = Arc::new(AtomicUsize::new(0));
    let seed = ScriptedNode::start("seed", {
        let (id, other) = (id.clone(), other.address().port());
        move |request, stream| {
            let ["CLUSTER", "SLOTS"] = request else { return Ok(false) };
            let named = ["other", "stranger"][id.load(Ordering::Acquire)];
            let port = stream.local_addr()?.port();
            let map = [(0, 8_191, "127.0.0.1", port, "seed"), (8_192, 16_383, "127.0.0.1", other, named)];
            stream.write_all(slots(&map).as_bytes())?;
            Ok(true)
        }
    });
    let url = format!("redis-cluster://{}", seed.address());
    let source = ["--topology-source", "configured"];
    let daemon = Daemon::start(&[&["--upstream", &url][..], &OFTEN, &source].concat());
    daemon.until_tracked(2);
    let mut client = daemon.client();
    assert_eq!(client.command(&["SET", "a", "value"]).unwrap().text(), "OK");
    is_stranger.store(1, Ordering::Release);
    other.hang_up();
    eventually("who is there now is asked", SOON, || other.times_asked("CLUSTER MYID") >= 2);
    let (sets, refreshes) = (other.times_asked("SET"), seed.times_asked("CLUSTER SLOTS"));
    eventually("it is asked again and again, and so is the topology", SOON, || {
        let told = client.command(&["SET", "a", "value"]).unwrap().text();
        assert!(told != "OK", "a command was carried out by a stranger");
        // A connection of its own is none to a stranger either.
        let told = client.command(&["BLPOP", "a", "1"]).unwrap().text();
        assert!(told.contains("another node is at this address, stranger"), "{told}");
        seed.times_asked("CLUSTER SLOTS") >= refreshes + 5
    });
    assert_eq!(other.times_asked("SET"), sets);
    assert_eq!(other.times_asked("BLPOP"), 0);
    assert_eq!(client.command(&["SET", "b", "value"]).unwrap().text(), "OK", "the others are served");
    // It becomes a node of this cluster.
    id.store(1, Ordering::Release);
    eventually("it is who is meant", SOON, || client.command(&["SET", "a", "value"]).unwrap().text() == "OK");

    // The topology means another one than is connected: that connection ends.
    let greetings = other.times_asked("CLUSTER MYID");
    id.store(0, Ordering::Release);
    eventually("who is there is asked anew", SOON, || other.times_asked("CLUSTER MYID") > greetings);
}
