//! `memory_max`: what is too large or too much is refused, or who holds it is dropped, and everybody else is served.

use std::fs;
use std::time::Duration;

use nearside::dev::client::encode;
use nearside::dev::{Client, Standalone};

use crate::support::daemon::Daemon;
use crate::support::servers::eventually;

const MIB: usize = 1 << 20;

/// How long anything here may take that is not told to take longer.
const SOON: Duration = Duration::from_secs(30);

/// The ceiling of most of these tests, and how far beyond it the process may be seen between two looks.
const MEMORY_MAX: usize = 96 * MIB;
const SLACK: usize = 16 * MIB;

fn under_ceiling(more: &[&str]) -> (Standalone, Daemon) {
    let upstream = Standalone::launch(&[]).unwrap();
    let url = format!("redis://{}", upstream.server().address());
    let max = MEMORY_MAX.to_string();
    let daemon = Daemon::start(&[&["--upstream", &url, "--memory-max", &max][..], more].concat());
    daemon.until_tracked(1);
    (upstream, daemon)
}

#[test]
fn what_holds_memory_is_told_and_counted_back_to_nothing() {
    let (_upstream, daemon) = under_ceiling(&[]);
    let mut client = daemon.client();
    assert!(daemon.counter("memory_used") > 1 << 20);
    client.command(&["MULTI"]).unwrap();
    client.command(&["SET".as_bytes(), b"key", &vec![b'v'; 100_000]]).unwrap();
    eventually("it is queued", SOON, || daemon.counter("memory_transactions") > 100_000);
    assert!(!client.command(&["EXEC"]).unwrap().is_error());
    let kinds =
        ["memory_input", "memory_output", "memory_transactions", "memory_in_flight", "memory_replies"];
    eventually("nothing is left", SOON, || kinds.iter().all(|kind| daemon.counter(kind) == 0));
    assert_eq!((daemon.counter("memory_pressed"), daemon.counter("memory_clients_dropped")), (0, 0));
}

/// What the process has in memory, or had at most, in bytes.
fn memory(daemon: &Daemon, field: &str) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid().as_raw_nonzero())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().trim_start_matches(':').trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

fn assert_under_ceiling(daemon: &Daemon) {
    let peak = memory(daemon, "VmHWM");
    assert!(peak < MEMORY_MAX + SLACK, "{peak} bytes at most, of {MEMORY_MAX}");
    assert_eq!(daemon.client().command(&["PING"]).unwrap().text(), "PONG");
}

#[test]
fn a_request_that_is_larger_than_it_may_be_is_passed_over_and_the_next_one_answered() {
    let (_upstream, daemon) = under_ceiling(&[]);
    let mut client = daemon.client();
    client.command(&["SET", "key", "before"]).unwrap();
    for (size, bound) in [(200 * MIB, "request_bytes_max"), (50 * MIB, "request_bytes_max")] {
        // All of it is sent before anything is read, as most clients do.
        client.send(&["SET".as_bytes(), b"key", &vec![b'v'; size]]).unwrap();
        client.send(&["GET", "key"]).unwrap();
        let refused = client.receive().unwrap().text();
        assert!(refused.starts_with("OOM nearside: ") && refused.contains(bound), "{refused}");
        assert_eq!(client.receive().unwrap().text(), "before");
    }
    assert_eq!(daemon.counter("memory_requests_refused"), 2);
    assert_under_ceiling(&daemon);
}

#[test]
fn requests_that_do_not_fit_beside_others_are_refused_until_there_is_room() {
    let (_upstream, daemon) = under_ceiling(&["--request-bytes-max", "90mb"]);
    let mut other = daemon.client();
    other.command(&["SET", "small", "value"]).unwrap();
    // Half of it comes, and no more for now.
    let large = encode(&["SET".as_bytes(), b"large", &vec![b'v'; 50 * MIB]]);
    let (first, second) = large.split_at(45 * MIB);
    let mut slow = daemon.client();
    slow.send_raw(first).unwrap();
    eventually("it has come", SOON, || daemon.counter("memory_input") > 40 << 20);
    let mut client = daemon.client();
    let refused = client.command(&["SET".as_bytes(), b"key", &vec![b'v'; 45 * MIB]]).unwrap().text();
    assert!(
        refused.starts_with("OOM nearside: a request of ") && refused.contains("(memory_max)"),
        "{refused}"
    );
    assert!(refused.ends_with("the command was not executed"), "{refused}");
    assert_eq!(other.command(&["GET", "small"]).unwrap().text(), "value");
    slow.send_raw(second).unwrap();
    assert_eq!(slow.receive().unwrap().text(), "OK");
    eventually("there is room again", SOON, || {
        client.command(&["SET".as_bytes(), b"key", &vec![b'v'; 45 * MIB]]).unwrap().text() == "OK"
    });
    assert_under_ceiling(&daemon);
}

#[test]
fn a_transaction_has_its_share_and_what_it_took_is_given_back() {
    let (_upstream, daemon) = under_ceiling(&[]);
    let before = memory(&daemon, "VmRSS");
    let value = vec![b'v'; MIB];
    let mut clients: Vec<Client> = Vec::new();
    let mut refusals = Vec::new();
    for _ in 0..6 {
        let mut client = daemon.client();
        client.command(&["MULTI"]).unwrap();
        for _ in 0..20 {
            let reply = client.command(&["SET".as_bytes(), b"key", &value]).unwrap();
            if reply.is_error() {
                refusals.push(reply.text());
            }
        }
        clients.push(client);
    }
    assert!(!refusals.is_empty(), "120 MiB were queued");
    for refusal in &refusals {
        assert!(refusal.starts_with("OOM nearside: ") && refusal.contains("(memory_max)"), "{refusal}");
    }
    assert_under_ceiling(&daemon);
    drop(clients);
    eventually("the memory is given back", SOON, || memory(&daemon, "VmRSS") < before + 24 * MIB);
    assert_eq!(daemon.counter("memory_transactions"), 0);
}

#[test]
fn l1_has_half_of_it_and_is_emptied_for_what_is_asked() {
    let (upstream, daemon) = under_ceiling(&["--l1-size", "1gb", "--admission", "always"]);
    let mut direct = upstream.server().connect().unwrap();
    let mut client = daemon.client();
    let shown = client.command(&["CONFIG", "GET", "nearside-l1-size"]).unwrap();
    assert_eq!(shown.items()[1].text(), (MEMORY_MAX / 2).to_string());
    let value = vec![b'v'; 100_000];
    for number in 0..1_000 {
        let key = format!("key{number}");
        direct.command(&["SET".as_bytes(), key.as_bytes(), &value]).unwrap();
        client.command(&["GET", &key]).unwrap();
    }
    assert!(daemon.counter("l1_bytes") > 24 << 20, "L1 is in use: {}", daemon.counter("l1_bytes"));
    // More than is left beside L1, and no more than there is without it.
    let set = client.command(&["SET".as_bytes(), b"large", &vec![b'v'; 45 * MIB]]).unwrap();
    assert_eq!(set.text(), "OK");
    assert!(daemon.counter("memory_l1_emptied") > 0);
    assert_eq!(daemon.counter("memory_max"), MEMORY_MAX as u64);
    eventually("L1 is filled again", SOON, || {
        client.command(&["GET", "key1"]).unwrap();
        daemon.counter("l1_entries") > 0
    });
    assert_under_ceiling(&daemon);
}
