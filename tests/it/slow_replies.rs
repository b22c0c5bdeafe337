//! What comes slowly from a node, or goes slowly to it: it ends in time, and what is behind it waits no
//! longer than that.

use std::thread;
use std::time::Duration;

use nearside::sandbox::{Reply, SandboxClient, Standalone};
use tokio::time::Instant;

use crate::support::daemon::Daemon;
use crate::support::servers::{eventually, own_primaries, owner};
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
        Slow::patient(PATIENCE, settings)
    }

    /// One that waits so long for what stands still.
    fn patient(patience: Duration, settings: &[&str]) -> Slow {
        let server = Standalone::launch(&[]).unwrap();
        let link = SlowLink::to(server.server().address());
        let url = format!("redis://{}", link.address());
        let patience = format!("{}ms", patience.as_millis());
        let common = ["--upstream", &url, "--upstream-request-timeout", &patience];
        let daemon = Daemon::start(&[&common, settings].concat());
        daemon.until_tracked(1);
        Slow { server, link, daemon }
    }

    fn client(&self) -> SandboxClient {
        let client = self.daemon.client();
        client.set_timeout(LIMIT).unwrap();
        client
    }

    /// A conversation with the server past the link.
    fn past_it(&self) -> SandboxClient {
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
    // At the quickest of them it comes in time.
    for gap in gaps().into_iter().skip(1) {
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

/// Longer than a test takes: what waits for what is slow does not come.
const FOR_EVER: Duration = Duration::from_secs(600);

const QUICK_LEASE: [&str; 4] = ["--heartbeat-interval", "200ms", "--lease", "1s"];

/// Fails unless commands on the same node as what is slow are answered, and L1 goes on as long as it may.
fn others_go_on(slow: &Slow) {
    let mut other = slow.client();
    let mut longest = Duration::ZERO;
    for number in 0..50 {
        let (key, value) = (format!("key:{number}"), number.to_string());
        let began = Instant::now();
        assert!(other.command(&["SET", &key, &value]).unwrap().is_ok());
        longest = longest.max(began.elapsed());
        assert_eq!(other.command(&["GET", &key]).unwrap(), Reply::bulk(&value));
    }
    println!("of 50 SETs of another client the slowest took {longest:?}");
    assert!(other.command(&["DBSIZE"]).unwrap().integer().is_some());
    assert!(slow.daemon.counter("upstream_side_connections") > 0);
    // The lease of the main connection is over then: what is read is read over the other one, and kept.
    thread::sleep(Duration::from_millis(1_500));
    eventually("what is read over a side connection is kept", LIMIT, || {
        let hits = slow.daemon.counter("l1_hits");
        other.command(&["GET", "hot"]).unwrap();
        other.command(&["GET", "hot"]).unwrap();
        slow.daemon.counter("l1_hits") > hits
    });
    slow.past_it().command(&["SET", "hot", "changed"]).unwrap();
    eventually("its changes are heard of", LIMIT, || {
        other.command(&["GET", "hot"]).unwrap() == Reply::bulk("changed")
    });
}

#[test]
fn nobody_waits_for_a_reply_that_trickles_but_who_asked_for_it() {
    for size in [500_000, 100] {
        let slow =
            Slow::patient(FOR_EVER, &[&QUICK_LEASE[..], &["--upstream-request-time-max", "1h"]].concat());
        slow.past_it().command(&["SET", "big", &marked(size)]).unwrap();
        slow.past_it().command(&["SET", "hot", "before"]).unwrap();
        let mut client = slow.client();
        client.command(&["GET", "hot"]).unwrap();
        slow.link.trickle_behind(MARK, LIMIT);
        client.send(&["GET", "big"]).unwrap();
        eventually("it is slow", LIMIT, || slow.link.slowed() > 0);
        // What is small is in the way only once it is seen to be slow.
        thread::sleep(Duration::from_millis(100));
        others_go_on(&slow);
        assert_eq!(slow.daemon.counter("upstream_losses"), 0, "it still comes");
    }
}

#[test]
fn nobody_waits_for_a_request_that_trickles_but_who_sent_it() {
    let slow = Slow::patient(FOR_EVER, &[&QUICK_LEASE[..], &["--upstream-request-time-max", "1h"]].concat());
    slow.past_it().command(&["SET", "hot", "before"]).unwrap();
    slow.link.trickle_behind(MARK, LIMIT);
    slow.client().send(&["SET", "big", &marked(3_000_000)]).unwrap();
    let client = slow.client();
    eventually("it is slow", LIMIT, || slow.link.slowed() > 0);
    others_go_on(&slow);
    drop(client);
}

#[test]
fn what_is_small_goes_past_several_that_are_large_up_to_the_bound() {
    for sides in [1, 3] {
        let max = sides.to_string();
        let bounds = ["--upstream-request-time-max", "1h", "--upstream-side-connections-max", &max];
        let slow = Slow::patient(FOR_EVER, &bounds);
        let keys = ["one", "two", "three"];
        for key in keys {
            slow.past_it().command(&["SET", key, &marked(500_000)]).unwrap();
        }
        slow.link.trickle_behind(MARK, LIMIT);
        let mut clients = Vec::new();
        for (at, key) in keys[..sides].iter().enumerate() {
            let mut client = slow.client();
            client.send(&["GET", key]).unwrap();
            clients.push(client);
            eventually("it is slow", LIMIT, || slow.link.slowed() > at);
        }
        assert!(slow.client().command(&["SET", "small", "1"]).unwrap().is_ok());
        assert_eq!(slow.daemon.counter("upstream_side_connections"), sides as u64);
    }
}

#[test]
fn what_is_large_is_a_setting() {
    let value = "v".repeat(100_000);
    for (size, opened) in [("50kb", 1), ("200kb", 0)] {
        let slow = Slow::new(&["--upstream-large-min", size]);
        assert!(slow.client().command(&["SET", "big", &value]).unwrap().is_ok());
        assert_eq!(slow.daemon.counter("upstream_side_opened"), opened, "{size}");
    }
}

/// What one client asks and another right behind it, before the server has answered any of it: whether the
/// second is answered while the reply to the first trickles.
fn is_answered_beside(slow: &Slow, large: &[&str]) -> bool {
    slow.link.trickle_behind(MARK, LIMIT);
    let slowed = slow.link.slowed();
    let (mut asker, mut other) = (slow.client(), slow.client());
    // As if it were busy with making the reply.
    slow.server.server().stop_signal().unwrap();
    asker.send(large).unwrap();
    thread::sleep(Duration::from_millis(200));
    other.send(&["SET", "small", "1"]).unwrap();
    thread::sleep(Duration::from_millis(200));
    slow.server.server().continue_signal().unwrap();
    eventually("it trickles", LIMIT, || slow.link.slowed() > slowed);
    other.set_timeout(2 * PATIENCE).unwrap();
    other.receive().is_ok_and(|reply| reply.is_ok())
}

#[test]
fn what_was_large_before_is_asked_for_past_all_others() {
    // A value that was large when it was read, and one that was large when it was written.
    for known_by in ["GET", "SET"] {
        // Nothing of it is kept in L1.
        let slow = Slow::patient(FOR_EVER, &["--upstream-request-time-max", "1h", "--l1-size", "1mb"]);
        let value = marked(300_000);
        match known_by {
            "GET" => {
                slow.past_it().command(&["SET", "big", &value]).unwrap();
                assert_eq!(slow.client().command(&["GET", "big"]).unwrap(), Reply::bulk(&value));
            }
            _ => assert!(slow.client().command(&["SET", "big", &value]).unwrap().is_ok()),
        }
        assert!(is_answered_beside(&slow, &["GET", "big"]), "known by {known_by}");
    }
    let slow = Slow::patient(FOR_EVER, &["--upstream-request-time-max", "1h", "--l1-size", "1mb"]);
    slow.past_it().command(&["SET", "big", &marked(300_000)]).unwrap();
    assert!(!is_answered_beside(&slow, &["GET", "big"]), "nobody knows that it is large");
}

#[test]
fn what_is_small_does_not_wait_on_a_side_connection_either() {
    let slow = Slow::patient(FOR_EVER, &["--upstream-request-time-max", "1h", "--l1-size", "1mb"]);
    slow.past_it().command(&["SET", "unknown", &marked(300_000)]).unwrap();
    assert!(slow.client().command(&["SET", "known", &marked(300_000)]).unwrap().is_ok());
    slow.link.trickle_behind(MARK, LIMIT);
    let mut on_main = slow.client();
    on_main.send(&["GET", "unknown"]).unwrap();
    eventually("the main connection is slow", LIMIT, || slow.link.slowed() > 0);
    // Asked for on a side connection, and not begun to come.
    assert!(is_answered_beside(&slow, &["GET", "known"]));
}

#[test]
fn what_is_known_to_be_large_waits_behind_what_is_large_and_never_on_the_main_connection() {
    let bounds = ["--upstream-request-time-max", "1h", "--upstream-side-connections-max", "1"];
    let slow = Slow::patient(FOR_EVER, &[&bounds[..], &["--l1-size", "1mb"]].concat());
    for key in ["one", "two"] {
        assert!(slow.client().command(&["SET", key, &marked(300_000)]).unwrap().is_ok());
    }
    slow.link.trickle_behind(MARK, LIMIT);
    let mut askers: Vec<SandboxClient> = (0..2).map(|_| slow.client()).collect();
    askers[0].send(&["GET", "one"]).unwrap();
    eventually("it is slow", LIMIT, || slow.link.slowed() > 0);
    askers[1].send(&["GET", "two"]).unwrap();
    // Its reply would be slow by now.
    thread::sleep(PATIENCE);
    assert!(slow.client().command(&["SET", "small", "1"]).unwrap().is_ok());
    assert_eq!(slow.link.slowed(), 1, "the other one waits");
}

#[test]
fn without_side_connections_all_wait() {
    let bounds = ["--upstream-request-time-max", "1h", "--upstream-side-connections-max", "0"];
    let slow = Slow::patient(FOR_EVER, &bounds);
    slow.past_it().command(&["SET", "big", &marked(500_000)]).unwrap();
    slow.link.trickle_behind(MARK, LIMIT);
    slow.client().send(&["GET", "big"]).unwrap();
    let mut client = slow.client();
    eventually("it is slow", LIMIT, || slow.link.slowed() > 0);
    client.set_timeout(2 * PATIENCE).unwrap();
    assert!(client.command(&["SET", "small", "1"]).is_err());
    assert_eq!(slow.daemon.counter("upstream_side_opened"), 0);
}

#[test]
fn the_commands_on_a_slot_keep_their_order_past_what_is_large() {
    let slow = Slow::patient(LIMIT, &[]);
    let large = "v".repeat(2_000_000);
    slow.link.limit(4_000_000);
    for round in 0..3 {
        let (mut reader, mut writer) = (slow.client(), slow.client());
        let small = round.to_string();
        // A large request on its slot, a small one behind it, and a large reply with a small request behind
        // it.
        writer.send(&["SET", "{t}big", &large]).unwrap();
        writer.send(&["APPEND", "{t}big", &small]).unwrap();
        writer.send(&["STRLEN", "{t}big"]).unwrap();
        writer.send(&["GET", "{t}big"]).unwrap();
        writer.send(&["SET", "{t}big", &small]).unwrap();
        writer.send(&["GET", "{t}big"]).unwrap();
        let whole = format!("{large}{small}");
        assert!(writer.receive().unwrap().is_ok());
        assert_eq!(writer.receive().unwrap().integer(), Some(whole.len() as i64));
        assert_eq!(writer.receive().unwrap().integer(), Some(whole.len() as i64));
        assert_eq!(writer.receive().unwrap(), Reply::bulk(&whole));
        assert!(writer.receive().unwrap().is_ok());
        assert_eq!(writer.receive().unwrap(), Reply::bulk(&small));
        assert_eq!(reader.command(&["GET", "{t}big"]).unwrap(), Reply::bulk(&small));
    }
    assert!(slow.daemon.counter("upstream_side_opened") > 0);
}

#[test]
fn what_names_no_keys_overtakes_nothing_of_its_session() {
    let slow = Slow::patient(LIMIT, &[]);
    let large = "v".repeat(2_000_000);
    slow.link.limit(4_000_000);
    for _ in 0..3 {
        let mut client = slow.client();
        client.send(&["SET", "big", &large]).unwrap();
        client.send(&["SET", "small", "1"]).unwrap();
        client.send(&["FLUSHALL"]).unwrap();
        client.send(&["GET", "big"]).unwrap();
        client.send(&["SET", "small", "2"]).unwrap();
        client.send(&["EVAL", "return redis.call('DBSIZE')", "0"]).unwrap();
        for _ in 0..3 {
            assert!(client.receive().unwrap().is_ok());
        }
        assert!(client.receive().unwrap().is_nil(), "it was flushed");
        assert!(client.receive().unwrap().is_ok());
        assert_eq!(client.receive().unwrap().integer(), Some(1));
    }
}

#[test]
fn what_names_no_keys_sees_all_that_its_session_wrote_before_and_nothing_of_what_comes_behind() {
    let large = "v".repeat(1_000_000);
    let count = "return redis.call('DBSIZE')";
    let one = Reply::Integer(1);
    let found = Reply::Array(vec![Reply::bulk("big")]);
    let (set, multi, exec) = (&["SET", "big", &large][..], &["MULTI"][..], &["EXEC"][..]);
    let cases: [(&[&[&str]], Reply); 9] = [
        (&[set, &["DBSIZE"]], one.clone()),
        (&[set, &["KEYS", "*"]], found.clone()),
        (&[set, &["RANDOMKEY"]], Reply::bulk("big")),
        (&[set, &["SCAN", "0", "COUNT", "100"]], Reply::Array(vec![Reply::bulk("0"), found])),
        (&[set, &["EVAL_RO", count, "0"]], one.clone()),
        (&[set, multi, &["DBSIZE"], exec], Reply::Array(vec![one.clone()])),
        (&[set, multi, &["FLUSHALL"], exec, &["EXISTS", "big"]], Reply::Integer(0)),
        (&[set, multi, &["SET", "small", "1"], &["FLUSHALL"], exec, &["DBSIZE"]], Reply::Integer(0)),
        (&[set, &["DBSIZE"], set, &["DEL", "big"], &["DBSIZE"]], Reply::Integer(0)),
    ];
    let slow = Slow::patient(LIMIT, &[]);
    slow.link.limit(10_000_000);
    // Before there is a side connection, and when there is one.
    for round in 0..2 {
        for (requests, expected) in &cases {
            slow.past_it().command(&["FLUSHALL"]).unwrap();
            let mut client = slow.client();
            requests.iter().for_each(|request| client.send(request).unwrap());
            let replies: Vec<Reply> = requests.iter().map(|_| client.receive().unwrap()).collect();
            let shown: Vec<&[&str]> =
                requests.iter().map(|request| &request[..request.len().min(2)]).collect();
            assert_eq!(replies.last(), Some(expected), "round {round}: {shown:?}");
        }
        // What is behind it is not seen either.
        for _ in 0..20 {
            slow.past_it().command(&["FLUSHALL"]).unwrap();
            let mut client = slow.client();
            client.send(&["DBSIZE"]).unwrap();
            client.send(&["SET", "big", &large[..100_000]]).unwrap();
            assert_eq!(client.receive().unwrap(), Reply::Integer(0));
            assert!(client.receive().unwrap().is_ok());
        }
    }
    assert!(slow.daemon.counter("upstream_side_opened") > 0);
}

#[test]
fn a_large_reply_of_a_transaction_or_of_many_keys_holds_nobody_up() {
    let read = ["MGET", "{t}0", "{t}1", "{t}2", "{t}3"];
    for requests in [&[&read[..]][..], &[&["MULTI"], &read, &["INCR", "{t}n"], &["EXEC"]]] {
        let slow = Slow::patient(FOR_EVER, &["--upstream-request-time-max", "1h"]);
        for number in 0..3 {
            let key = format!("{{t}}{number}");
            slow.past_it().command(&["SET", &key, &"v".repeat(200_000)]).unwrap();
        }
        slow.past_it().command(&["SET", "{t}3", &marked(1_000)]).unwrap();
        slow.link.trickle_behind(MARK, LIMIT);
        let mut client = slow.client();
        requests.iter().for_each(|request| client.send(request).unwrap());
        eventually("it is slow", LIMIT, || slow.link.slowed() > 0);
        thread::sleep(Duration::from_millis(100));
        assert!(slow.client().command(&["SET", "small", "1"]).unwrap().is_ok());
        let counted = slow.past_it().command(&["GET", "{t}n"]).unwrap();
        assert!(requests.len() == 1 || counted == Reply::bulk("1"), "carried out once: {counted:?}");
    }
}

#[test]
fn a_side_connection_goes_when_nobody_needs_it() {
    let slow = Slow::new(&["--upstream-dedicated-idle-timeout", "200ms"]);
    slow.client().command(&["SET", "big", &"v".repeat(1_000_000)]).unwrap();
    assert_eq!(slow.daemon.counter("upstream_side_opened"), 1);
    eventually("it is gone", LIMIT, || slow.daemon.counter("upstream_side_connections") == 0);
    slow.is_well();
}

#[test]
fn a_node_of_a_cluster_that_trickles_holds_up_nobody_at_the_others() {
    let cluster = own_primaries(3);
    let link = SlowLink::before(&cluster.nodes()[0]);
    let seed = cluster.nodes()[1].server().address();
    let daemon = Daemon::start(&["--upstream", &format!("redis-cluster://{seed}")]);
    eventually("it is reached over the link", LIMIT, || {
        daemon
            .nodes()
            .iter()
            .any(|(address, state)| *address == link.address().to_string() && state == "tracked")
    });
    let keys: Vec<String> = (0..60).map(|number| format!("key:{number}")).collect();
    let (its, others): (Vec<_>, Vec<_>) =
        keys.iter().partition(|key| owner(&cluster, key.as_bytes()).id() == cluster.nodes()[0].id());
    for key in &its {
        cluster.nodes()[0].server().command(&["SET", key, &marked(1_000)]).unwrap();
    }
    link.trickle_behind(MARK, Duration::from_millis(900));
    let mut askers: Vec<SandboxClient> = its.iter().map(|_| daemon.client()).collect();
    for (asker, key) in askers.iter_mut().zip(&its) {
        asker.set_timeout(LIMIT).unwrap();
        asker.send(&["GET", key]).unwrap();
    }
    eventually("it trickles", LIMIT, || link.slowed() > 0);
    let mut client = daemon.client();
    for key in &others {
        assert!(client.command(&["SET", key, "value"]).unwrap().is_ok());
        for _ in 0..2 {
            assert_eq!(client.command(&["GET", key]).unwrap(), Reply::bulk("value"));
        }
    }
    assert_eq!(daemon.counter("upstream_losses"), 0, "they were answered while it trickled");
    for mut asker in askers {
        let text = asker.receive().unwrap().text();
        assert!(text.contains("upstream_rate_min") || text.contains("upstream_request_timeout"), "{text}");
    }
}
