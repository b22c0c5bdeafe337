//! What the daemon tells of itself is so: each field of INFO nearside has its line in the page, counters
//! count what the page says, and errors that seldom come have the words of the page.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use nearside::sandbox::{Reply, SandboxClient, Standalone};

use crate::support::daemon::Daemon;
use crate::support::servers::{eventually, own_primaries, shared_cluster};

const SOON: Duration = Duration::from_secs(30);

const PAGE: &str = include_str!("../../docs/operations.md");

fn before_one_server(flags: &[&str]) -> (Standalone, Daemon, SandboxClient) {
    let upstream = Standalone::launch(&[]).unwrap();
    let url = format!("redis://{}", upstream.server().address());
    let daemon = Daemon::start(&[["--upstream", &url].as_slice(), flags].concat());
    let mut client = daemon.client();
    eventually("the upstream is there", SOON, || !say(&mut client, "TTL nothing").is_error());
    (upstream, daemon, client)
}

fn say(client: &mut SandboxClient, request: &str) -> Reply {
    client.command(&request.split(' ').collect::<Vec<_>>()).unwrap()
}

/// The names of the fields, those of a numbered one with 0.
fn fields(info: &str) -> BTreeSet<String> {
    let names = info.lines().filter_map(|line| Some(line.split_once(':')?.0.to_owned()));
    let first = |name: String| {
        let end = name.trim_end_matches(|character: char| character.is_ascii_digit()).len();
        if end < name.len() && !name.starts_with("l1") { format!("{}0", &name[..end]) } else { name }
    };
    names.map(first).collect()
}

#[test]
fn every_field_of_info_nearside_has_its_line_in_the_page() {
    let (_upstream, daemon, mut client) = before_one_server(&["--canary-interval", "50ms"]);
    daemon.until_tracked(1);
    say(&mut client, "HELLO 3");
    assert!(say(&mut client, "CLIENT TRACKING ON BCAST").is_ok(), "so that a node is listened to");
    let mut told = BTreeSet::new();
    eventually("the canary was heard", SOON, || {
        told = fields(&say(&mut client, "INFO nearside").text());
        told.contains("canary0") && told.contains("listener0")
    });
    let (_, table) = PAGE.split_once("<!-- begin: fields -->").unwrap();
    let (table, _) = table.split_once("<!-- end: fields -->").unwrap();
    let rows = table.lines().filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned()));
    let rows: BTreeSet<String> = rows.collect();
    // There only when something was wrong, and beside other sections.
    for seldom in ["missing_right0", "shadow_mismatch0", "primaries_answered", "primaries_missing"] {
        told.insert(seldom.to_owned());
        assert!(rows.contains(seldom), "{seldom}");
    }
    assert_eq!(rows, told);
    daemon.stop();
}

#[test]
fn what_stands_in_info_beside_counters_is_so() {
    let (upstream, daemon, mut client) = before_one_server(&["--lease", "1500ms", "--workers", "2"]);
    daemon.until_tracked(1);
    let info = say(&mut client, "INFO nearside").text();
    let address = upstream.server().address();
    for line in [
        format!("nearside_version:{}", env!("CARGO_PKG_VERSION")),
        "workers:2".to_owned(),
        "l1_enabled:1".to_owned(),
        "lease_ms:1500".to_owned(),
        format!("node0:address={address},state=tracked,state_seconds="),
    ] {
        assert!(info.lines().any(|other| other.starts_with(&line)), "{line} in {info}");
    }
    say(&mut client, "HELLO 3");
    say(&mut client, "CLIENT TRACKING ON BCAST");
    let listener = format!("listener0:address={address},state=tracked");
    eventually("the node is listened to", SOON, || {
        say(&mut client, "INFO nearside").text().contains(&listener)
    });
    daemon.stop();
}

