//! NEARSIDE EXPLAIN and FLUSH tell the truth whatever was hit before and however short the time is: of keys
//! that the hot set of a worker still has, within the second in which L1 was emptied, and of entries whose
//! time is over.

use std::thread;
use std::time::Duration;

use nearside::sandbox::{Reply, SandboxClient, Standalone};
use tokio::time::Instant;

use crate::support::daemon::Daemon;
use crate::support::servers::eventually;

const SOON: Duration = Duration::from_secs(20);

/// One server, and a daemon before it with these flags.
fn before_one_server(flags: &[&str]) -> (Standalone, Daemon, SandboxClient) {
    let upstream = Standalone::launch(&[]).unwrap();
    let url = format!("redis://{}", upstream.server().address());
    let daemon = Daemon::start(&[["--upstream", &url].as_slice(), flags].concat());
    daemon.until_tracked(1);
    let client = daemon.client();
    (upstream, daemon, client)
}

fn say(client: &mut SandboxClient, request: &str) -> Reply {
    client.command(&request.split(' ').collect::<Vec<_>>()).unwrap()
}

/// A field of what EXPLAIN says of `key`.
fn explained(client: &mut SandboxClient, key: &str, field: &str) -> Reply {
    let reply = client.command(&["NEARSIDE", "EXPLAIN", key]).unwrap();
    let items = reply.items();
    let mut pairs = items.chunks(2);
    pairs.find(|pair| pair[0].text() == field).unwrap_or_else(|| panic!("no {field} in {reply:?}"))[1].clone()
}

fn why(client: &mut SandboxClient, key: &str) -> String {
    explained(client, key, "last_not_cached").text()
}

fn is_cached(client: &mut SandboxClient, key: &str) -> bool {
    explained(client, key, "cached") == Reply::Integer(1)
}

#[test]
fn why_a_key_went_does_not_depend_on_how_often_it_was_hit() {
    let (upstream, daemon, mut client) = before_one_server(&[]);
    let (mut other, mut direct) = (daemon.client(), upstream.server().connect().unwrap());
    for hits in [0, 1, 5, 200] {
        let keep = |client: &mut SandboxClient, key: &str| {
            say(client, &format!("SET {key} value"));
            (0..=hits).for_each(|_| assert_eq!(say(client, &format!("GET {key}")).text(), "value"));
            assert!(is_cached(client, key), "{key} after {hits} hits");
        };
        for key in ["written", "deleted", "told", "flushed", "emptied"] {
            keep(&mut client, key);
        }
        say(&mut other, "SET written newer");
        assert_eq!(why(&mut client, "written"), "a client of this daemon wrote the key", "after {hits} hits");
        say(&mut other, "DEL deleted");
        assert_eq!(why(&mut client, "deleted"), "a client of this daemon wrote the key", "after {hits} hits");
        say(&mut direct, "SET told newer");
        eventually("the change is told", SOON, || !is_cached(&mut client, "told"));
        assert_eq!(why(&mut client, "told"), "the server said that the key changed", "after {hits} hits");
        assert_eq!(say(&mut client, "NEARSIDE FLUSH flushed"), Reply::Integer(1));
        assert_eq!(why(&mut client, "flushed"), "NEARSIDE FLUSH", "after {hits} hits");
        say(&mut client, "NEARSIDE FLUSH");
        let emptied = "it was not read since L1 was emptied";
        assert_eq!(why(&mut client, "emptied"), emptied, "after {hits} hits");
    }
    daemon.stop();
}

#[test]
fn the_time_of_a_hot_entry_that_is_over_is_why_it_is_not_served() {
    let (_upstream, daemon, mut client) = before_one_server(&[
        "--l1-ttl",
        "300ms",
        "--negative-ttl",
        "300ms",
        "--topology-refresh-interval",
        "200ms",
    ]);
    say(&mut client, "SET key value");
    (0..10).for_each(|_| drop(say(&mut client, "GET key")));
    eventually("its time is over", SOON, || !is_cached(&mut client, "key"));
    assert_eq!(why(&mut client, "key"), "the time of the entry was over");
    daemon.stop();
}

#[test]
fn what_happens_right_after_l1_was_emptied_is_newer_than_that() {
    let (_upstream, daemon, mut client) = before_one_server(&[]);
    say(&mut client, "SET key value");
    let begin = Instant::now();
    // Somewhere in each second, and more than once in the same.
    while begin.elapsed() < Duration::from_millis(1_500) {
        say(&mut client, "NEARSIDE FLUSH");
        assert_eq!(why(&mut client, "key"), "it was not read since L1 was emptied");
        say(&mut client, "TTL key");
        assert_eq!(why(&mut client, "key"), "it was read by a command whose replies are not kept");
    }
    daemon.stop();
}

#[test]
fn flush_counts_what_would_have_been_served() {
    let (_upstream, daemon, mut client) = before_one_server(&[]);
    let brief = |client: &mut SandboxClient| {
        for number in 0..50 {
            say(client, &format!("SET brief:{number} value PX 200"));
            say(client, &format!("GET brief:{number}"));
        }
        for number in 0..7 {
            say(client, &format!("SET long:{number} value"));
            say(client, &format!("GET long:{number}"));
        }
        thread::sleep(Duration::from_millis(250));
        assert!((0..50).all(|number| !is_cached(client, &format!("brief:{number}"))));
        assert!((0..7).all(|number| is_cached(client, &format!("long:{number}"))));
    };
    brief(&mut client);
    assert_eq!(say(&mut client, "NEARSIDE FLUSH"), Reply::Integer(7));
    assert_eq!(say(&mut client, "NEARSIDE FLUSH"), Reply::Integer(0));
    brief(&mut client);
    assert_eq!(say(&mut client, "NEARSIDE FLUSH brief:"), Reply::Integer(0));
    assert_eq!(say(&mut client, "NEARSIDE FLUSH long:"), Reply::Integer(7));
    daemon.stop();
}

#[test]
fn what_a_read_over_another_connection_took_along_says_so() {
    let (_upstream, daemon, mut client) = before_one_server(&[]);
    for hits in [0, 5] {
        say(&mut client, "SET key value");
        (0..=hits).for_each(|_| drop(say(&mut client, "GET key")));
        assert!(is_cached(&mut client, "key"));
        for request in ["WATCH other", "MULTI", "GET key", "EXEC"] {
            let request = request.replace("other", "{key}other");
            assert!(!say(&mut client, &request).is_error(), "{request}");
        }
        let wanted = "it was read over another connection, which may have had something newer";
        assert_eq!(why(&mut client, "key"), wanted, "after {hits} hits");
    }
    daemon.stop();
}
