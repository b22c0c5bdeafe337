//! CONFIG: what is told of the daemon and of the data, what may be changed while it runs, and that the change
//! holds.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use nearside::sandbox::{Reply, SandboxClient, Standalone};
use tokio::time::Instant;

use crate::support::daemon::{Daemon, upstream_url};
use crate::support::servers::{eventually, own_primaries, sandbox, shared_cluster};

const SOON: Duration = Duration::from_secs(5);

fn before(upstream: &Standalone, options: &[&str]) -> Daemon {
    let url = format!("redis://{}", upstream.server().address());
    let daemon = Daemon::start(&[&["--upstream", &url][..], options].concat());
    daemon.until_tracked(1);
    daemon
}

fn say(client: &mut SandboxClient, request: &str) -> Reply {
    client.command(&request.split(' ').collect::<Vec<_>>()).unwrap()
}

fn get(client: &mut SandboxClient, patterns: &str) -> BTreeMap<String, String> {
    let reply = say(client, &format!("CONFIG GET {patterns}"));
    assert!(!reply.is_error(), "{reply:?}");
    reply.items().chunks(2).map(|pair| (pair[0].text(), pair[1].text())).collect()
}

#[test]
fn parameters_are_those_of_the_daemon_and_of_the_data_and_no_secret() {
    let policy = ["--maxmemory-policy", "allkeys-lfu"];
    let upstream = Standalone::launch(&policy.map(str::to_owned)).unwrap();
    let mut direct = upstream.server().connect().unwrap();
    assert!(say(&mut direct, "CONFIG SET maxmemory 123mb masterauth hunter3").is_ok());
    let unix = sandbox().make_directory().unwrap().join("nearside.sock");
    let daemon =
        before(&upstream, &["--unix", unix.to_str().unwrap(), "--max-clients", "77", "--l1-ttl", "7s"]);
    let mut client = daemon.client();
    let all = get(&mut client, "*");
    for (name, value) in [
        ("maxmemory", "128974848"),
        ("maxmemory-policy", "allkeys-lfu"),
        ("databases", "16"),
        ("appendonly", "no"),
        ("save", ""),
        ("timeout", "0"),
        ("notify-keyspace-events", ""),
        ("maxclients", "77"),
        ("requirepass", ""),
        ("cluster-enabled", "no"),
        ("unixsocket", unix.to_str().unwrap()),
        ("unixsocketperm", "770"),
        ("nearside-max-clients", "77"),
        ("nearside-l1-ttl", "7s"),
        ("nearside-workers", "1"),
        ("loglevel", "notice"),
    ] {
        assert_eq!(all.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert!(all.values().all(|value| !value.contains("hunter")), "{all:?}");
    assert!(!all.contains_key("dir") && !all.contains_key("masterauth"), "the upstream's own stay there");
    let mut client3 = daemon.client();
    client3.hello(3).unwrap();
    assert!(matches!(say(&mut client3, "CONFIG GET maxmemory*"), Reply::Map(pairs) if pairs.len() >= 3));
    assert_eq!(get(&mut client, "nearside-l1-*").len(), 2);
    assert_eq!(
        get(&mut client, "MaxClients nearside-WORKERS").into_keys().collect::<Vec<_>>(),
        ["MaxClients", "nearside-WORKERS"]
    );
    // With the upstream gone, what is the daemon's own is told all the same.
    drop(upstream);
    eventually("the daemon knows", SOON, || say(&mut client, "CONFIG GET maxmemory").is_error());
    assert_eq!(get(&mut client, "maxclients")["maxclients"], "77");
    assert!(get(&mut client, "max*").contains_key("maxclients"));
}

#[test]
fn what_is_changed_holds_at_once() {
    let upstream = Standalone::launch(&[]).unwrap();
    let daemon = before(&upstream, &["--topology-refresh-interval", "200ms"]);
    let mut client = daemon.client();
    // How long entries are kept.
    assert!(say(&mut client, "CONFIG SET nearside-l1-ttl 300ms nearside-negative-ttl 200ms").is_ok());
    assert_eq!(get(&mut client, "nearside-*-ttl").into_values().collect::<Vec<_>>(), ["300ms", "200ms"]);
    say(&mut client, "SET key value");
    let misses = daemon.counter("l1_misses");
    say(&mut client, "GET key");
    say(&mut client, "GET key");
    assert_eq!(daemon.counter("l1_misses"), misses + 1);
    thread::sleep(Duration::from_millis(310));
    say(&mut client, "GET key");
    assert_eq!(daemon.counter("l1_misses"), misses + 2);
    // How many clients there may be.
    assert!(say(&mut client, "CONFIG SET maxclients 1").is_ok());
    eventually("one more is one too many", SOON, || {
        daemon
            .client()
            .command(&["PING"])
            .is_ok_and(|reply| reply.text() == "ERR max number of clients reached")
    });
    assert!(say(&mut client, "CONFIG SET nearside-max-clients 100").is_ok());
    assert_eq!(get(&mut client, "maxclients")["maxclients"], "100");
    eventually("there is room", SOON, || {
        daemon.client().command(&["PING"]).is_ok_and(|reply| reply.text() == "PONG")
    });
    let stats = say(&mut client, "INFO stats").text();
    assert!(
        stats.contains("rejected_connections:") && !stats.contains("rejected_connections:0\r"),
        "{stats}"
    );
    // What is logged.
    let logged = "changed by CONFIG SET";
    eventually(logged, SOON, || daemon.has_logged(logged));
    assert!(say(&mut client, "CONFIG SET loglevel verbose").is_ok());
    assert_eq!(get(&mut client, "nearside-log-level")["nearside-log-level"], "debug");
    client.send_raw(b"*1\r\n+\r\n").unwrap();
    eventually("details are logged", SOON, || daemon.has_logged("a client sent what is no request"));
    // How much may wait for a client.
    let mut client = daemon.client();
    assert!(say(&mut client, "CONFIG SET nearside-client-output-max 1mb").is_ok());
    assert!(get(&mut client, "client-output-buffer-limit")["client-output-buffer-limit"].contains("1048576"));
    client.command(&["SET", "large", &"v".repeat(3 << 20)]).unwrap();
    client.send(&["GET", "large"]).unwrap();
    eventually("it is dropped", SOON, || daemon.counter("clients_dropped") == 1);
}

#[test]
fn timeout_holds_for_clients_that_are_there_already() {
    let upstream = Standalone::launch(&[]).unwrap();
    let daemon = before(&upstream, &[]);
    let (mut client, mut idle) = (daemon.client(), daemon.client());
    say(&mut idle, "PING");
    idle.set_timeout(SOON).unwrap();
    assert!(say(&mut client, "CONFIG SET timeout 1").is_ok());
    assert_eq!(
        get(&mut client, "timeout nearside-client-idle-timeout").into_values().collect::<Vec<_>>(),
        ["1s", "1"]
    );
    let begun = Instant::now();
    assert!(idle.receive_rest_unreset().unwrap().is_empty(), "it was idle");
    assert!(begun.elapsed() < SOON, "at once when the time is over");
    let mut client = daemon.client();
    assert!(say(&mut client, "CONFIG SET timeout 0").is_ok());
    thread::sleep(Duration::from_millis(1_500));
    assert_eq!(say(&mut client, "PING").text(), "PONG");
    for (request, why) in [
        ("CONFIG SET timeout 2592001", "argument must be between 0 and 2592000 inclusive"),
        ("CONFIG SET timeout x", "argument couldn't be parsed into an integer"),
        ("CONFIG SET maxclients 20 timeout -1", "argument must be between 0 and 2592000 inclusive"),
        ("CONFIG SET tracking-table-max-keys 0", "argument must be between 1 and 100000000 inclusive"),
    ] {
        let error = say(&mut client, request).text();
        assert!(error.ends_with(why) && error.contains("CONFIG SET failed"), "{request}: {error}");
    }
    assert_ne!(get(&mut client, "maxclients")["maxclients"], "20");
}

#[test]
fn the_keys_of_tracking_clients_have_a_bound_that_can_be_set() {
    let upstream = Standalone::launch(&[]).unwrap();
    let daemon = before(&upstream, &[]);
    let mut client = daemon.client();
    client.hello(3).unwrap();
    assert!(say(&mut client, "CLIENT TRACKING ON").is_ok());
    for number in 0..5 {
        say(&mut client, &format!("GET key{number}"));
    }
    let mut other = daemon.client();
    let remembered = |client: &mut SandboxClient| {
        let info = say(client, "INFO clients").text() + &say(client, "INFO stats").text();
        info.lines()
            .find_map(|line| line.strip_prefix("tracking_total_keys:")?.parse::<usize>().ok())
            .unwrap()
    };
    assert_eq!(remembered(&mut other), 5);
    assert!(say(&mut other, "CONFIG SET tracking-table-max-keys 2").is_ok());
    assert_eq!(get(&mut other, "tracking-table-max-keys")["tracking-table-max-keys"], "2");
    client.send(&["GET", "key5"]).unwrap();
    eventually("what is too much is forgotten", SOON, || remembered(&mut other) == 2);
}

#[test]
fn what_cannot_be_changed_is_refused_and_nothing_beside_it_is_changed() {
    let upstream = Standalone::launch(&[]).unwrap();
    let daemon = before(&upstream, &[]);
    let mut client = daemon.client();
    let failed = |name: &str, why: &str| {
        format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}")
    };
    let duration = "a duration from 1ms to 1d with its unit is wanted, such as 500ms, 5s, 2m or 1h";
    for (pair, error) in [
        ("nearside-workers 2", failed("nearside-workers", "can't set immutable config")),
        ("nearside-unix /x", failed("nearside-unix", "can't set immutable config")),
        ("port 1", failed("port", "can't set immutable config")),
        ("nearside-l1-ttl 60", failed("nearside-l1-ttl", duration)),
        (
            "nearside-negative-ttl 1s",
            failed("nearside-negative-ttl", "must be at least topology_refresh_interval = 5000 ms"),
        ),
        (
            "masterauth x",
            failed("masterauth", "files, modules and credentials of the server are left to its operator"),
        ),
        ("maxclients 0", failed("maxclients", "argument must be between 1 and 1000000 inclusive")),
        (
            "nearside-nothing 1",
            "ERR Unknown option or number of arguments for CONFIG SET - 'nearside-nothing'".to_owned(),
        ),
    ] {
        assert_eq!(say(&mut client, &format!("CONFIG SET slowlog-max-len 7 {pair}")).text(), error);
    }
    assert_eq!(get(&mut client, "slowlog-max-len")["slowlog-max-len"], "128");
    let url = format!("redis://{}", upstream.server().address());
    let daemon = Daemon::start(&["--upstream", &url, "--l1-size", "0"]);
    let text = say(&mut daemon.client(), "CONFIG SET nearside-l1-ttl 1s").text();
    assert!(text.ends_with("there is no near cache: l1_size is 0"), "{text}");
}

#[test]
fn what_is_set_at_the_servers_of_a_cluster_is_left_to_their_operator() {
    let daemon = Daemon::before(shared_cluster());
    let mut client = daemon.client();
    let why = "it is a parameter of the upstream's servers, which nearside leaves to their operator (server_config)";
    let text = say(&mut client, "CONFIG SET slowlog-max-len 7 maxmemory 1").text();
    assert_eq!(text, format!("ERR CONFIG SET failed (possibly related to argument 'maxmemory') - {why}"));
    let text = say(&mut client, "CONFIG SET dir /tmp").text();
    assert_eq!(text, "ERR Unknown option or number of arguments for CONFIG SET - 'dir'");
    let rewrite = say(&mut client, "CONFIG REWRITE").text();
    assert!(rewrite.starts_with("ERR CONFIG REWRITE is not available through nearside: "), "{rewrite}");
    assert_eq!(say(&mut client, "LATENCY LATEST").items(), []);
    let save = say(&mut client, "BGSAVE").text();
    assert_eq!(
        save,
        "ERR BGSAVE is not available through nearside: it acts on one server, and many stand behind nearside"
    );
}

#[test]
fn what_is_about_the_one_server_goes_there() {
    let upstream = Standalone::launch(&["--enable-debug-command".to_owned(), "yes".to_owned()]).unwrap();
    let mut direct = upstream.server().connect().unwrap();
    let daemon = before(&upstream, &["--deny-commands", ""]);
    let mut client = daemon.client();
    // Several parameters at once, all or nothing, with the server's own errors.
    assert!(say(&mut client, "CONFIG SET maxmemory 123mb latency-monitor-threshold 1").is_ok());
    assert_eq!(get(&mut direct, "maxmemory")["maxmemory"], "128974848");
    for request in [
        "CONFIG SET maxmemory 1mb hz x",
        "CONFIG SET none 1",
        "CONFIG SET maxmemory 1mb maxmemory 2mb",
        "CONFIG SET maxclients 77 hz x",
        "CONFIG SET maxmemory 1mb maxclients x",
        "CONFIG SET timeout 60 none 1",
        "CONFIG SET timeout",
    ] {
        assert_eq!(say(&mut client, request), say(&mut direct, request), "{request}");
    }
    for name in ["maxmemory", "latency-monitor-threshold", "lua-time-limit", "crash-log-enabled", "none"] {
        assert_eq!(get(&mut client, name), get(&mut direct, name), "{name}");
    }
    assert_eq!(get(&mut client, "maxclients timeout").into_values().collect::<Vec<_>>(), ["10000", "0"]);
    assert_eq!(get(&mut direct, "maxmemory")["maxmemory"], "128974848");
    // What is nearside's and what is the server's in one call, and inside MULTI.
    assert!(say(&mut client, "CONFIG SET maxclients 77 maxmemory 5mb timeout 60").is_ok());
    assert_eq!(get(&mut client, "maxclients timeout").into_values().collect::<Vec<_>>(), ["77", "60"]);
    assert_eq!(
        get(&mut direct, "maxmemory maxclients").into_values().collect::<Vec<_>>(),
        ["10000", "5242880"]
    );
    for request in ["MULTI", "CONFIG SET maxmemory 6mb hz 20", "CONFIG SET maxclients 78", "CONFIG SET hz x"]
    {
        say(&mut client, request);
    }
    let exec = say(&mut client, "EXEC");
    assert!(exec.items()[0].is_ok() && exec.items()[1].is_ok(), "{exec:?}");
    assert_eq!(exec.items()[2], say(&mut direct, "CONFIG SET hz x"));
    assert_eq!(get(&mut direct, "maxmemory hz").into_values().collect::<Vec<_>>(), ["20", "6291456"]);
    assert_eq!(get(&mut client, "maxclients")["maxclients"], "78");
    for name in ["dir", "masterauth", "tls-key-file-pass"] {
        assert_eq!(get(&mut client, name).len(), 0, "{name} stays there");
        assert!(say(&mut client, &format!("CONFIG SET {name} x")).text().contains("left to its operator"));
    }
    assert!(say(&mut client, "CONFIG SET slowlog-max-len 7").is_ok());
    assert_eq!(get(&mut direct, "slowlog-max-len")["slowlog-max-len"], "128", "that is nearside's");
    // What is slow there, and what is saved there.
    say(&mut client, "DEBUG SLEEP 0.01");
    let seen = say(&mut client, "LATENCY LATEST");
    assert_eq!(seen.items()[0].items()[0].text(), "command", "{seen:?}");
    assert_eq!(say(&mut client, "LATENCY HISTORY command"), say(&mut direct, "LATENCY HISTORY command"));
    assert_eq!(say(&mut client, "LATENCY RESET"), Reply::Integer(1));
    assert!(say(&mut client, "SAVE").is_ok());
    assert!(say(&mut client, "BGSAVE SCHEDULE").text().starts_with("Background saving"));
    for request in [&["MULTI"][..], &["BGREWRITEAOF"], &["LASTSAVE"]] {
        client.command(request).unwrap();
    }
    let exec = say(&mut client, "EXEC");
    assert!(exec.items().len() == 2 && !exec.items()[1].is_error(), "{exec:?}");
    assert_eq!(say(&mut client, "CONFIG REWRITE"), say(&mut direct, "CONFIG REWRITE"));
    say(&mut client, "SET key value");
    say(&mut client, "GET nothing");
    assert!(say(&mut client, "CONFIG RESETSTAT").is_ok());
    let stats = say(&mut direct, "INFO commandstats").text();
    assert!(!stats.contains("cmdstat_set:"), "{stats}");
    // What is refused says why.
    assert!(say(&mut client, "DEBUG OBJECT key").text().contains("encoding:embstr"));
    for (request, why) in [
        ("DEBUG SEGFAULT", "it would end the server, or change data behind the back of all its clients"),
        ("SHUTDOWN NOSAVE", "it would end the server, or change data behind the back of all its clients"),
        ("ACL SETUSER x", "it is about those who log in at the servers, and clients log in at nearside"),
        ("MODULE LOAD /x.so", "the code that servers load is left to their operator"),
        ("SCRIPT DEBUG YES", "a server that is debugged serves one client alone"),
        ("REPLICAOF NO ONE", "replication is between the servers"),
    ] {
        let text = say(&mut client, request).text();
        assert!(text.contains("is not available through nearside: ") && text.ends_with(why), "{text}");
    }
}

#[test]
fn keyspace_events_are_set_on_every_primary() {
    let cluster = own_primaries(3);
    let daemon = Daemon::start(&["--upstream", &upstream_url(&cluster)]);
    let mut client = daemon.client();
    assert!(say(&mut client, "CONFIG SET notify-keyspace-events Kg$").is_ok());
    for node in cluster.nodes() {
        let reply = node.server().command(&["CONFIG", "GET", "notify-keyspace-events"]).unwrap();
        assert_eq!(reply.items()[1].text(), "g$K");
    }
    assert_eq!(get(&mut client, "notify-keyspace-events")["notify-keyspace-events"], "g$K");
}

#[test]
fn with_server_config_forward_all_primaries_get_what_is_set() {
    let cluster = own_primaries(3);
    let daemon = Daemon::start(&["--upstream", &upstream_url(&cluster), "--server-config", "forward"]);
    let mut client = daemon.client();
    let request = "CONFIG SET maxmemory 123mb latency-tracking no slowlog-max-len 7";
    assert!(say(&mut client, request).is_ok());
    for node in cluster.nodes() {
        let mut direct = node.server().connect().unwrap();
        let values = get(&mut direct, "maxmemory latency-tracking slowlog-max-len");
        assert_eq!(values.into_values().collect::<Vec<_>>(), ["no", "128974848", "128"]);
        for name in ["maxmemory", "hz", "crash-log-enabled"] {
            assert_eq!(get(&mut client, name), get(&mut direct, name), "{name}");
        }
    }
    assert_eq!(get(&mut client, "slowlog-max-len")["slowlog-max-len"], "7");
    // All or nothing, with the words of the servers.
    let mut direct = cluster.nodes()[0].server().connect().unwrap();
    let wrong = say(&mut client, "CONFIG SET slowlog-max-len 9 hz x");
    assert_eq!(wrong, say(&mut direct, "CONFIG SET hz x"));
    assert_eq!(get(&mut client, "slowlog-max-len")["slowlog-max-len"], "7");
    let unknown = say(&mut client, "CONFIG SET none 1");
    assert_eq!(unknown, say(&mut direct, "CONFIG SET none 1"));
    for name in ["cluster-node-timeout", "dir", "masterauth"] {
        assert!(say(&mut client, &format!("CONFIG SET {name} 1")).is_error(), "{name}");
        assert_eq!(get(&mut client, name).len(), 0, "{name}");
    }
}

/// Each line is a request of the client with that number; the first is connected before anything is set.
const PASSWORDS: &str = "0 CONFIG GET requirepass
0 ACL WHOAMI
0 AUTH x
0 AUTH default x
0 CONFIG SET requirepass one
0 CONFIG GET requirepass
0 PING
0 AUTH wrong
0 PING
0 ACL WHOAMI
1 PING
1 GET k
1 AUTH wrong
1 AUTH default wrong
1 AUTH nobody one
1 HELLO 3
1 AUTH one
1 PING
1 ACL WHOAMI
1 ACL LIST
0 CONFIG SET requirepass two timeout 0
1 PING
1 AUTH one
1 PING
2 AUTH one
2 AUTH default two
2 PING
2 RESET
2 PING
2 AUTH two
2 CONFIG SET maxclients x requirepass three
2 CONFIG GET requirepass
2 CONFIG SET requirepass three requirepass four
2 CONFIG GET requirepass
3 PING
2 CONFIG SET requirepass \"\"
2 CONFIG GET requirepass
3 PING
3 SET k v
3 AUTH two
4 PING
4 AUTH default any
4 RESET
4 PING
4 MULTI
4 CONFIG SET requirepass inside
4 CONFIG GET requirepass
4 EXEC
4 PING
5 PING
5 AUTH inside
5 PING
5 SLOWLOG RESET
5 CONFIG SET slowlog-log-slower-than 0
5 CONFIG SET requirepass hidden
5 SLOWLOG GET 1
";

#[test]
fn requirepass_is_set_as_on_redis() {
    let [plain, behind] = [0, 1].map(|_| Standalone::launch(&[]).unwrap());
    let daemon = before(&behind, &[]);
    let connect = || [plain.server().connect().unwrap(), daemon.client()];
    let mut clients: Vec<[SandboxClient; 2]> = vec![connect()];
    for line in PASSWORDS.lines() {
        let (number, request) = line.split_once(' ').unwrap();
        let number: usize = number.parse().unwrap();
        if number == clients.len() {
            clients.push(connect());
        }
        let words: Vec<&str> =
            request.split(' ').map(|word| if word == "\"\"" { "" } else { word }).collect();
        let replies = clients[number].each_mut().map(|side| {
            side.send(&words).unwrap();
            side.receive().unwrap()
        });
        if words[0] == "SLOWLOG" && words[1] == "GET" {
            let shown = replies.map(|reply| reply.items()[0].items()[3].clone());
            assert_eq!(shown[0], shown[1]);
            assert!(shown[1].items()[3].text() == "(redacted)", "{shown:?}");
            continue;
        }
        assert_eq!(replies[1], replies[0], "{line}");
    }
    daemon.assert_quiet_but(&["clients gave a wrong password"]);
}

#[test]
fn a_password_that_was_set_stays_until_the_file_has_another_one() {
    let upstream = Standalone::launch(&[]).unwrap();
    let file = sandbox().make_directory().unwrap().join("password");
    std::fs::write(&file, "first").unwrap();
    let daemon = before_with_password(&upstream, file.to_str().unwrap());
    let mut client = daemon.client();
    assert!(say(&mut client, "AUTH first").is_ok());
    assert_eq!(get(&mut client, "requirepass")["requirepass"], "(redacted)");
    assert!(say(&mut client, "CONFIG SET requirepass second").is_ok());
    assert_eq!(get(&mut client, "requirepass")["requirepass"], "second");
    daemon.reload();
    assert!(say(&mut daemon.client(), "AUTH second").is_ok());
    std::fs::write(&file, "third").unwrap();
    daemon.reload();
    let replaced = "the password of clients was replaced: those who log in from now on have to know it";
    eventually(replaced, SOON, || daemon.has_logged(replaced));
    assert!(say(&mut daemon.client(), "AUTH third").is_ok());
    assert!(say(&mut daemon.client(), "AUTH second").is_error());
    assert!(!daemon.log_text().contains("second"));
}

fn before_with_password(upstream: &Standalone, file: &str) -> Daemon {
    let url = format!("redis://{}", upstream.server().address());
    Daemon::start(&["--upstream", &url, "--password-file", file])
}
