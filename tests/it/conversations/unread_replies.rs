//! A client that reads none of its replies is bounded and dropped, and is nobody else's trouble.

use std::time::Duration;

use nearside::sandbox::client;
use tokio::time::Instant;

use crate::support::daemon::{Daemon, upstream_url};
use crate::support::servers::{eventually, shared_cluster};

/// What another client may wait for a hit meanwhile, in a debug build on a busy machine.
const QUICK: Duration = Duration::from_secs(3);

/// The daemon holds back far less than what is asked for: a thousand replies of 100 kB.
const MEMORY_KB_MAX: u64 = 64 * 1024;

#[test]
fn a_client_that_leaves_its_replies_untaken_is_dropped_after_a_while() {
    drop_who_does_not_read(&["--client-stall-timeout", "6s"]);
}

#[test]
fn a_client_with_too_many_replies_untaken_is_dropped() {
    // Without L1 as many are asked for at once as the depth allows, and all of them come; the timeout is far
    // away.
    drop_who_does_not_read(&["--client-output-max", "1mb", "--pipeline-depth-max", "64", "--l1-size", "0"]);
}

fn drop_who_does_not_read(bound: &[&str]) {
    let upstream = upstream_url(shared_cluster());
    let arguments: Vec<&str> = ["--upstream", &upstream].into_iter().chain(bound.iter().copied()).collect();
    let daemon = Daemon::start(&arguments);
    let mut other = daemon.client();
    other.command(&["SET", "unread:small", "value"]).unwrap();
    other.command(&["SET", "unread:large", &"x".repeat(100_000)]).unwrap();
    let mut silent = daemon.client();
    silent.send_raw(&client::encode(&["GET", "unread:large"]).repeat(1000)).unwrap();
    eventually("the client is dropped", Duration::from_secs(15), || {
        let asked_at = Instant::now();
        assert_eq!(other.command(&["GET", "unread:small"]).unwrap().text(), "value");
        assert!(asked_at.elapsed() < QUICK, "another client waited {:?}", asked_at.elapsed());
        daemon.counter("clients_dropped") == 1
    });
    let memory = daemon.peak_memory();
    let kilobytes: u64 = memory.trim_end_matches(" kB").parse().unwrap();
    assert!(kilobytes < MEMORY_KB_MAX, "the daemon took {memory}");
    // What the socket held is there to be read; then comes the end.
    let got = silent.receive_rest().unwrap();
    assert!(got.len() < 1000 * 100_000, "all was answered");
    assert_eq!(other.command(&["GET", "unread:small"]).unwrap().text(), "value");
    daemon.assert_quiet();
}
