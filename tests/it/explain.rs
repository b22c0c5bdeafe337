//! NEARSIDE: EXPLAIN tells the truth of why a key is not in L1, FRESH bypasses L1, FLUSH empties it.

use std::fs;
use std::thread;
use std::time::Duration;

use nearside::protocol::key::Slot;
use nearside::sandbox::{Node, Reply, SandboxClient, Standalone};

use crate::support::daemon::{Daemon, upstream_url};
use crate::support::relay::Relay;
use crate::support::servers::{eventually, own_primaries, sandbox};

const SOON: Duration = Duration::from_secs(10);

/// What EXPLAIN says of a key, field by field.
struct Explained(Vec<(String, Reply)>);

// === impl Explained ===

impl Explained {
    fn of(client: &mut SandboxClient, key: &str) -> Explained {
        let reply = client.command(&["NEARSIDE", "EXPLAIN", key]).unwrap();
        Explained::from(&reply)
    }

    /// The fields of a map, as it is in either version of the protocol.
    fn from(reply: &Reply) -> Explained {
        if let Reply::Map(pairs) = reply {
            return Explained(pairs.iter().map(|(name, value)| (name.text(), value.clone())).collect());
        }
        let items = reply.items();
        assert!(items.len().is_multiple_of(2) && !items.is_empty(), "{reply:?}");
        Explained(items.chunks(2).map(|pair| (pair[0].text(), pair[1].clone())).collect())
    }

    fn field(&self, name: &str) -> &Reply {
        let field = self.0.iter().find(|(field, _)| field == name);
        &field.unwrap_or_else(|| panic!("no {name} in {:?}", self.0)).1
    }

    fn number(&self, name: &str) -> i64 {
        self.field(name).integer().unwrap()
    }

    fn is_cached(&self) -> bool {
        self.number("cached") == 1
    }

    fn why(&self) -> String {
        self.field("last_not_cached").text()
    }
}

/// One server, and a daemon before it that is told this besides.
fn one_server(file: &str) -> (Standalone, Daemon, SandboxClient) {
    let upstream = Standalone::launch(&[]).unwrap();
    let path = sandbox().make_directory().unwrap().join("nearside.toml");
    let url = format!("redis://{}", upstream.server().address());
    fs::write(&path, format!("upstream = {url:?}\n{file}")).unwrap();
    let daemon = Daemon::start(&["--config", path.to_str().unwrap()]);
    daemon.until_tracked(1);
    let client = daemon.client();
    (upstream, daemon, client)
}

fn direct(upstream: &Standalone) -> SandboxClient {
    upstream.server().connect().unwrap()
}

fn say(client: &mut SandboxClient, request: &str) -> Reply {
    client.command(&request.split(' ').collect::<Vec<_>>()).unwrap()
}

#[track_caller]
fn assert_why(client: &mut SandboxClient, key: &str, wanted: &str) {
    let explained = Explained::of(client, key);
    assert!(!explained.is_cached(), "{key} is cached");
    assert!(explained.why().contains(wanted), "{wanted:?} is wanted: {:?}", explained.why());
}

#[test]
fn what_is_kept_is_shown_with_all_that_its_life_depends_on() {
    let (upstream, daemon, mut client) =
        one_server("l1_ttl = '50s'\n[[policy]]\nprefix = 'p:'\nttl = '20s'\nmode = 'capped'\n");
    for version in [2, 3] {
        client.hello(version).unwrap();
        say(&mut client, "SET p:1 value");
        say(&mut client, "GET p:1");
        say(&mut client, "GETRANGE p:1 0 2");
        let explained = Explained::of(&mut client, "p:1");
        assert!(explained.is_cached());
        assert_eq!(explained.number("slot"), i64::from(Slot::of(b"p:1").number()));
        assert_eq!(explained.field("node").text(), upstream.server().address().to_string());
        assert_eq!(explained.field("node_state").text(), "tracked");
        assert_eq!(explained.field("policy").text(), "p:");
        assert_eq!(explained.field("policy_mode").text(), "capped");
        assert_eq!(explained.number("policy_ttl_ms"), 20_000);
        assert!((100..5_000).contains(&explained.number("weight")));
        let replies = explained.field("replies").items();
        assert_eq!(replies.len(), 2, "{replies:?}");
        let get = Explained::from(&replies[0]);
        let request: Vec<String> = get.field("request").items().iter().map(Reply::text).collect();
        assert_eq!(request, ["GET", "p:1"]);
        assert!((1..=20_000).contains(&get.number("left_ms")));
        assert!((1..=2_000).contains(&get.number("lease_left_ms")));
        assert!(get.number("epoch") > 0);
        assert_eq!(get.number("bytes"), 11);
    }
    let other = Explained::of(&mut client, "other");
    assert!(other.field("policy").is_nil());
    assert_eq!(other.number("policy_ttl_ms"), 50_000);
    daemon.stop();
}

