//! What comes slowly from a node, or goes slowly to it: it ends in time, and what is behind it waits no longer than that.

use std::thread;
use std::time::Duration;

use nearside::dev::{Client, Reply, Standalone};
use tokio::time::Instant;

use crate::support::daemon::Daemon;
use crate::support::servers::eventually;
use crate::support::slow_link::SlowLink;

/// How long a node may be silent here, or slow.
const PATIENCE: Duration = Duration::from_millis(500);

/// Many times as long: for what has to happen on a busy machine.
const LIMIT: Duration = Duration::from_secs(15);

/// What stands in the middle of what is slow.
const MARK: &str = "FROM-HERE-ON";

/// A server behind a slow link, and a daemon before that.
struct Slow {
    server: Standalone,
    link: SlowLink,
    daemon: Daemon,
}

impl Slow {
    fn new(settings: &[&str]) -> Slow {
        let server = Standalone::launch(&[]).unwrap();
        let link = SlowLink::to(server.server().address());
        let url = format!("redis://{}", link.address());
        let patience = format!("{}ms", PATIENCE.as_millis());
        let common = ["--upstream", &url, "--upstream-request-timeout", &patience];
        let daemon = Daemon::start(&[&common, settings].concat());
        daemon.until_tracked(1);
        Slow { server, link, daemon }
    }

    fn client(&self) -> Client {
        let client = self.daemon.client();
        client.set_patience(LIMIT).unwrap();
        client
    }

    /// A conversation with the server past the link.
    fn past_it(&self) -> Client {
        self.server.server().connect().unwrap()
    }

    /// Fails unless the daemon is or soon will be as if nothing had been.
    fn is_well(&self) {
        self.link.be_quick();
        let mut client = self.client();
        eventually("it is served again", LIMIT, || client.command(&["SET", "well", "1"]).unwrap().is_ok());
        assert_eq!(client.command(&["GET", "well"]).unwrap(), Reply::bulk("1"));
    }
}

/// A value with the mark in its middle.
fn marked(half: usize) -> String {
    format!("{0}{MARK}{0}", "x".repeat(half))
}

/// How slow something is: a byte each so often. The last one is silence.
fn gaps() -> [Duration; 4] {
    [PATIENCE / 50, PATIENCE / 6, PATIENCE * 4 / 5, LIMIT * 10]
}

fn assert_slow(reply: &Reply, bound: &str) {
    let text = reply.text();
    let said = text.contains("came along too slowly") && text.contains(&format!("({bound})"));
    assert!(reply.is_error() && said, "{text}");
}

#[test]
fn a_reply_that_trickles_ends_in_an_error_about_as_soon_as_one_that_stops() {
    let slow = Slow::new(&[]);
    slow.past_it().command(&["SET", "big", &marked(500_000)]).unwrap();
    slow.past_it().command(&["RPUSH", "list", "small", &marked(20_000)]).unwrap();
    for (times, gap) in gaps().into_iter().enumerate() {
        for request in [&["GET", "big"][..], &["LRANGE", "list", "0", "-1"], &["MGET", "none", "big"]] {
            slow.link.trickle_behind(MARK, gap);
            let began = Instant::now();
            let reply = slow.client().command(request).unwrap();
            assert_slow(&reply, "upstream_rate_min");
            assert!(began.elapsed() >= PATIENCE * 9 / 10, "{gap:?}: {:?}", began.elapsed());
            slow.is_well();
        }
        assert!(slow.link.slowed() >= 3 * (times + 1));
    }
    assert!(slow.daemon.counter("upstream_losses") >= 12);
}

#[test]
fn a_request_that_trickles_ends_in_an_error_too() {
    let slow = Slow::new(&[]);
    for gap in gaps() {
        slow.link.trickle_behind(MARK, gap);
        // More than the buffers on the way take.
        let reply = slow.client().command(&["SET", "big", &marked(3_000_000)]).unwrap();
        assert_slow(&reply, "upstream_rate_min");
        slow.is_well();
    }
}

#[test]
fn what_is_large_and_comes_along_may_take_longer_in_either_direction() {
    let slow = Slow::new(&[]);
    let value = "v".repeat(6_000_000);
    // Several times the patience.
    slow.link.limit(3_000_000);
    let began = Instant::now();
    assert!(slow.client().command(&["SET", "big", &value]).unwrap().is_ok());
    assert_eq!(slow.client().command(&["GET", "big"]).unwrap(), Reply::bulk(&value));
    assert!(began.elapsed() >= 4 * PATIENCE, "{:?}: the link was not slow", began.elapsed());
    assert_eq!(slow.daemon.counter("upstream_losses"), 0);
}