#[test]
fn reads_that_did_not_look_are_bypasses() {
    let (_upstream, daemon, mut client) = before_one_server(&["--l1-size", "0"]);
    let before = daemon.counter("l1_bypasses");
    (0..5).for_each(|_| drop(say(&mut client, "GET key")));
    assert_eq!(daemon.counter("l1_bypasses") - before, 5, "L1 is off");
    assert_eq!((daemon.counter("l1_enabled"), daemon.counter("l1_misses")), (0, 0));
    daemon.stop();
    let (_upstream, daemon, mut client) = before_one_server(&[]);
    daemon.until_tracked(1);
    let before = (daemon.counter("l1_bypasses"), daemon.counter("l1_misses"));
    say(&mut client, "NEARSIDE FRESH ON");
    (0..5).for_each(|_| drop(say(&mut client, "GET key")));
    let after = (daemon.counter("l1_bypasses"), daemon.counter("l1_misses"));
    assert_eq!((after.0 - before.0, after.1 - before.1), (5, 0), "what wants fresh replies does not look");
    daemon.stop();
}

#[test]
fn invalidations_are_keys_and_flushes_are_times() {
    let (upstream, daemon, mut client) = before_one_server(&[]);
    let mut direct = upstream.server().connect().unwrap();
    daemon.until_tracked(1);
    let before = (daemon.counter("l1_invalidations"), daemon.counter("l1_flushes"));
    for number in 0..5 {
        say(&mut client, &format!("GET key:{number}"));
        say(&mut direct, &format!("SET key:{number} value"));
    }
    eventually("all changes are told", SOON, || daemon.counter("l1_invalidations") == before.0 + 5);
    say(&mut client, "NEARSIDE FLUSH");
    say(&mut client, "NEARSIDE FLUSH");
    assert_eq!(daemon.counter("l1_flushes"), before.1 + 2);
    assert_eq!(daemon.counter("l1_invalidations"), before.0 + 5, "a flush is none");
    daemon.stop();
}

#[test]
fn a_wait_is_counted_when_it_begins_and_when_it_ends() {
    let (_upstream, daemon, mut client) = before_one_server(&[]);
    let mut other = daemon.client();
    client.send(&["BLPOP", "list", "0"]).unwrap();
    eventually("it waits", SOON, || daemon.counter("waits_begun") == 1);
    assert_eq!(daemon.counter("waits_ended"), 0);
    say(&mut other, "RPUSH list element");
    client.receive().unwrap();
    eventually("it is over", SOON, || daemon.counter("waits_ended") == 1);
    daemon.stop();
}

#[test]
fn what_cannot_be_done_inside_multi_says_why() {
    let daemon = Daemon::before(shared_cluster());
    daemon.until_tracked(3);
    let mut client = daemon.client();
    for (request, wanted) in [
        (
            "CONFIG GET maxmemory",
            "ERR nearside cannot do this inside MULTI: it would have to ask the upstream",
        ),
        (
            "CONFIG SET notify-keyspace-events K",
            "ERR nearside cannot do this inside MULTI: it would have to wait",
        ),
    ] {
        say(&mut client, "MULTI");
        say(&mut client, request);
        assert_eq!(say(&mut client, "EXEC").items()[0].text(), wanted);
    }
    daemon.stop();
    // One server carries out what is its own with the rest of the transaction.
    let (_upstream, daemon, mut client) = before_one_server(&[]);
    say(&mut client, "CONFIG SET notify-keyspace-events KEA");
    say(&mut client, "MULTI");
    say(&mut client, "CONFIG GET notify-keyspace-events");
    let answered = say(&mut client, "EXEC");
    assert_eq!(answered.items()[0].items()[1].text(), "AKE", "{answered:?}");
    say(&mut client, "MULTI");
    let tracking = say(&mut client, "CLIENT TRACKING ON").text();
    let refusal = "ERR CLIENT TRACKING is not available inside MULTI through nearside: ";
    assert!(tracking.starts_with(refusal), "{tracking}");
    assert!(!tracking.contains("cluster"), "there is none: {tracking}");
    daemon.stop();
}

