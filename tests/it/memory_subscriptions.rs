//! Subscriptions count for what they take: those that do not fit are refused, and what they took is given
//! back when their clients have gone. So is what the slow log takes, and what many clients are sent at once.

use std::thread;
use std::time::Duration;

use nearside::sandbox::client::encode;
use nearside::sandbox::{SandboxClient, Standalone};

use crate::memory_ceiling::Group;
use crate::support::daemon::Daemon;
use crate::support::servers::eventually;

const MIB: usize = 1 << 20;

/// The limit of the control group, and the ceiling where there can be none.
const LIMIT: usize = 56 * MIB;
const MEMORY_MAX: usize = 16 * MIB;

/// Names that one request subscribes to.
const NAMES_AT_ONCE: usize = 100;

/// What may be in use beyond what was before anything happened, once all of it is over.
const REST: u64 = 6 << 20;

const SOON: Duration = Duration::from_secs(60);

fn under_ceiling(upstream: &Standalone, flags: &[&str]) -> Daemon {
    let url = format!("redis://{}", upstream.server().address());
    let max = MEMORY_MAX.to_string();
    let daemon = Daemon::start(&[&["--upstream", &url, "--memory-max", &max][..], flags].concat());
    daemon.until_tracked(1);
    daemon
}

/// All `clients` subscribe to so many names that nobody else has; how many of their requests were refused.
fn subscribe(clients: &mut [SandboxClient], names: usize) -> usize {
    let mut refused = 0;
    for (number, client) in clients.iter_mut().enumerate() {
        client.set_timeout(SOON).unwrap();
        for first in (0..names).step_by(NAMES_AT_ONCE) {
            let names = (first..first + NAMES_AT_ONCE).map(|name| format!("channel-{number:05}-{name:06}"));
            let words: Vec<String> = ["SUBSCRIBE".to_owned()].into_iter().chain(names).collect();
            // Who holds the most may have been dropped.
            let Some(reply) = client.send(&words).ok().and_then(|()| client.receive().ok()) else { break };
            if reply.is_error() {
                let text = reply.text();
                assert!(text.starts_with("OOM nearside: a subscription of "), "{text}");
                assert!(text.ends_with("(memory_max); nothing was subscribed to"), "{text}");
                refused += 1;
                break;
            }
            if !(1..NAMES_AT_ONCE).all(|_| client.receive().is_ok()) {
                break;
            }
        }
    }
    refused
}

fn until_given_back(daemon: &Daemon, other: &mut SandboxClient, before: u64) {
    eventually("all of it is given back, and L1 is there again", SOON, || {
        let mut counter = |name: &str| daemon.counter_by(other, name);
        counter("memory_used") < before + REST
            && counter("memory_subscriptions") == 0
            && counter("memory_pressed") == 0
    });
}

#[test]
fn subscriptions_that_do_not_fit_are_refused_and_nobody_has_the_daemon_killed() {
    let upstream = Standalone::launch(&[]).unwrap();
    for (count, names) in [(400, 300), (4, 60_000)] {
        let group = Group::new(LIMIT);
        let daemon =
            group.as_ref().map_or_else(|| under_ceiling(&upstream, &[]), |group| group.daemon(&upstream));
        let mut other = daemon.client();
        other.set_timeout(SOON).unwrap();
        let before = daemon.counter_by(&mut other, "memory_used");
        let mut clients: Vec<SandboxClient> = (0..count).map(|_| daemon.client()).collect();
        let refused = subscribe(&mut clients, names);
        assert!(refused > 0, "{count} clients of {names} names took all of them");
        assert_eq!(other.command(&["SET", "small", "value"]).unwrap().text(), "OK");
        let taken = daemon.counter_by(&mut other, "memory_subscriptions");
        assert!(taken > 4 << 20, "{taken}");
        println!("{count} clients of {names} names: {refused} refused, {} at most", daemon.peak_memory());
        drop(clients);
        until_given_back(&daemon, &mut other, before);
    }
}

#[test]
fn what_subscribers_took_is_given_back_when_they_have_left() {
    let upstream = Standalone::launch(&[]).unwrap();
    let daemon = under_ceiling(&upstream, &[]);
    let mut other = daemon.client();
    let before = daemon.counter_by(&mut other, "memory_used");
    for _ in 0..3 {
        let mut clients: Vec<SandboxClient> = (0..60).map(|_| daemon.client()).collect();
        subscribe(&mut clients, 300);
        assert!(daemon.counter_by(&mut other, "memory_subscriptions") > 0);
        drop(clients);
        until_given_back(&daemon, &mut other, before);
    }
    eventually("upstream nothing is subscribed to", SOON, || {
        upstream.server().connect().unwrap().command(&["PUBSUB", "CHANNELS"]).unwrap().items().is_empty()
    });
}

#[test]
fn the_slow_log_takes_its_part_and_no_client_is_refused_for_it() {
    let upstream = Standalone::launch(&[]).unwrap();
    let daemon =
        under_ceiling(&upstream, &["--slowlog-max-len", "1000000", "--slowlog-log-slower-than", "0"]);
    let mut client = daemon.client();
    client.set_timeout(SOON).unwrap();
    let before = daemon.counter_by(&mut client, "memory_used");
    let value = "v".repeat(128);
    let words: Vec<&str> = ["DEL"].into_iter().chain([&*value; 30]).collect();
    let requests = encode(&words).repeat(100);
    for _ in 0..80 {
        client.send_raw(&requests).unwrap();
        (0..100).for_each(|_| drop(client.receive().unwrap()));
    }
    let kept = client.command(&["SLOWLOG", "LEN"]).unwrap().integer().unwrap() as usize;
    // 8,000 of them would take twice the ceiling.
    let most = MEMORY_MAX / 64 / (30 * value.len());
    assert!(kept > most / 4 && kept <= most, "{kept} of at most {most}");
    let used = daemon.counter_by(&mut client, "memory_used");
    assert!(used < before + REST, "{used} in use, {before} before");
    assert_eq!(daemon.client().command(&["PING"]).unwrap().text(), "PONG");
}

#[test]
fn what_many_clients_were_sent_at_once_is_in_use_until_it_was_looked_at() {
    let upstream = Standalone::launch(&[]).unwrap();
    let daemon = under_ceiling(&upstream, &[]);
    let mut other = daemon.client();
    other.set_timeout(SOON).unwrap();
    let before = daemon.counter_by(&mut other, "memory_used");
    let mut clients: Vec<SandboxClient> = (0..50).map(|_| daemon.client()).collect();
    for client in &mut clients {
        assert_eq!(client.command(&["MONITOR"]).unwrap().text(), "OK");
    }
    let value = vec![b'v'; 100_000];
    for _ in 0..100 {
        other.command(&["SET".as_bytes(), b"key", &value]).unwrap();
    }
    drop(clients);
    for _ in 0..100 {
        let used = daemon.counter_by(&mut other, "memory_used");
        assert!(used > before / 2, "{used} in use, {before} before");
        thread::sleep(Duration::from_millis(5));
    }
}