#[test]
fn why_a_read_was_not_kept() {
    let (upstream, daemon, mut client) = one_server(
        "[[policy]]\nprefix = 'off:'\ncache = false\n[[policy]]\nprefix = 'small:'\nvalue_max = 4\n",
    );
    assert_why(&mut client, "never", "no command that L1 could answer has read it");
    for key in ["off:1", "small:1", "plain"] {
        say(&mut client, &format!("SET {key} value"));
    }
    say(&mut client, "TTL plain");
    assert_why(&mut client, "plain", "a command whose replies are not kept");
    for read in ["GET", "MGET"] {
        say(&mut client, &format!("{read} off:1"));
        assert_why(&mut client, "off:1", "its policy keeps it out");
        say(&mut client, &format!("{read} small:1"));
        assert_why(&mut client, "small:1", "larger than what is kept");
        say(&mut client, "DEL small:1");
        say(&mut client, "SET small:1 value");
    }
    say(&mut client, "RPUSH list one");
    say(&mut client, "GET list");
    assert_why(&mut client, "list", "the reply was an error");

    // In one pipeline, so that the write has no reply yet; on a busy machine it may have one before the read
    // has come.
    for _ in 0..100 {
        for request in [["SET", "own", "1"].as_slice(), &["GET", "own"]] {
            client.send(request).unwrap();
        }
        client.receive().unwrap();
        client.receive().unwrap();
        if !Explained::of(&mut client, "own").is_cached() {
            break;
        }
    }
    assert_why(&mut client, "own", "waiting for the reply to its own write");
    drop(upstream);
    daemon.stop();
}

#[test]
fn why_what_was_kept_went() {
    let (upstream, daemon, mut client) = one_server("l1_size = '1mb'\n");
    let mut direct = direct(&upstream);
    let keep = |client: &mut SandboxClient, key: &str| {
        say(client, &format!("GET {key}"));
        assert!(Explained::of(client, key).is_cached(), "{key}");
    };
    for key in ["told", "written", "lost", "flushed:1", "emptied"] {
        assert!(say(&mut direct, &format!("SET {key} value")).is_ok());
        keep(&mut client, key);
    }
    assert!(say(&mut direct, "SET brief value PX 3000").is_ok());
    keep(&mut client, "brief");
    say(&mut direct, "SET told newer");
    eventually("the change is told", SOON, || {
        Explained::of(&mut client, "told").why().contains("the server said that the key changed")
    });
    say(&mut client, "SET written newer");
    assert_why(&mut client, "written", "a client of this daemon wrote the key");
    assert_eq!(say(&mut client, "NEARSIDE FLUSH flushed:"), Reply::Integer(1));
    assert_why(&mut client, "flushed:1", "NEARSIDE FLUSH");
    eventually("its time is over", SOON, || !Explained::of(&mut client, "brief").is_cached());
    let brief = Explained::of(&mut client, "brief").why();
    // Whichever was first: our clock, or the server's word that it removed the key.
    let ends = ["the time of the entry was over", "the server said that the key changed"];
    assert!(ends.iter().any(|end| brief.contains(end)), "{brief}");

    assert!(
        say(&mut direct, "CLIENT KILL TYPE normal SKIPME yes").integer().is_some_and(|killed| killed > 0)
    );
    eventually("the loss is noticed", SOON, || {
        Explained::of(&mut client, "lost").why().contains("was lost or silent")
    });
    daemon.until_tracked(1);
    keep(&mut client, "all");
    say(&mut direct, "FLUSHALL");
    eventually("the change of all keys is told", SOON, || {
        Explained::of(&mut client, "all").why() == "the server said that all keys changed"
    });
    say(&mut client, "GET all");
    keep(&mut client, "emptied");
    say(&mut client, "NEARSIDE FLUSH");
    assert_why(&mut client, "emptied", "not read since L1 was emptied");

    keep(&mut client, "told");
    let filler = "x".repeat(2_000);
    for number in 0..1_500 {
        say(&mut client, &format!("SET many:{number} {filler}"));
        say(&mut client, &format!("GET many:{number}"));
    }
    let mut evicted = (0..1_500).map(|number| Explained::of(&mut client, &format!("many:{number}")));
    assert!(evicted.any(|many| !many.is_cached() && many.why().ends_with("there was no room")));
    daemon.stop();
}

