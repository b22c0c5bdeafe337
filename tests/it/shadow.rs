//! Shadow verification: hits are compared with what the server has, and only what is wrong counts as wrong.

use std::thread;
use std::time::Duration;

use nearside::sandbox::{Reply, SandboxClient, Standalone};

use crate::support::daemon::{Daemon, upstream_url};
use crate::support::relay::Relay;
use crate::support::servers::{eventually, own_primaries};

const SOON: Duration = Duration::from_secs(15);

fn say(client: &mut SandboxClient, request: &str) -> Reply {
    client.command(&request.split(' ').collect::<Vec<_>>()).unwrap()
}

fn shadow(daemon: &Daemon, name: &str) -> u64 {
    let counters = ["shadow_verified", "shadow_changed", "shadow_skipped", "shadow_mismatches"];
    let named = |counter: &&&str| counter.strip_prefix("shadow_") == Some(name);
    daemon.counter(counters.iter().find(named).unwrap_or_else(|| panic!("no counter of {name}")))
}

#[test]
fn hits_are_verified_as_often_as_is_asked_for() {
    let upstream = Standalone::launch(&[]).unwrap();
    let url = format!("redis://{}", upstream.server().address());
    for (fraction, least, most) in [("1", 600, 1_000), ("0.25", 150, 260), ("0", 0, 0)] {
        let daemon = Daemon::start(&["--upstream", &url, "--shadow-verify", fraction]);
        daemon.until_tracked(1);
        let mut client = daemon.client();
        say(&mut client, "SET key value");
        say(&mut client, "SADD set a b c");
        for _ in 0..500 {
            say(&mut client, "GET key");
            say(&mut client, "SMEMBERS set");
        }
        eventually("they are verified", SOON, || {
            let verified = shadow(&daemon, "verified");
            (least..=most).contains(&verified)
        });
        assert_eq!(shadow(&daemon, "mismatches"), 0);
        daemon.stop();
    }
}

#[test]
fn what_changes_all_the_time_is_no_mismatch() {
    let cluster = own_primaries(2);
    for workers in ["1", "2"] {
        let url = upstream_url(&cluster);
        let daemon = Daemon::start(&["--upstream", &url, "--shadow-verify", "1", "--workers", workers]);
        daemon.until_tracked(2);
        let mut client = daemon.client();
        let owner = cluster.owner_of(nearside::protocol::key::Slot::of(b"key")).unwrap();
        let mut direct = owner.server().connect().unwrap();
        for number in 0..1_500 {
            say(&mut direct, &format!("SET key {number}"));
            for _ in 0..4 {
                say(&mut client, "GET key");
            }
        }
        // Longer than the lease, after which a difference would count.
        thread::sleep(Duration::from_secs(3));
        assert!(shadow(&daemon, "verified") > 100);
        assert_eq!(shadow(&daemon, "mismatches"), 0);
        daemon.stop();
    }
}

#[test]
fn what_is_wrong_is_counted_listed_logged_and_dropped() {
    let cluster = own_primaries(1);
    let relay = Relay::before(&cluster.nodes()[0]);
    let url = format!("redis-cluster://{}", relay.address());
    let daemon = Daemon::start(&["--upstream", &url, "--shadow-verify", "1"]);
    daemon.until_tracked(1);
    let mut client = daemon.client();
    let mut direct = cluster.nodes()[0].server().connect().unwrap();
    say(&mut client, "SET wrong older");
    say(&mut client, "GET wrong");
    // The node says it, and it never arrives.
    relay.lose_pushes_with(b"wrong");
    say(&mut direct, "SET wrong newer");
    assert_eq!(say(&mut client, "GET wrong").text(), "older");
    eventually("it is found", SOON, || shadow(&daemon, "mismatches") > 0);
    let info = say(&mut client, "INFO nearside").text();
    assert!(info.contains("shadow_mismatch0:wrong\r\n"), "{info}");
    daemon.assert_logged("ERROR", "shadow: what was served is not what the server has");
    let explained = client.command(&["NEARSIDE", "EXPLAIN", "wrong"]).unwrap();
    let why = "shadow verification found that the server had something else";
    assert!(explained.items().iter().any(|item| *item == Reply::bulk(why)), "{explained:?}");
    assert_eq!(say(&mut client, "GET wrong").text(), "newer", "the entry was dropped");
    daemon.stop();
}

#[test]
fn more_than_can_be_verified_is_passed_over() {
    let cluster = own_primaries(1);
    let relay = Relay::before(&cluster.nodes()[0]);
    let url = format!("redis-cluster://{}", relay.address());
    let daemon = Daemon::start(&["--upstream", &url, "--shadow-verify", "1"]);
    daemon.until_tracked(1);
    let mut client = daemon.client();
    say(&mut client, "SET key value");
    say(&mut client, "GET key");
    relay.delay(Duration::from_millis(200));
    for _ in 0..2_000 {
        client.send(&["GET", "key"]).unwrap();
    }
    for _ in 0..2_000 {
        assert_eq!(client.receive().unwrap().text(), "value", "no client waits for it");
    }
    eventually("some are passed over", SOON, || shadow(&daemon, "skipped") > 0);
    relay.delay(Duration::ZERO);
    assert_eq!(shadow(&daemon, "mismatches"), 0);
    daemon.stop();
}
