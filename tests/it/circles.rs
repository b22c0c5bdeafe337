//! An upstream that leads back to the daemon: what is sent there would come round for ever.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use crate::support::daemon::Daemon;
use crate::support::scripted::{ScriptedNode, slots};
use crate::support::servers::{eventually, sandbox};

use nearside::dev::{Address, Standalone};

/// For what must happen, on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// What goes upstream over every kind of connection.
const WANTED: [&[&str]; 6] = [
    &["SET", "a", "value"],
    &["GET", "a"],
    &["BLPOP", "a", "1"],
    &["EVAL", "return 1", "1", "a"],
    &["FLUSHALL"],
    &["SSUBSCRIBE", "a"],
];

fn socket(name: &str) -> PathBuf {
    sandbox().make_directory().unwrap().join(name)
}

fn daemon(own: &Path, upstream: &Path) -> Daemon {
    let (own, upstream) = (own.display().to_string(), format!("redis+unix://{}", upstream.display()));
    Daemon::start(&["--unix", &own, "--upstream", &upstream, "--upstream-backoff-max", "100ms"])
}

fn are_refused(daemon: &Daemon, wanted: &[&[&str]], text: &str) {
    for request in wanted {
        eventually("clients are told", SOON, || {
            let told = daemon.client().command(request).unwrap();
            assert!(told.is_error(), "{request:?} gave {told:?}");
            told.text().contains(text)
        });
    }
}

#[test]
fn a_daemon_that_is_its_own_upstream_says_so() {
    let own = socket("own");
    let daemon = daemon(&own, &own);
    are_refused(&daemon, &WANTED, "it is this nearside itself");
    daemon.assert_logged("ERROR", "the upstream is not what it is said to be");
    assert_eq!(daemon.counter("upstream_connections"), 0);
}

#[test]
fn a_node_that_is_the_daemon_itself_gets_nothing() {
    let port = Arc::<AtomicU16>::default();
    let seed = ScriptedNode::start("seed", {
        let port = port.clone();
        move |request, stream| {
            let ["CLUSTER", "SLOTS"] = request else { return Ok(false) };
            let (own, daemon) = (stream.local_addr()?.port(), port.load(Ordering::Acquire));
            let ours = [(0, 8_191, "127.0.0.1", own, "seed"), (8_192, 16_383, "127.0.0.1", daemon, "other")];
            let answer = if daemon == 0 { slots(&ours[..1]) } else { slots(&ours) };
            stream.write_all(answer.as_bytes())?;
            Ok(true)
        }
    });
    let url = format!("redis-cluster://{}", seed.address());
    let daemon = Daemon::start(&["--upstream", &url, "--topology-refresh-interval", "100ms"]);
    daemon.until_tracked(1);
    let Address::Tcp(address) = daemon.address() else { panic!("it listens on a port") };
    port.store(address.port(), Ordering::Release);
    are_refused(&daemon, &WANTED, "it is this nearside itself");
    assert_eq!(
        daemon.client().command(&["SET", "b", "value"]).unwrap().text(),
        "OK",
        "the others are served"
    );
}

#[test]
fn two_daemons_in_a_circle_are_noticed_and_a_row_of_them_is_served() {
    let (one, two) = (socket("one"), socket("two"));
    let (first, second) = (daemon(&one, &two), daemon(&two, &one));
    // One of them hears of it, by chance the one or the other, and tells the other one so, where a subscription is tried
    // again until its time is over.
    for daemon in [&first, &second] {
        are_refused(daemon, &WANTED[..WANTED.len() - 1], "leads back to this one");
    }
    let (server, last_path) = (Standalone::launch(&[]).unwrap(), socket("last"));
    let last = daemon(&last_path, server.unix_socket());
    let front = daemon(&socket("front"), &last_path);
    for daemon in [&last, &front] {
        let told = daemon.client().command(&["SET", "row", "value"]).unwrap().text();
        assert_eq!(told, "OK");
    }
}