#[test]
fn a_reply_to_an_mget_that_no_client_could_take_is_an_error() {
    let (_upstream, daemon, mut client) = before_one_server(&["--client-output-max", "1mb"]);
    let value = "x".repeat(400_000);
    let keys = ["one", "two", "three"];
    for key in keys {
        assert!(client.command(&["SET", key, &value]).unwrap().is_ok());
    }
    let said = client.command(&[["MGET"].as_slice(), &keys].concat()).unwrap().text();
    assert_eq!(said, "ERR nearside: the reply is larger than 1048576 bytes (client_output_max)");
    daemon.stop();
}

#[test]
fn wait_without_the_right_to_a_write_that_changes_nothing_says_so() {
    let (upstream, daemon, mut client) = before_one_server(&[]);
    let mut direct = upstream.server().connect().unwrap();
    assert!(say(&mut direct, "ACL SETUSER default -function|restore").is_ok());
    say(&mut client, "SET key value");
    let said = say(&mut client, "WAIT 0 100").text();
    let begin = format!(
        "ERR nearside: node {} cannot be asked who has what this client wrote: \
         FUNCTION RESTORE gave NOPERM",
        upstream.server().address()
    );
    assert!(said.starts_with(&begin), "{said}");
    daemon.stop();
}

/// A relay in front of a server that says `answer` in the place of `asked`, wherever that stands in one
/// piece.
fn altered(target: SocketAddr, asked: &'static [u8], answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(target).unwrap();
            let (mut up, mut down) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || std::io::copy(&mut up, &mut down));
            let (mut server, mut client) = (server, client);
            thread::spawn(move || {
                let mut buffer = vec![0; 64 * 1024];
                while let Ok(count @ 1..) = server.read(&mut buffer) {
                    let piece = match memchr::memmem::find(&buffer[..count], asked) {
                        Some(at) => [&buffer[..at], answer, &buffer[at + asked.len()..count]].concat(),
                        None => buffer[..count].to_vec(),
                    };
                    if client.write_all(&piece).is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

#[test]
fn a_cursor_that_has_no_room_for_the_walk_is_an_error() {
    let cluster = own_primaries(1);
    let node = cluster.nodes()[0].server().address();
    let (asked, answer) =
        (b"*2\r\n$1\r\n0\r\n*1\r\n$3\r\nkey\r\n", b"*2\r\n$13\r\n9999999999999\r\n*1\r\n$3\r\nkey\r\n");
    let relay = altered(node, asked, answer);
    let rule = format!("{node}={relay}");
    let daemon = Daemon::start(&["--upstream", &format!("redis-cluster://{node}"), "--address-map", &rule]);
    let mut client = daemon.client();
    say(&mut client, "SET key value");
    let said = say(&mut client, "SCAN 0").text();
    assert_eq!(said, "ERR nearside: a node gave a cursor of more than 40 bits");
    daemon.stop();
}

/// The value of a parameter, if it is there.
fn parameter(client: &mut SandboxClient, name: &str) -> Option<String> {
    let reply = say(client, &format!("CONFIG GET {name}"));
    Some(reply.items().get(1)?.text())
}

#[test]
fn every_key_of_the_configuration_is_there_whether_it_is_set_or_not() {
    let (_upstream, daemon, mut client) = before_one_server(&["--unix-mode", "700"]);
    for key in nearside::config::KEYS {
        let value = parameter(&mut client, &format!("nearside-{}", key.flag()));
        let value = value.unwrap_or_else(|| panic!("{} is not there", key.name));
        let given = ["listen", "unix_mode", "upstream", "log_format"].contains(&key.name);
        let default = key.default.unwrap_or_default();
        // What follows from the memory of the machine is shown as what it comes to, in bytes.
        let follows = (default.ends_with('%') || key.name == "memory_max") && value.parse::<u64>().is_ok();
        assert!(given || follows || value == default, "{} = {value}", key.name);
    }
    assert_eq!(parameter(&mut client, "nearside-unix-mode").unwrap(), "700");
    assert_eq!(parameter(&mut client, "nearside-password-file").unwrap(), "");
    daemon.stop();
}

/// A field of what EXPLAIN says of `key`.
fn explained(client: &mut SandboxClient, key: &str, field: &str) -> Reply {
    let reply = client.command(&["NEARSIDE", "EXPLAIN", key]).unwrap();
    let mut pairs = reply.items().chunks(2);
    pairs.find(|pair| pair[0].text() == field).unwrap_or_else(|| panic!("no {field} in {reply:?}"))[1].clone()
}

#[test]
fn the_times_of_a_policy_are_those_that_hold() {
    let upstream = Standalone::launch(&[]).unwrap();
    let file = upstream.server().directory().join("nearside.toml");
    let policies = "[[policy]]\nprefix = 'short:'\nttl = '1s'\n[[policy]]\nprefix = 'long:'\nttl = '2m'\nnegative_ttl = '90s'\n";
    let url = format!("redis://{}", upstream.server().address());
    std::fs::write(&file, format!("upstream = '{url}'\n{policies}")).unwrap();
    let daemon = Daemon::start(&["--config", file.to_str().unwrap()]);
    daemon.until_tracked(1);
    let mut client = daemon.client();
    for (key, times) in
        [("short:1", (1_000, 1_000)), ("long:1", (120_000, 90_000)), ("plain", (60_000, 5_000))]
    {
        let mut time = |field| explained(&mut client, key, field).integer().unwrap();
        assert_eq!((time("policy_ttl_ms"), time("policy_negative_ttl_ms")), times, "{key}");
    }
    daemon.stop();
}

#[test]
fn a_node_that_was_not_asked_to_track_is_not_lost() {
    let (upstream, daemon, mut client) = before_one_server(&["--l1-size", "0"]);
    let address = upstream.server().address().to_string();
    say(&mut client, "SET key value");
    eventually("it is connected", SOON, || daemon.nodes() == [(address.clone(), "not_asked".to_owned())]);
    assert_eq!(explained(&mut client, "key", "node_state").text(), "not_asked");
    for time in ["policy_ttl_ms", "policy_negative_ttl_ms"] {
        assert!(explained(&mut client, "key", time).is_nil(), "nothing is kept, so not for a time");
    }
    // Once a client caches, it is asked; and when it is gone, it is lost.
    say(&mut client, "HELLO 3");
    say(&mut client, "CLIENT TRACKING ON");
    daemon.until_tracked(1);
    drop(upstream);
    eventually("it is lost", SOON, || daemon.nodes() == [(address.clone(), "lost".to_owned())]);
}

#[test]
fn replies_about_absent_keys_are_kept_whichever_read_they_answer() {
    let (upstream, daemon, mut client) = before_one_server(&[]);
    daemon.until_tracked(1);
    let reads = [
        "BITPOS # 0",
        "BITPOS # 1",
        "BITPOS # 1 0 -1",
        "BITCOUNT #",
        "STRLEN #",
        "GET #",
        "GETBIT # 7",
        "HGET # f",
        "HGETALL #",
        "HMGET # f g",
        "LLEN #",
        "LPOS # e",
        "LRANGE # 0 -1",
        "SCARD #",
        "SISMEMBER # m",
        "SMEMBERS #",
        "SMISMEMBER # m n",
        "TYPE #",
        "XLEN #",
        "XRANGE # - +",
        "ZCARD #",
        "ZMSCORE # m",
        "ZRANK # m",
        "ZSCORE # m",
        "GEODIST # a b",
        "GEOHASH # a",
        "GEOPOS # a",
        "BITFIELD_RO # GET i8 0",
        "GETRANGE # 0 -1",
        "ZRANGE # 0 -1",
    ];
    for (number, read) in reads.iter().enumerate() {
        let key = format!("absent:{number}");
        let reply = say(&mut client, &read.replace('#', &key));
        assert!(!reply.is_error(), "{read}: {reply:?}");
        assert_eq!(explained(&mut client, &key, "cached"), Reply::Integer(1), "{read}");
    }
    // -1 says something else of a key that is there, and of one that is not when a 0 is looked for.
    let mut direct = upstream.server().connect().unwrap();
    assert!(direct.command(&["SET", "zeros", "\0\0"]).unwrap().is_ok());
    for _ in 0..2 {
        assert_eq!(say(&mut client, "BITPOS zeros 1"), Reply::Integer(-1));
    }
    assert!(explained(&mut client, "zeros", "cached") == Reply::Integer(1));
    say(&mut direct, "SETBIT zeros 9 1");
    eventually("the change is told", SOON, || say(&mut client, "BITPOS zeros 1") == Reply::Integer(9));
    daemon.stop();
}

#[test]
fn an_entry_takes_an_eighth_of_l1_at_most_whatever_a_policy_says() {
    let upstream = Standalone::launch(&[]).unwrap();
    let file = upstream.server().directory().join("nearside.toml");
    let url = format!("redis://{}", upstream.server().address());
    let policy = "[[policy]]\nprefix = 'big:'\nvalue_max = '4mb'\n";
    std::fs::write(&file, format!("upstream = '{url}'\nl1_size = '8mb'\n{policy}")).unwrap();
    let daemon = Daemon::start(&["--config", file.to_str().unwrap()]);
    daemon.until_tracked(1);
    let mut client = daemon.client();
    for prefix in ["plain:", "big:"] {
        for (size, is_kept) in [(900_000, true), (1_100_000, false), (3_000_000, false)] {
            let key = format!("{prefix}{size}");
            assert!(client.command(&["SET", &key, &"x".repeat(size)]).unwrap().is_ok());
            say(&mut client, &format!("GET {key}"));
            assert_eq!(explained(&mut client, &key, "cached"), Reply::Integer(i64::from(is_kept)), "{key}");
            let why = explained(&mut client, &key, "last_not_cached");
            assert!(is_kept || why.text() == "it is larger than what is kept", "{key}: {why:?}");
        }
    }
    daemon.assert_logged("WARN", "value_max of a policy is more than an eighth of l1_size");
    daemon.stop();
}

#[test]
fn an_upstream_that_is_not_there_is_told_in_the_words_of_the_system() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for scheme in ["redis", "redis-cluster"] {
        let daemon = Daemon::start(&["--upstream", &format!("{scheme}://{free}")]);
        let mut client = daemon.client();
        let said = say(&mut client, "GET key").text();
        assert!(said.starts_with("CLUSTERDOWN nearside: "), "{said}");
        assert!(said.contains("Connection refused (os error 111)"), "{scheme}: {said}");
        drop(daemon);
    }
}

#[test]
fn connections_of_every_kind_are_counted() {
    let (upstream, daemon, mut client) = before_one_server(&[]);
    daemon.until_tracked(1);
    let count = || daemon.counter("upstream_connections");
    // What the server sees of the daemon, but for the one that asks.
    let mut direct = upstream.server().connect().unwrap();
    let mut seen = move || {
        let list = say(&mut direct, "CLIENT LIST").text();
        list.lines().filter(|line| line.contains("name=nearside")).count() as u64
    };
    let mut agree = |what: &str, least: u64| {
        eventually(what, SOON, || count() >= least && count() == seen());
        count()
    };
    let lanes = agree("the lanes", 1);
    client.send(&["BLPOP", "list", "0"]).unwrap();
    let mut subscriber = daemon.client();
    let waits = agree("a wait", lanes + 1);
    say(&mut subscriber, "SUBSCRIBE channel");
    let subscribes = agree("a subscription", waits + 1);
    let mut listener = daemon.client();
    say(&mut listener, "HELLO 3");
    say(&mut listener, "CLIENT TRACKING ON BCAST");
    agree("who listens", subscribes + 1);
}