#[test]
fn what_comes_along_ends_at_the_ceiling() {
    let bounds = ["--upstream-rate-min", "1000", "--upstream-request-time-max", "1500ms"];
    let slow = Slow::new(&bounds);
    slow.past_it().command(&["SET", "big", &"v".repeat(6_000_000)]).unwrap();
    slow.link.limit(300_000);
    let began = Instant::now();
    let reply = slow.client().command(&["GET", "big"]).unwrap();
    assert_slow(&reply, "upstream_request_time_max");
    assert!(began.elapsed() >= Duration::from_millis(1_400), "{:?}", began.elapsed());
    slow.is_well();
}

#[test]
fn a_push_that_trickles_ends_the_connection_and_nothing_stale_is_served() {
    let slow = Slow::new(&[]);
    let key = format!("key:{}", marked(200));
    let mut client = slow.client();
    client.command(&["SET", &key, "before"]).unwrap();
    for (times, gap) in gaps().into_iter().enumerate() {
        client.command(&["GET", &key]).unwrap();
        client.command(&["GET", &key]).unwrap();
        let slowed = slow.link.slowed();
        slow.link.trickle_behind(MARK, gap);
        let value = times.to_string();
        slow.past_it().command(&["SET", &key, &value]).unwrap();
        eventually("the push is slow", LIMIT, || slow.link.slowed() > slowed);
        slow.link.be_quick();
        eventually("the new value is served", LIMIT, || {
            client.command(&["GET", &key]).unwrap() == Reply::bulk(&value)
        });
        eventually("the connection is given up", LIMIT, || {
            slow.daemon.counter("upstream_losses") > times as u64
        });
        slow.is_well();
    }
}

#[test]
fn the_reply_to_a_heartbeat_that_trickles_ends_the_connection() {
    for gap in gaps() {
        let slow = Slow::new(&["--heartbeat-interval", "100ms"]);
        slow.link.trickle_behind("+PO", gap);
        eventually("the connection is given up", LIMIT, || slow.daemon.counter("upstream_losses") > 0);
        slow.is_well();
    }
}

#[test]
fn the_reply_to_a_wait_has_all_time_until_it_begins_and_not_from_then_on() {
    let slow = Slow::new(&[]);
    for gap in gaps() {
        slow.link.trickle_behind(MARK, gap);
        let mut waiting = slow.client();
        waiting.send(&["BLPOP", "queue", "0"]).unwrap();
        thread::sleep(2 * PATIENCE);
        slow.past_it().command(&["RPUSH", "queue", &marked(20_000)]).unwrap();
        assert_slow(&waiting.receive().unwrap(), "upstream_rate_min");
        slow.is_well();
    }
}

#[test]
fn a_watched_transaction_whose_reply_trickles_ends_in_an_error() {
    let slow = Slow::new(&[]);
    slow.past_it().command(&["SET", "big", &marked(20_000)]).unwrap();
    for gap in gaps() {
        slow.link.trickle_behind(MARK, gap);
        let mut client = slow.client();
        for request in [&["WATCH", "big"][..], &["MULTI"], &["GET", "big"]] {
            assert!(!client.command(request).unwrap().is_error());
        }
        assert_slow(&client.command(&["EXEC"]).unwrap(), "upstream_rate_min");
        slow.is_well();
    }
}

#[test]
fn a_message_that_trickles_ends_the_connection_that_subscribes_and_the_next_one_carries_on() {
    let slow = Slow::new(&["--heartbeat-interval", "100ms"]);
    let mut subscriber = slow.client();
    subscriber.command(&["SUBSCRIBE", "news"]).unwrap();
    for (times, gap) in gaps().into_iter().enumerate() {
        slow.link.trickle_behind(MARK, gap);
        slow.past_it().command(&["PUBLISH", "news", &marked(20_000)]).unwrap();
        eventually("the connection is given up", LIMIT, || {
            slow.daemon.counter("pubsub_losses") > times as u64
        });
        slow.link.be_quick();
        eventually("it is subscribed again", LIMIT, || slow.daemon.counter("pubsub_restored") > times as u64);
        slow.past_it().command(&["PUBLISH", "news", "on"]).unwrap();
        assert_eq!(subscriber.receive().unwrap().items()[2], Reply::bulk("on"));
    }
}