#[test]
fn why_a_reply_was_not_kept_that_was_on_its_way() {
    let cluster = own_primaries(1);
    let relay = Relay::before(&cluster.nodes()[0]);
    let url = format!("redis-cluster://{}", relay.address());
    let daemon = Daemon::start(&["--upstream", &url, "--upstream-request-timeout", "1s"]);
    daemon.until_tracked(1);
    let (mut reader, mut client) = (daemon.client(), daemon.client());
    say(&mut client, "SET changed value");
    relay.delay(Duration::from_millis(300));
    reader.send(&["GET", "changed"]).unwrap();
    thread::sleep(Duration::from_millis(50));
    client.send(&["SET", "changed", "newer"]).unwrap();
    reader.receive().unwrap();
    client.receive().unwrap();
    relay.delay(Duration::ZERO);
    assert_why(&mut client, "changed", "invalidated while the reply was on its way");

    relay.pause();
    assert!(say(&mut client, "GET unanswered").is_error());
    assert_why(&mut client, "unanswered", "no reply came from upstream");
    let lost = Explained::of(&mut client, "unanswered");
    assert_ne!(lost.field("node_state").text(), "tracked");
    relay.resume();
    daemon.until_tracked(1);

    // The next connection is there, and not confirmed: what is read meanwhile is not kept.
    relay.lose_reply_to(b"rerouted");
    say(&mut client, "GET rerouted");
    let why = Explained::of(&mut client, "rerouted").why();
    assert!(why.contains("redirected, or sent again") || why.contains("was not tracked"), "{why}");
    drop(daemon);
}

#[test]
fn a_slot_on_the_move_and_one_that_moved() {
    let cluster = own_primaries(2);
    let daemon = Daemon::before(&cluster);
    daemon.until_tracked(2);
    let mut client = daemon.client();
    let slot = Slot::of(b"mover");
    let from = cluster.owner_of(slot).unwrap();
    let to: &Node = cluster.nodes().iter().find(|node| node.id() != from.id()).unwrap();
    for key in ["{mover}1", "{mover}2"] {
        say(&mut client, &format!("SET {key} value"));
        say(&mut client, &format!("GET {key}"));
        assert!(Explained::of(&mut client, key).is_cached());
    }
    let migration = cluster.begin_migration(slot, to).unwrap();
    while migration.move_keys(20).unwrap() > 0 {}
    // Its keys were deleted at their old owner, which it says; the next read meets ASK.
    eventually("the deletion is told", SOON, || !Explained::of(&mut client, "{mover}1").is_cached());
    say(&mut client, "GET {mover}1");
    say(&mut client, "GET {mover}1");
    let moving = Explained::of(&mut client, "{mover}1");
    assert!(moving.why().contains("on its way to another node"), "{}", moving.why());
    assert_eq!(moving.number("slot_is_moving"), 1);
    migration.finish().unwrap();
    eventually("the owner is known", SOON, || {
        say(&mut client, "GET {mover}1");
        let owner = to.server().address().to_string();
        Explained::of(&mut client, "{mover}1").field("node").text() == owner
    });
    eventually("it is kept again", Duration::from_secs(30), || {
        say(&mut client, "GET {mover}1");
        Explained::of(&mut client, "{mover}1").is_cached()
    });
    daemon.stop();
}

#[test]
fn a_node_that_is_not_tracked_and_l1_that_is_off() {
    let upstream = Standalone::launch(&[]).unwrap();
    let mut direct = direct(&upstream);
    for rule in ["ACL SETUSER default on nopass ~* &* +@all -client|tracking", "SET key value"] {
        assert!(say(&mut direct, rule).is_ok());
    }
    let url = format!("redis://{}", upstream.server().address());
    let daemon = Daemon::start(&["--upstream", &url]);
    let mut client = daemon.client();
    assert_eq!(say(&mut client, "GET key").text(), "value");
    assert_why(&mut client, "key", "the connection to its node was not tracked");
    daemon.stop();
    let daemon = Daemon::start(&["--upstream", &url, "--l1-size", "0"]);
    let mut client = daemon.client();
    say(&mut client, "GET key");
    assert_why(&mut client, "key", "L1 is off");
    assert_eq!(say(&mut client, "NEARSIDE FLUSH"), Reply::Integer(0));
    daemon.stop();
}

