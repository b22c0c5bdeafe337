//! CLIENT LIST, INFO, KILL and PAUSE: what the clients of the daemon see and do of each other, over several
//! workers and both kinds of sockets.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use nearside::sandbox::client::encode;
use nearside::sandbox::{Address, Reply, SandboxClient, Standalone};
use tokio::time::Instant;

use crate::support::daemon::{Daemon, upstream_url};
use crate::support::servers::{eventually, sandbox, shared_cluster};

const SOON: Duration = Duration::from_secs(5);

/// Two workers, and a Unix socket.
fn daemon() -> (Daemon, Address) {
    let unix = sandbox().make_directory().unwrap().join("nearside.sock");
    let url = upstream_url(shared_cluster());
    let daemon = Daemon::start(&["--upstream", &url, "--workers", "2", "--unix", unix.to_str().unwrap()]);
    (daemon, Address::Unix(unix))
}

fn say(client: &mut SandboxClient, request: &str) -> Reply {
    client.command(&request.split(' ').collect::<Vec<_>>()).unwrap()
}

fn id(client: &mut SandboxClient) -> i64 {
    say(client, "CLIENT ID").integer().unwrap()
}

/// The lines of CLIENT LIST with these arguments, by field.
fn list(client: &mut SandboxClient, arguments: &str) -> Vec<BTreeMap<String, String>> {
    let reply = say(client, &format!("CLIENT LIST{arguments}"));
    assert!(!reply.is_error(), "{arguments}: {reply:?}");
    let fields = |line: &str| {
        line.split(' ')
            .map(|field| field.split_once('=').unwrap())
            .map(|(k, v)| (k.into(), v.into()))
            .collect()
    };
    reply.text().lines().map(fields).collect()
}

/// The names of the clients in a list.
fn names(client: &mut SandboxClient, arguments: &str) -> Vec<String> {
    list(client, arguments).into_iter().map(|fields| fields["name"].clone()).collect()
}

#[test]
fn the_list_says_what_each_client_did() {
    let (daemon, unix) = daemon();
    let (mut tcp, mut local) = (daemon.client(), SandboxClient::connect(&unix).unwrap());
    say(&mut tcp, "CLIENT SETNAME first");
    tcp.hello(3).unwrap();
    say(&mut tcp, "CLIENT SETINFO LIB-NAME mylib");
    say(&mut tcp, "CLIENT SETINFO LIB-VER 1.2");
    say(&mut tcp, "CLIENT NO-EVICT ON");
    say(&mut local, "MULTI");
    say(&mut local, "PING");
    let mut looker = daemon.client();
    let (tcp_id, local_id) =
        (id(&mut tcp), list(&mut looker, "").into_iter().find(|fields| fields["multi"] == "1"));
    let local_line = local_id.unwrap();
    let Address::Unix(path) = &unix else { panic!("not a path") };
    assert_eq!(local_line["addr"], format!("{}:0", path.display()));
    assert_eq!((&*local_line["flags"], &*local_line["cmd"], &*local_line["resp"]), ("xU", "ping", "2"));
    let found = list(&mut looker, &format!(" ID {tcp_id}"));
    let [line] = &found[..] else { panic!("{found:?}") };
    let got = ["name", "flags", "cmd", "resp", "lib-name", "lib-ver", "user", "idle", "multi"]
        .map(|name| &*line[name]);
    assert_eq!(got, ["first", "e", "client|id", "3", "mylib", "1.2", "default", "0", "-1"]);
    assert_eq!(line["laddr"], daemon.address().to_string());
    assert!(line["addr"].starts_with("127.0.0.1:") && line["fd"].parse::<i32>().unwrap() > 2);
    say(&mut tcp, "GET client_commands");
    assert_eq!(list(&mut looker, &format!(" ID {tcp_id}"))[0]["cmd"], "get");
    thread::sleep(Duration::from_millis(1_100));
    let line = &list(&mut looker, &format!(" ID {tcp_id}"))[0];
    assert!(line["idle"] == "1" && line["age"].parse::<u64>().unwrap() >= 1, "{line:?}");
    let info = say(&mut tcp, "CLIENT INFO").text();
    assert!(info.starts_with(&format!("id={tcp_id} ")) && info.contains(" cmd=client|info "), "{info}");
    say(&mut tcp, "RESET");
    let line = &list(&mut looker, &format!(" ID {tcp_id}"))[0];
    assert_eq!(
        [&*line["name"], &*line["flags"], &*line["resp"], &*line["lib-name"]],
        ["", "N", "2", "mylib"]
    );
    drop(tcp);
    eventually("who left is not listed", SOON, || list(&mut looker, &format!(" ID {tcp_id}")).is_empty());
}

