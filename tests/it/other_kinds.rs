//! An address leads to another kind of server than is expected there: nothing is sent to that but the
//! greeting.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::daemon::{Daemon, OFTEN};
use crate::support::scripted::{ScriptedNode, bulk, slots};
use crate::support::servers::eventually;

/// For what must happen, on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// What clients want of the address, over every kind of connection.
const WANTED: [&[&str]; 8] = [
    &["SET", "a", "value"],
    &["GET", "a"],
    &["INCR", "a"],
    &["FLUSHALL"],
    &["BLPOP", "a", "1"],
    &["EVAL", "return 1", "1", "a"],
    &["SSUBSCRIBE", "a"],
    &["DEL", "a", "b"],
];

/// A node that becomes another kind of server when it is told to.
struct Changing {
    node: ScriptedNode,
    has_changed: Arc<AtomicBool>,
}

// === impl Changing ===

impl Changing {
    /// It will say this `mode`, and that to CLUSTER MYID.
    fn start(before: &'static str, mode: &'static str, my_id: &'static str) -> Changing {
        let has_changed = Arc::<AtomicBool>::default();
        let node = ScriptedNode::start("other", {
            let has_changed = has_changed.clone();
            move |request, stream| {
                let has_changed = has_changed.load(Ordering::Acquire);
                match request {
                    ["HELLO", ..] => {
                        stream.write_all(hello(if has_changed { mode } else { before }).as_bytes())?;
                    }
                    ["CLUSTER", "MYID"] if has_changed => stream.write_all(my_id.as_bytes())?,
                    _ => return Ok(false),
                }
                Ok(true)
            }
        });
        Changing { node, has_changed }
    }

    fn change(&self, has_changed: bool) {
        self.has_changed.store(has_changed, Ordering::Release);
        self.node.hang_up();
    }

    /// How often it got what clients want.
    fn times_wanted(&self) -> usize {
        WANTED.iter().map(|request| self.node.times_asked(request[0])).sum()
    }

    /// It has changed: nothing reaches it, and clients are told what is there.
    fn gets_nothing(&self, daemon: &Daemon, wanted: &[&[&str]], text: &str) {
        let greeted = self.node.times_asked("HELLO");
        self.change(true);
        eventually("who is there now is asked", SOON, || self.node.times_asked("HELLO") > greeted);
        let before = self.times_wanted();
        for request in wanted {
            eventually("clients are told", SOON, || {
                let told = daemon.client().command(request).unwrap();
                assert!(told.is_error(), "{request:?} gave {told:?}");
                told.text().contains(text)
            });
        }
        assert_eq!(self.times_wanted(), before, "nothing went there");
    }
}

fn hello(mode: &str) -> String {
    format!("%3\r\n{}:7\r\n{}{}{}{}", bulk("id"), bulk("mode"), bulk(mode), bulk("role"), bulk("master"))
}

#[test]
fn a_server_that_is_no_node_of_a_cluster_gets_none_of_what_was_for_a_node() {
    let disabled = "-ERR This instance has cluster support disabled\r\n";
    let kinds = [
        (
            "standalone",
            disabled,
            "it is no node of a cluster and no Sentinel (mode standalone), and a node of",
        ),
        ("standalone", "-NOPERM no permissions to run the 'cluster|myid' command\r\n", "(mode standalone)"),
        (
            "sentinel",
            "-ERR unknown command 'CLUSTER'\r\n",
            "it is a Sentinel, and a node of the cluster is expected",
        ),
        (
            "cluster",
            disabled,
            "it does not say which node of the cluster it is: ERR This instance has cluster",
        ),
        ("cluster", "-LOADING the dataset\r\n", "it does not say which node of the cluster it is: LOADING"),
    ];
    for (mode, my_id, text) in kinds {
        let other = Changing::start("cluster", mode, my_id);
        let port = other.node.address().port();
        let seed = ScriptedNode::start("seed", move |request, stream| {
            let ["CLUSTER", "SLOTS"] = request else { return Ok(false) };
            let own = stream.local_addr()?.port();
            let map = [(0, 8_191, "127.0.0.1", own, "seed"), (8_192, 16_383, "127.0.0.1", port, "other")];
            stream.write_all(slots(&map).as_bytes())?;
            Ok(true)
        });
        let url = format!("redis-cluster://{}", seed.address());
        let source = ["--topology-source", "configured"];
        let daemon = Daemon::start(&[&["--upstream", &url][..], &OFTEN, &source].concat());
        daemon.until_tracked(2);
        assert_eq!(daemon.client().command(&["SET", "a", "value"]).unwrap().text(), "OK");
        let refreshes = seed.times_asked("CLUSTER SLOTS");
        other.gets_nothing(&daemon, &WANTED, text);
        assert_eq!(daemon.client().command(&["SET", "b", "value"]).unwrap().text(), "OK");
        assert!(seed.times_asked("CLUSTER SLOTS") > refreshes, "the topology is asked anew");
        daemon.assert_logged("WARN", "upstream connection failed; retrying");
        other.change(false);
        eventually("the node is back", SOON, || {
            daemon.client().command(&["SET", "a", "value"]).unwrap().text() == "OK"
        });
    }
}