#[test]
fn reasons_of_so_many_keys_are_remembered_and_the_others_are_said_to_be_forgotten() {
    let (_upstream, daemon, mut client) = one_server("");
    say(&mut client, "NEARSIDE FRESH ON");
    for number in 0..20_000 {
        client.send(&["GET", &format!("key:{number}")]).unwrap();
    }
    for _ in 0..20_000 {
        assert!(client.receive().unwrap().is_nil());
    }
    let mut count = |wanted: &str, keys: std::ops::Range<usize>| {
        let mut why = |number| Explained::of(&mut client, &format!("key:{number}")).why();
        keys.filter(|number| why(*number).contains(wanted)).count()
    };
    assert!(count("forgotten: reasons of at most 8192 keys are remembered", 0..100) > 50);
    assert!(count("wants fresh replies", 19_900..20_000) > 90);
    daemon.stop();
}

#[test]
fn fresh_replies_come_from_upstream_until_they_are_not_wanted_any_more() {
    let cluster = own_primaries(3);
    for workers in ["1", "2"] {
        let daemon = Daemon::start(&["--upstream", &upstream_url(&cluster), "--workers", workers]);
        daemon.until_tracked(3);
        let (mut client, mut other) = (daemon.client(), daemon.client());
        say(&mut client, "SET key value");
        say(&mut client, "GET key");
        let hits = |client: &mut SandboxClient, request: &str| {
            let before = daemon.counter("l1_hits");
            assert!(say(client, request).text().contains("value") || request.starts_with('M'));
            daemon.counter("l1_hits") - before
        };
        assert_eq!(hits(&mut client, "GET key"), 1);
        assert!(say(&mut client, "NEARSIDE FRESH ON").is_ok());
        assert!(say(&mut client, "nearside fresh on").is_ok(), "once more changes nothing");
        for request in ["GET key", "MGET key", "GET key"] {
            assert_eq!(hits(&mut client, request), 0, "{request}");
        }
        say(&mut other, "GET key");
        assert_eq!(hits(&mut other, "GET key"), 1, "it is of one connection");
        assert!(say(&mut client, "NEARSIDE FRESH OFF").is_ok());
        say(&mut client, "GET key");
        assert_eq!(hits(&mut client, "GET key"), 1);
        say(&mut client, "NEARSIDE FRESH ON");
        say(&mut client, "RESET");
        assert_eq!(hits(&mut client, "GET key"), 1, "RESET ends it");
        daemon.stop();
    }
}

#[test]
fn flush_empties_l1_or_drops_a_prefix_and_leaves_the_servers_alone() {
    let (_upstream, daemon, mut client) = one_server("");
    for key in ["a:1", "a:2", "b:1"] {
        say(&mut client, &format!("SET {key} value"));
        say(&mut client, &format!("GET {key}"));
    }
    assert_eq!(say(&mut client, "NEARSIDE FLUSH a:"), Reply::Integer(2));
    assert!(!Explained::of(&mut client, "a:1").is_cached() && Explained::of(&mut client, "b:1").is_cached());
    assert_eq!(say(&mut client, "NEARSIDE FLUSH nothing"), Reply::Integer(0));
    say(&mut client, "GET a:1");
    assert_eq!(say(&mut client, "NEARSIDE FLUSH"), Reply::Integer(2));
    for key in ["a:1", "a:2", "b:1"] {
        assert!(!Explained::of(&mut client, key).is_cached(), "{key}");
        assert_eq!(say(&mut client, &format!("GET {key}")).text(), "value");
    }
    daemon.stop();
}

#[test]
fn what_is_asked_wrongly_gets_the_errors_of_a_container_of_redis() {
    let (_upstream, daemon, mut client) = one_server("");
    let cases = [
        ("NEARSIDE", "ERR wrong number of arguments for 'nearside' command"),
        ("NEARSIDE NOPE", "ERR unknown subcommand 'NOPE'. Try NEARSIDE HELP."),
        ("NEARSIDE EXPLAIN", "ERR wrong number of arguments for 'nearside|explain' command"),
        ("NEARSIDE EXPLAIN a b", "ERR wrong number of arguments for 'nearside|explain' command"),
        ("NEARSIDE FRESH MAYBE", "ERR syntax error, NEARSIDE FRESH takes ON or OFF"),
        ("NEARSIDE FLUSH a b", "ERR unknown subcommand or wrong number of arguments for 'FLUSH'"),
    ];
    for (request, wanted) in cases {
        let reply = say(&mut client, request);
        assert!(reply.is_error() && reply.text().starts_with(wanted), "{request}: {reply:?}");
    }
    let help = say(&mut client, "NEARSIDE HELP");
    let lines: Vec<String> = help.items().iter().map(Reply::text).collect();
    for subcommand in ["EXPLAIN", "FLUSH", "FRESH", "HELP"] {
        assert!(lines.iter().any(|line| line.starts_with(subcommand)), "{subcommand}: {lines:?}");
    }
    daemon.stop();
}