/// Which fields there are, and which say the same, is up to the server that stands behind it.
#[test]
fn each_client_is_listed_as_by_a_plain_server() {
    let plain = Standalone::launch(&["--databases", "1"].map(str::to_owned)).unwrap();
    let behind = Standalone::launch(&[]).unwrap();
    let daemon = Daemon::start(&["--upstream", &format!("redis://{}", behind.server().address())]);
    daemon.until_tracked(1);
    let states = [
        ("plain", vec!["GET key"]),
        ("blocked", vec![]),
        ("watching", vec!["WATCH {k}a {k}b {k}a", "WATCH {k}c"]),
        ("queueing", vec!["WATCH a", "MULTI", "SET a 1", "GET a"]),
        ("over", vec!["WATCH a", "MULTI", "EXEC"]),
        ("forgetful", vec!["WATCH a", "UNWATCH"]),
        ("subscribed", vec!["SUBSCRIBE x", "PSUBSCRIBE y*"]),
        ("kept", vec!["CLIENT NO-EVICT ON"]),
        ("wrong", vec!["NOSUCH"]),
    ];
    let listed = |connect: &dyn Fn() -> SandboxClient| {
        let mut clients: Vec<SandboxClient> = Vec::new();
        for (name, requests) in &states {
            let mut client = connect();
            say(&mut client, &format!("CLIENT SETNAME {name}"));
            requests.iter().for_each(|request| drop(say(&mut client, request)));
            clients.push(client);
        }
        clients[1].send(&["BLPOP", "list", "0"]).unwrap();
        let mut looker = connect();
        let blocked = |fields: &BTreeMap<String, String>| fields["flags"] == "b";
        eventually("one is blocked", SOON, || list(&mut looker, "").iter().any(blocked));
        let line = say(&mut looker, "CLIENT LIST").text();
        let order = line.lines().next().unwrap().split(' ').map(|field| field.split_once('=').unwrap().0);
        // Redis 7.0 has no names of libraries, and Valkey counts bytes of clients.
        let order = order.filter(|field| !field.starts_with("lib-") && !field.starts_with("tot-"));
        let order: Vec<String> = order.map(str::to_owned).collect();
        let different =
            ["id", "addr", "laddr", "fd", "age", "idle", "qbuf", "qbuf-free", "argv-mem", "multi-mem"];
        let different = [&different[..], &["rbs", "rbp", "tot-mem"]].concat();
        let mut lines: Vec<Vec<String>> = list(&mut looker, "")
            .iter()
            .filter(|fields| states.iter().any(|(name, _)| fields["name"] == *name))
            .map(|fields| {
                let said = order.iter().filter(|field| !different.contains(&&***field));
                // Once it has watched, Valkey shows a client outside of a transaction as one with nothing
                // queued.
                let outside = |field: &str| field == "multi" && fields["flags"] != "x";
                said.filter(|field| !outside(field))
                    .map(|field| format!("{field}={}", fields[field]))
                    .collect()
            })
            .collect();
        lines.sort();
        (order, lines)
    };
    let expected = listed(&|| plain.server().connect().unwrap());
    assert_eq!(expected.1.len(), states.len());
    assert_eq!(listed(&|| daemon.client()), expected);
}

#[test]
fn the_list_is_filtered() {
    let (daemon, unix) = daemon();
    // They are listed in the order in which they were taken in.
    let mut one = daemon.client();
    say(&mut one, "CLIENT SETNAME one");
    let mut two = SandboxClient::connect(&unix).unwrap();
    say(&mut two, "CLIENT SETNAME two");
    let mut looker = daemon.client();
    say(&mut looker, "CLIENT SETNAME looker");
    // Whoever waited for the daemon to begin may not be gone yet.
    eventually("the others are gone", SOON, || names(&mut looker, "") == ["one", "two", "looker"]);
    let (first, second) = (id(&mut one), id(&mut two));
    let cases = [
        (" TYPE normal".to_owned(), vec!["one", "two", "looker"]),
        (" TYPE pubsub".to_owned(), vec![]),
        (" NOT-TYPE normal".to_owned(), vec![]),
        (format!(" ID {second} {first}"), vec!["one", "two"]),
        (format!(" NOT-ID {first}"), vec!["two", "looker"]),
        (format!(" ID {first} {second} NAME two"), vec!["two"]),
        (" NAME one".to_owned(), vec!["one"]),
        (" NOT-NAME one".to_owned(), vec!["two", "looker"]),
        (" SKIPME yes".to_owned(), vec!["one", "two"]),
        (" FLAGS U".to_owned(), vec!["two"]),
        (" NOT-FLAGS U".to_owned(), vec!["one", "looker"]),
        (" IP 127.0.0.1".to_owned(), vec!["one", "looker"]),
        (" USER default DB 0".to_owned(), vec!["one", "two", "looker"]),
        (format!(" LADDR {}", daemon.address()), vec!["one", "looker"]),
        (format!(" ADDR {unix}:0"), vec!["two"]),
        (" MAXAGE 1000".to_owned(), vec![]),
        (" IDLE 1000".to_owned(), vec![]),
    ];
    for (arguments, expected) in cases {
        assert_eq!(names(&mut looker, &arguments), expected, "{arguments}");
    }
    for (arguments, error) in [
        (" DB 1", "ERR DB number should be between 0 and 0"),
        (" DB x", "ERR DB is not an integer or out of range"),
        (" MAXAGE 0", "ERR maxage should be greater than 0"),
        (" FLAGS ?", "ERR Unknown flags found in the provided filter: ?"),
        (" NOT-SKIPME yes", "ERR syntax error"),
        (" USER nobody", "ERR No such user 'nobody'"),
    ] {
        assert_eq!(say(&mut looker, &format!("CLIENT LIST{arguments}")).text(), error, "{arguments}");
    }
}

