//! An upstream that leads back to the daemon: what is sent there would come round for ever.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::daemon::Daemon;
use crate::support::scripted::{ScriptedNode, bulk, slots};
use crate::support::servers::{eventually, sandbox};

use nearside::sandbox::{Address, Standalone};

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
    daemon.assert_logged("ERROR", "not the server that the configuration names");
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
fn a_nearside_that_comes_to_lead_back_after_it_was_greeted_is_noticed() {
    // Only itself at first, as one that has met nobody yet.
    let names = Arc::new(Mutex::new("0123456789abcdef0123456789abcdef".to_owned()));
    let other = ScriptedNode::start("other", {
        let names = names.clone();
        move |request, stream| {
            let ["HELLO", ..] = request else { return Ok(false) };
            let said = [("mode", "standalone"), ("nearside", &*names.lock().unwrap())]
                .map(|(name, value)| format!("{}{}", bulk(name), bulk(value)));
            stream.write_all(format!("%3\r\n{}:7\r\n{}", bulk("id"), said.concat()).as_bytes())?;
            Ok(true)
        }
    });
    let url = format!("redis://{}", other.address());
    let daemon = Daemon::start(&["--upstream", &url, "--upstream-backoff-max", "100ms"]);
    eventually("it is served", SOON, || daemon.client().command(&["GET", "a"]).unwrap().text() == "value");
    let asked = other.times_asked("HELLO");
    eventually("it is asked again", SOON, || other.times_asked("HELLO 3") > asked + 2);
    assert_eq!(daemon.client().command(&["GET", "b"]).unwrap().text(), "value", "a row of them is served");
    // Who is behind the other one is known to it by now: this daemon.
    let hello = daemon.client().command(&["HELLO", "3", "SETNAME", "nearside"]).unwrap();
    let own = format!("{hello:?}")
        .split(|c: char| !c.is_ascii_hexdigit())
        .find(|word| word.len() == 32)
        .unwrap()
        .to_owned();
    names.lock().unwrap().push_str(&format!(" {own}"));
    eventually("it is noticed", SOON, || daemon.client().command(&["SET", "a", "value"]).unwrap().is_error());
    are_refused(&daemon, &WANTED[..WANTED.len() - 1], "leads back to this one");
}

#[test]
fn three_daemons_in_a_circle_that_come_up_at_once_are_noticed() {
    for _ in 0..3 {
        let paths = ["one", "two", "three"].map(socket);
        let daemons: Vec<Daemon> = std::thread::scope(|scope| {
            let start = |at: usize| {
                let (own, upstream) = (&paths[at], &paths[(at + 1) % 3]);
                scope.spawn(move || daemon(own, upstream))
            };
            let starting: Vec<_> = (0..3).map(start).collect();
            starting.into_iter().map(|daemon| daemon.join().unwrap()).collect()
        });
        for daemon in &daemons {
            are_refused(daemon, &WANTED[..WANTED.len() - 1], "leads back to this one");
        }
    }
}

#[test]
fn two_daemons_in_a_circle_are_noticed_and_a_row_of_them_is_served() {
    let (one, two) = (socket("one"), socket("two"));
    let (first, second) = (daemon(&one, &two), daemon(&two, &one));
    // One of them hears of it, by chance the one or the other, and tells the other one so, where a
    // subscription is tried again until its time is over.
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