#[test]
fn a_node_that_may_not_or_cannot_say_who_it_is_is_served() {
    for my_id in [
        "-NOPERM this user has no permissions to run the 'cluster|myid' command\r\n",
        "-ERR Unknown subcommand or wrong number of arguments for 'MYID'\r\n",
        "-ERR command 'CLUSTER MYID' not support for normal user\r\n",
    ] {
        let node = Changing::start("cluster", "cluster", my_id);
        node.change(true);
        let url = format!("redis-cluster://{}", node.node.address());
        let daemon = Daemon::start(&["--upstream", &url]);
        daemon.until_tracked(1);
        assert_eq!(daemon.client().command(&["SET", "a", "value"]).unwrap().text(), "OK");
    }
}

#[test]
fn the_primary_that_sentinels_tell_of_is_neither_a_sentinel_nor_a_node_of_a_cluster() {
    for (mode, met) in [("sentinel", "a Sentinel"), ("cluster", "a node of a cluster")] {
        let primary = Changing::start("standalone", mode, "");
        let port = primary.node.address().port();
        let sentinel = ScriptedNode::start("sentinel", move |request, stream| {
            match request {
                ["HELLO", ..] => stream.write_all(hello("sentinel").as_bytes())?,
                ["SENTINEL", ..] => {
                    let port = port.to_string();
                    stream.write_all(format!("*2\r\n{}{}", bulk("127.0.0.1"), bulk(&port)).as_bytes())?;
                }
                _ => return Ok(false),
            }
            Ok(true)
        });
        let url = format!("redis-sentinel://{}/main", sentinel.address());
        let daemon = Daemon::start(&[&["--upstream", &url][..], &OFTEN].concat());
        daemon.until_tracked(1);
        let text = format!("it is {met}, and the primary that the Sentinels tell of is expected there");
        primary.gets_nothing(&daemon, &WANTED, &text);
    }
}

#[test]
fn a_sentinel_is_no_server_and_a_server_is_no_sentinel() {
    let sentinel = ScriptedNode::start("sentinel", |request, stream| {
        let is_it = matches!(request, ["HELLO", ..]);
        if is_it {
            stream.write_all(hello("sentinel").as_bytes())?;
        }
        Ok(is_it)
    });
    let daemon = Daemon::start(&["--upstream", &format!("redis://{}", sentinel.address())]);
    let hint =
        format!("it is a Sentinel: the upstream must be redis-sentinel://{}/SERVICE", sentinel.address());
    for request in WANTED {
        let told = daemon.client().command(request).unwrap();
        assert!(told.is_error() && told.text().contains(&hint), "{request:?} gave {told:?}");
        assert_eq!(sentinel.times_asked(request[0]), 0);
    }
    let server = Changing::start("standalone", "standalone", "");
    let daemon = Daemon::start(&["--upstream", &format!("redis-sentinel://{}/main", server.node.address())]);
    let told = daemon.client().command(&["GET", "a"]).unwrap().text();
    assert!(told.contains("(mode standalone), and a Sentinel is expected there"), "{told}");
}