#[test]
fn clients_are_killed_wherever_they_are() {
    let (daemon, unix) = daemon();
    let mut killer = daemon.client();
    say(&mut killer, "CLIENT SETNAME killer");
    // Enough that both workers have some.
    let mut victims: Vec<SandboxClient> = (0..8).map(|_| daemon.client()).collect();
    let ids: Vec<i64> = victims.iter_mut().map(id).collect();
    let address = list(&mut killer, &format!(" ID {}", ids[0]))[0]["addr"].clone();
    assert!(say(&mut killer, &format!("CLIENT KILL {address}")).is_ok());
    assert!(victims.remove(0).is_closed().unwrap());
    assert_eq!(say(&mut killer, &format!("CLIENT KILL ID {} MAXAGE 1000", ids[1])), Reply::Integer(0));
    assert_eq!(say(&mut killer, &format!("CLIENT KILL ID {}", ids[1])), Reply::Integer(1));
    assert!(victims.remove(0).is_closed().unwrap());
    let mut local = SandboxClient::connect(&unix).unwrap();
    say(&mut local, "PING");
    assert_eq!(say(&mut killer, &format!("CLIENT KILL ADDR {unix}:0 TYPE normal")), Reply::Integer(1));
    assert!(local.is_closed().unwrap());
    assert_eq!(
        say(&mut killer, &format!("CLIENT KILL LADDR {} USER default", daemon.address())),
        Reply::Integer(6)
    );
    victims.iter_mut().for_each(|victim| assert!(victim.is_closed().unwrap()));
    eventually("only the killer is left", SOON, || names(&mut killer, "") == ["killer"]);
    // Its own reply comes first; what it sent behind is not answered.
    let own = id(&mut killer);
    killer.send(&["CLIENT", "KILL", "ID", &own.to_string(), "SKIPME", "no"]).unwrap();
    killer.send(&["PING"]).unwrap();
    assert_eq!(killer.receive().unwrap(), Reply::Integer(1));
    assert!(killer.is_closed().unwrap());
}

#[test]
fn a_subscriber_that_was_killed_is_counted_no_more() {
    let (daemon, _) = daemon();
    let mut killer = daemon.client();
    for round in 0..20 {
        let mut subscriber = daemon.client();
        let id = id(&mut subscriber).to_string();
        subscriber.command(&["SUBSCRIBE", "killed"]).unwrap();
        let kill = encode(&["CLIENT", "KILL", "ID", &id]);
        killer.send_raw(&[kill, encode(&["PUBSUB", "NUMSUB", "killed"])].concat()).unwrap();
        assert_eq!(killer.receive().unwrap(), Reply::Integer(1));
        assert_eq!(killer.receive().unwrap().items()[1], Reply::Integer(0), "round {round}");
        assert!(subscriber.is_closed().unwrap());
    }
}

#[test]
fn a_client_in_a_pause_can_be_killed_and_others_are_let_go() {
    let (daemon, _) = daemon();
    let (mut pauser, mut writer, mut victim) = (daemon.client(), daemon.client(), daemon.client());
    let victim_id = id(&mut victim);
    assert!(say(&mut pauser, "CLIENT PAUSE 60000 WRITE").is_ok());
    writer.send(&["SET", "{pause}a", "1"]).unwrap();
    victim.send(&["INCR", "{pause}b"]).unwrap();
    // Reads go on, and so does what is about the daemon.
    let mut reader = daemon.client();
    assert!(say(&mut reader, "GET {pause}a").is_nil());
    assert_eq!(say(&mut reader, "PING").text(), "PONG");
    writer.set_timeout(Duration::from_millis(300)).unwrap();
    assert!(writer.receive().is_err(), "a write waits");
    assert_eq!(say(&mut pauser, &format!("CLIENT KILL ID {victim_id}")), Reply::Integer(1));
    assert!(victim.is_closed().unwrap());
    for held in ["PUBLISH c m", "EVAL return(1) 0", "PFCOUNT {pause}a", "DEL {pause}a"] {
        let mut client = daemon.client();
        client.set_timeout(Duration::from_millis(100)).unwrap();
        client.send(&held.split(' ').collect::<Vec<_>>()).unwrap();
        assert!(client.receive().is_err(), "{held} waits");
    }
    assert!(say(&mut pauser, "CLIENT UNPAUSE").is_ok());
    writer.set_timeout(SOON).unwrap();
    assert!(writer.receive().unwrap().is_ok(), "what waited was done");
    assert!(say(&mut reader, "GET {pause}b").is_nil(), "what was killed was not");
}

#[test]
fn a_pause_ends_by_itself_and_the_stricter_and_longer_one_holds() {
    let (daemon, _) = daemon();
    let (mut pauser, mut other) = (daemon.client(), daemon.client());
    say(&mut other, "PING");
    let begun = Instant::now();
    assert!(say(&mut pauser, "CLIENT PAUSE 400").is_ok());
    // Redis holds CLIENT PAUSE back as well, and UNPAUSE.
    other.send(&["CLIENT", "UNPAUSE"]).unwrap();
    assert!(other.receive().unwrap().is_ok());
    assert!(begun.elapsed() >= Duration::from_millis(390), "{:?}", begun.elapsed());
    let begun = Instant::now();
    assert!(say(&mut pauser, "CLIENT PAUSE 400 WRITE").is_ok());
    assert!(say(&mut pauser, "CLIENT PAUSE 1 WRITE").is_ok());
    assert!(!say(&mut other, "SET {pause}c 1").is_error());
    assert!(begun.elapsed() >= Duration::from_millis(390), "the longer time holds: {:?}", begun.elapsed());
}

/// Whether a pause for writes holds the last of `requests`, and the replies before it.
fn is_held(requests: &[&str], mut client: SandboxClient, mut other: SandboxClient) -> bool {
    say(&mut other, "CLIENT UNPAUSE");
    let split = |request: &str| request.split(' ').map(|word| word.replace('~', " ")).collect::<Vec<_>>();
    let (last, before) = requests.split_last().unwrap();
    for request in before {
        client.command(&split(request)).unwrap();
    }
    say(&mut other, "CLIENT PAUSE 100000 WRITE");
    client.set_timeout(Duration::from_millis(20)).unwrap();
    client.send(&split(last)).unwrap();
    let mut held = None;
    eventually("it is answered or held", SOON, || {
        let mut is_blocked = || say(&mut other, "INFO clients").text().contains("blocked_clients:1\r");
        // What waits for a key is blocked as well, and not for that long.
        let is_held = is_blocked() && {
            thread::sleep(Duration::from_millis(250));
            is_blocked()
        };
        held = if is_held { Some(true) } else { client.receive().ok().map(|_| false) };
        held.is_some()
    });
    say(&mut other, "CLIENT UNPAUSE");
    held.unwrap()
}

#[test]
fn a_pause_for_writes_holds_what_it_holds_in_redis() {
    let [plain, behind] = [0, 1].map(|_| Standalone::launch(&[]).unwrap());
    let daemon = Daemon::start(&["--upstream", &format!("redis://{}", behind.server().address())]);
    daemon.until_tracked(1);
    let script = "EVAL #!lua~flags=no-writes\nreturn~1 0";
    let cases: [&[&str]; 24] = [
        &["GET k"],
        &["SET k v"],
        &["MULTI"],
        &["EVAL return~1 0"],
        &["EVAL_RO return~1 0"],
        &[script],
        &[
            "SCRIPT LOAD #!lua~flags=no-writes\nreturn~2",
            "EVALSHA ae33f9227913b24d053a555637f98260b23bd3a3 0",
        ],
        &["PUBLISH c m"],
        &["PFCOUNT h"],
        &["BLPOP none 0.05"],
        &["XREAD BLOCK 10 STREAMS none $"],
        &["FLUSHALL"],
        &["NOSUCH"],
        &["SET k"],
        &["MULTI", "SET k v"],
        &["MULTI", "GET k", "EXEC"],
        &["MULTI", "SET k v", "EXEC"],
        &["MULTI", "EVAL return~1 0", "EXEC"],
        &["MULTI", "EVAL_RO return~1 0", "EXEC"],
        &["MULTI", script, "EXEC"],
        &["MULTI", "PUBLISH c m", "EXEC"],
        &["MULTI", "EXEC"],
        &["MULTI", "NOSUCH", "EXEC"],
        &["MULTI", "SET k v", "NOSUCH", "EXEC"],
    ];
    for case in cases {
        let wanted = is_held(case, plain.server().connect().unwrap(), plain.server().connect().unwrap());
        assert_eq!(is_held(case, daemon.client(), daemon.client()), wanted, "{case:?}");
    }
}
