//! Databases in front of one server: SELECT and all that depends on it, with the bytes of a plain server.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use nearside::sandbox::{Reply, SandboxClient, Standalone};

use crate::support::daemon::Daemon;
use crate::support::servers::{eventually, sandbox, shared_cluster};

const SOON: Duration = Duration::from_secs(5);

/// Databases of the servers here.
const DATABASES: usize = 16;

fn before(server: &Standalone, path: &str, options: &[&str]) -> Daemon {
    let url = format!("redis://{}{path}", server.server().address());
    let daemon = Daemon::start(&[&["--upstream", &url][..], options].concat());
    daemon.until_tracked(1);
    daemon
}

fn say(client: &mut SandboxClient, request: &str) -> Reply {
    client.command(&request.split(' ').collect::<Vec<_>>()).unwrap()
}

fn raw(client: &mut SandboxClient, request: &str) -> String {
    client.send(&request.split(' ').collect::<Vec<_>>()).unwrap();
    client.receive_raw().unwrap().escape_ascii().to_string()
}

/// A request of a random kind about a few keys.
fn request(rng: &mut Rng) -> String {
    let (key, other) = (format!("k{}", rng.u8(..4)), format!("k{}", rng.u8(..4)));
    let database = rng.usize(..DATABASES + 2);
    match rng.u8(..26) {
        0..=2 => format!("SELECT {}", if rng.u8(..8) == 0 { database } else { database % 3 }),
        3..=9 => format!("GET {key}"),
        10 => format!("MGET {key} {other}"),
        11..=13 => format!("SET {key} {}", rng.u8(..)),
        14 => format!("INCR {key}"),
        15 => format!("RENAME {key} {other}"),
        16 => format!("MOVE {key} {database}"),
        17 => format!("COPY {key} {other} DB {database} REPLACE"),
        18 if rng.u8(..6) == 0 => format!("SWAPDB {} {database}", rng.usize(..DATABASES)),
        19 => "DBSIZE".to_owned(),
        20 => format!("DEL {key} {other}"),
        21 => format!("EVAL redis.call('SET',KEYS[1],ARGV[1]) 1 {key} {}", rng.u8(..)),
        22 if rng.u8(..6) == 0 => "FLUSHDB".to_owned(),
        23 => format!("EXPIRE {key} 1000"),
        24 => format!("STRLEN {key}"),
        _ => format!("EXISTS {key}"),
    }
}

#[test]
fn random_commands_in_random_databases_are_as_on_a_plain_server() {
    let [plain, behind] = [0, 1].map(|_| Standalone::launch(&[]).unwrap());
    for (seed, options) in [(1, &[][..]), (2, &["--workers", "2"]), (3, &["--workers", "3"])] {
        let daemon = before(&behind, "", options);
        say(&mut plain.server().connect().unwrap(), "FLUSHALL");
        say(&mut behind.server().connect().unwrap(), "FLUSHALL");
        let mut rng = Rng::with_seed(seed);
        let mut sides: Vec<[SandboxClient; 2]> =
            (0..3).map(|_| [plain.server().connect().unwrap(), daemon.client()]).collect();
        let mut said = Vec::new();
        for _ in 0..3_000 {
            let at = rng.usize(..sides.len());
            // Sometimes a transaction, in which the database may change.
            let requests: Vec<String> = match rng.u8(..12) {
                0 => {
                    let watch = (rng.bool()).then(|| "WATCH k1".to_owned());
                    let inside = (0..rng.usize(1..5)).map(|_| request(&mut rng));
                    let inside: Vec<String> = inside.collect();
                    let last = if rng.u8(..5) == 0 { "DISCARD" } else { "EXEC" };
                    let begin = watch.into_iter().chain(["MULTI".to_owned()]);
                    begin.chain(inside).chain([last.to_owned()]).collect()
                }
                _ => vec![request(&mut rng)],
            };
            for request in requests {
                said.push(format!("{at}: {request}"));
                let [plain, nearside] = &mut sides[at];
                // A read comes from memory for the second time.
                for _ in 0..if request.starts_with("GET") { 3 } else { 1 } {
                    let (wanted, found) = (raw(plain, &request), raw(nearside, &request));
                    let story = &said[said.len().saturating_sub(30)..];
                    assert_eq!(found, wanted, "seed {seed}: {story:#?}");
                }
            }
        }
        if options.is_empty() {
            let hits = daemon.counter("l1_hits");
            assert!(hits > 100, "L1 was hardly used: {hits}");
        }
        daemon.stop();
    }
}

#[test]
fn each_database_has_its_own_replies_in_memory() {
    let server = Standalone::launch(&["--databases".to_owned(), "20".to_owned()]).unwrap();
    let daemon = before(&server, "", &[]);
    let mut client = daemon.client();
    for database in 0..20 {
        say(&mut client, &format!("SELECT {database}"));
        assert!(say(&mut client, &format!("SET key value{database}")).is_ok());
    }
    let read_all = |client: &mut SandboxClient| {
        for database in 0..20 {
            say(client, &format!("SELECT {database}"));
            for _ in 0..2 {
                assert_eq!(say(client, "GET key"), Reply::bulk(format!("value{database}")));
                assert_eq!(say(client, "MGET key").items(), [Reply::bulk(format!("value{database}"))]);
            }
        }
    };
    read_all(&mut client);
    let (hits, misses) = (daemon.counter("l1_hits"), daemon.counter("l1_misses"));
    read_all(&mut client);
    assert_eq!(daemon.counter("l1_hits") - hits, 16 * 4, "those of 16 databases are kept");
    assert_eq!(daemon.counter("l1_misses"), misses);
    say(&mut client, "SELECT 19");
    let explained =
        say(&mut client, "NEARSIDE EXPLAIN key").items().iter().map(Reply::text).collect::<Vec<_>>();
    let why = "replies are kept of databases 0 to 15 alone";
    assert!(explained.iter().any(|field| field.contains(why)), "{explained:?}");
    // An invalidation names no database.
    let mut direct = server.server().connect().unwrap();
    for database in [3, 7] {
        say(&mut direct, &format!("SELECT {database}"));
        assert!(say(&mut direct, "SET key other").is_ok());
        say(&mut client, &format!("SELECT {database}"));
        eventually("it is seen", SOON, || say(&mut client, "GET key") == Reply::bulk("other"));
        say(&mut client, "SELECT 5");
        assert_eq!(say(&mut client, "GET key"), Reply::bulk("value5"));
    }
    // FLUSHDB of somebody else.
    say(&mut direct, "FLUSHDB");
    say(&mut client, "SELECT 7");
    eventually("it is gone", SOON, || say(&mut client, "GET key").is_nil());
    // Our own SWAPDB.
    say(&mut client, "SELECT 5");
    assert_eq!(say(&mut client, "GET key"), Reply::bulk("value5"));
    assert!(say(&mut client, "SWAPDB 5 6").is_ok());
    assert_eq!(say(&mut client, "GET key"), Reply::bulk("value6"));
}

#[test]
fn one_connection_serves_all_databases_for_all_clients() {
    let server = Standalone::launch(&[]).unwrap();
    let daemon = before(&server, "", &[]);
    let threads: Vec<_> = (0..8)
        .map(|number| {
            let mut client = daemon.client();
            thread::spawn(move || {
                let mut rng = Rng::with_seed(number);
                let key = format!("own:{number}");
                let mut values = vec![None; DATABASES];
                for round in 0..500 {
                    let database = rng.usize(..DATABASES);
                    // A pipeline, so that what is behind SELECT is on its way at the same time.
                    client.send(&["SELECT", &database.to_string()]).unwrap();
                    client.send(&["GET", &key]).unwrap();
                    client.send(&["SET", &key, &round.to_string()]).unwrap();
                    assert!(client.receive().unwrap().is_ok());
                    let found = client.receive().unwrap();
                    assert_eq!(found.bytes().map(<[u8]>::to_vec), values[database]);
                    assert!(client.receive().unwrap().is_ok());
                    values[database] = Some(round.to_string().into_bytes());
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let clients = server.server().command(&["CLIENT", "LIST"]).unwrap().text();
    let own = clients.lines().filter(|line| line.contains("name=nearside")).count();
    assert!(own <= 3, "{clients}");
}

#[test]
fn clients_begin_in_the_database_of_the_url() {
    let server = Standalone::launch(&[]).unwrap();
    let daemon = before(&server, "/3", &[]);
    let mut direct = server.server().connect().unwrap();
    say(&mut direct, "SELECT 3");
    let mut client = daemon.client();
    assert!(say(&mut client, "SET key three").is_ok());
    assert_eq!(say(&mut direct, "GET key"), Reply::bulk("three"));
    let db = |client: &mut SandboxClient, db: &str| {
        let info = say(client, "CLIENT INFO").text();
        assert!(info.contains(&format!(" db={db} ")), "{info}");
    };
    db(&mut client, "3");
    assert!(say(&mut client, "SELECT 1").is_ok());
    db(&mut client, "1");
    assert!(say(&mut client, "GET key").is_nil());
    assert_eq!(say(&mut client, "RESET").text(), "RESET");
    db(&mut client, "3");
    assert_eq!(say(&mut client, "GET key"), Reply::bulk("three"));
    // What others see of it.
    let mut monitor = daemon.client();
    assert!(say(&mut monitor, "MONITOR").is_ok());
    say(&mut client, "SELECT 2");
    say(&mut client, "SET seen 1");
    let lines: Vec<String> = (0..2).map(|_| monitor.receive().unwrap().text()).collect();
    assert!(lines[1].contains("[2 ") && lines[1].contains("\"SET\""), "{lines:?}");
    let keyspace = |client: &mut SandboxClient| {
        let info = say(client, "INFO keyspace").text();
        info.lines().filter(|line| line.starts_with("db")).map(str::to_owned).collect::<BTreeSet<_>>()
    };
    assert_eq!(keyspace(&mut client), keyspace(&mut direct));
    assert_eq!(say(&mut client, "CONFIG GET databases"), say(&mut direct, "CONFIG GET databases"));
    // Other places where a database counts.
    assert_eq!(say(&mut client, "KEYS *").items(), [Reply::bulk("seen")]);
    assert_eq!(say(&mut client, "SCAN 0").items()[1].items(), [Reply::bulk("seen")]);
    assert_eq!(say(&mut client, "RANDOMKEY"), Reply::bulk("seen"));
    assert!(say(&mut client, "OBJECT ENCODING seen").bytes().is_some());
    let mut pusher = daemon.client();
    say(&mut pusher, "SELECT 9");
    let mut waiting = daemon.client();
    say(&mut waiting, "SELECT 9");
    waiting.send(&["BLPOP", "list", "5"]).unwrap();
    say(&mut client, "RPUSH list wrong");
    thread::sleep(Duration::from_millis(100));
    say(&mut pusher, "RPUSH list right");
    assert_eq!(waiting.receive().unwrap().items()[1], Reply::bulk("right"));
    daemon.assert_quiet();
}

#[test]
fn a_database_that_the_server_does_not_have_changes_nothing() {
    let server = Standalone::launch(&["--databases".to_owned(), "4".to_owned()]).unwrap();
    let daemon = before(&server, "", &[]);
    let mut direct = server.server().connect().unwrap();
    let mut client = daemon.client();
    assert!(say(&mut client, "SET key zero").is_ok());
    for request in ["SELECT 4", "SELECT 99", "SELECT -1", "SELECT x", "SELECT 99999999999"] {
        assert_eq!(raw(&mut client, request), raw(&mut direct, request), "{request}");
    }
    assert_eq!(say(&mut client, "GET key"), Reply::bulk("zero"));
    assert!(say(&mut client, "SELECT 3").is_ok());
    // A server that has fewer after a restart refuses, and runs nothing elsewhere.
    let none = before(&server, "/9", &[]);
    let message = "the server does not have the database that upstream names: clients get errors until they SELECT another one";
    eventually("it is logged", SOON, || none.has_logged(message));
    let mut lost = none.client();
    for request in ["SET key wrong", "GET key", "MGET key other", "DBSIZE", "BLPOP key 0.1", "WATCH key"] {
        assert_eq!(say(&mut lost, request).text(), "ERR DB index is out of range", "{request}");
    }
    assert!(say(&mut lost, "SELECT 0").is_ok());
    assert_eq!(say(&mut lost, "GET key"), Reply::bulk("zero"));
    // A cluster has one database.
    let daemon = Daemon::before(shared_cluster());
    let mut cluster = daemon.client();
    assert!(say(&mut cluster, "SELECT 1").text().starts_with("ERR DB index is out of range (nearside: "));
    assert!(say(&mut cluster, "SELECT 0").is_ok());
}

#[test]
fn lifetimes_and_warm_names_are_those_of_their_database() {
    let server = Standalone::launch(&[]).unwrap();
    let warm = server.server().directory().join("warm");
    let file = server.server().directory().join("nearside.toml");
    std::fs::write(&file, "[[policy]]\nprefix = \"timed:\"\ndefault_ttl = \"1h\"\n").unwrap();
    let options = ["--config", file.to_str().unwrap(), "--warm-file", warm.to_str().unwrap()];
    let daemon = before(&server, "", &options);
    let mut direct = server.server().connect().unwrap();
    let mut client = daemon.client();
    say(&mut client, "SELECT 5");
    assert!(say(&mut client, "SET timed:a 1").is_ok());
    assert_eq!(say(&mut client, "SADD timed:b 1"), Reply::Integer(1));
    assert!(say(&mut client, "TTL timed:b").integer().unwrap() > 3_000);
    // A reply ends with its key, whatever a key of the same name in another database does.
    say(&mut direct, "SELECT 5");
    say(&mut direct, "SET short 5 PX 300");
    say(&mut direct, "SELECT 0");
    say(&mut direct, "SET short 0");
    for (database, value) in [(0, "0"), (5, "5")] {
        say(&mut client, &format!("SELECT {database}"));
        for _ in 0..3 {
            assert_eq!(say(&mut client, "GET short"), Reply::bulk(value));
        }
    }
    thread::sleep(Duration::from_millis(400));
    assert!(say(&mut client, "GET short").is_nil());
    say(&mut client, "SELECT 7");
    say(&mut client, "SET warm seven");
    for _ in 0..10 {
        assert_eq!(say(&mut client, "GET warm"), Reply::bulk("seven"));
    }
    daemon.stop();
    let daemon = before(&server, "", &options);
    eventually("it is read again", SOON, || daemon.counter("warm_reads") > 0);
    let mut client = daemon.client();
    say(&mut client, "SELECT 7");
    let hits = daemon.counter("l1_hits");
    eventually("it is in memory", SOON, || {
        say(&mut client, "GET warm");
        daemon.counter("l1_hits") > hits
    });
}

/// Replies would come to other commands if what was held back behind the refused SELECT had gone out.
#[test]
fn a_database_that_is_not_there_disturbs_no_other_client() {
    let server = Standalone::launch(&[]).unwrap();
    let daemon = before(&server, "", &[]);
    let mut direct = server.server().connect().unwrap();
    for database in 0..DATABASES {
        say(&mut direct, &format!("SELECT {database}"));
        say(&mut direct, &format!("SET k value{database}"));
    }
    thread::scope(|scope| {
        for of in 0..6_u64 {
            let daemon = &daemon;
            scope.spawn(move || {
                let mut rng = Rng::with_seed(of);
                let mut client = daemon.client();
                say(&mut client, "NEARSIDE FRESH ON");
                for _ in 0..300 {
                    let database = rng.usize(..DATABASES);
                    client.send(&["SELECT".to_owned(), database.to_string()]).unwrap();
                    client.send(&["GET", "k"]).unwrap();
                    client.send(&["STRLEN", "k"]).unwrap();
                    assert!(client.receive().unwrap().is_ok());
                    let value = format!("value{database}");
                    let length = Reply::Integer(value.len() as i64);
                    assert_eq!(client.receive().unwrap(), Reply::bulk(value));
                    assert_eq!(client.receive().unwrap(), length);
                }
            });
        }
        scope.spawn(|| {
            let mut client = daemon.client();
            for _ in 0..150 {
                assert_eq!(say(&mut client, "SELECT 99").text(), "ERR DB index is out of range");
                assert!(say(&mut client, "GET k").text().starts_with("value0"));
            }
        });
    });
    assert_eq!(daemon.counter("upstream_losses"), 0);
}

#[test]
fn a_server_that_refuses_select_does_not_disturb_who_sends_none() {
    let server =
        Standalone::launch(&["--rename-command".to_owned(), "SELECT".to_owned(), String::new()]).unwrap();
    let daemon = before(&server, "", &[]);
    let (mut selects, mut counts) = (daemon.client(), daemon.client());
    for number in 1..=50 {
        assert!(say(&mut selects, "SELECT 1").is_error());
        assert_eq!(say(&mut counts, "INCR n"), Reply::Integer(number));
    }
}

#[test]
fn swapdb_in_a_transaction_empties_l1() {
    let server = Standalone::launch(&[]).unwrap();
    for workers in ["1", "2"] {
        let daemon = before(&server, "", &["--workers", workers]);
        say(&mut server.server().connect().unwrap(), "FLUSHALL");
        for watches in [false, true] {
            let (mut client, mut other) = (daemon.client(), daemon.client());
            for request in ["SELECT 1", "SET k one", "SELECT 0", "SET k zero"] {
                say(&mut client, request);
            }
            for _ in 0..3 {
                assert_eq!(say(&mut client, "GET k").text(), "zero");
            }
            if watches {
                say(&mut client, "WATCH other");
            }
            for request in ["MULTI", "SWAPDB 0 1", "EXEC"] {
                say(&mut client, request);
            }
            assert_eq!(say(&mut client, "GET k").text(), "one", "{workers} workers, {watches}");
            assert_eq!(say(&mut other, "GET k").text(), "one", "{workers} workers, {watches}");
        }
        daemon.stop();
    }
}

#[test]
fn after_a_restart_with_fewer_databases_select_says_so() {
    let file = sandbox().make_directory().unwrap().join("redis.conf");
    std::fs::write(&file, "databases 16\n").unwrap();
    let include = ["--include", file.to_str().unwrap()].map(str::to_owned);
    let server = Standalone::launch(&include).unwrap();
    let daemon = before(&server, "", &[]);
    let mut client = daemon.client();
    assert!(say(&mut client, "SELECT 9").is_ok());
    let losses = daemon.counter("upstream_losses");
    std::fs::write(&file, "databases 4\n").unwrap();
    server.server().kill9().unwrap();
    server.server().restart().unwrap();
    eventually("the loss is seen", SOON, || daemon.counter("upstream_losses") > losses);
    daemon.until_tracked(1);
    let mut direct = server.server().connect().unwrap();
    for request in ["SELECT 9", "SELECT 3", "SELECT 4"] {
        assert_eq!(raw(&mut client, request), raw(&mut direct, request), "{request}");
    }
}

#[test]
fn what_is_said_of_a_client_inside_a_transaction_names_the_database_of_each_command() {
    let server = Standalone::launch(&[]).unwrap();
    let daemon = before(&server, "", &[]);
    let (mut nearside, mut plain) = (daemon.client(), server.server().connect().unwrap());
    for (client, mut monitor) in
        [(&mut nearside, daemon.client()), (&mut plain, server.server().connect().unwrap())]
    {
        say(client, "SELECT 1");
        assert!(say(&mut monitor, "MONITOR").is_ok());
        for request in
            ["MULTI", "CLIENT INFO", "SELECT 7", "CLIENT INFO", "GET k", "SELECT 99", "CLIENT INFO"]
        {
            say(client, request);
        }
        let replies = say(client, "EXEC");
        let database = |at: usize| {
            let text = replies.items()[at].text();
            text.split(' ').find_map(|field| field.strip_prefix("db=")).unwrap().to_owned()
        };
        assert_eq!([0, 2, 5].map(database), ["1", "7", "7"], "{replies:?}");
        let line = (0..8).map(|_| monitor.receive().unwrap().text()).find(|line| line.contains("\"GET\""));
        assert!(line.as_ref().is_some_and(|line| line.contains(" [7 ")), "{line:?}");
        // What was not executed selects nothing.
        for request in ["SELECT 1", "WATCH k", "SET k 1", "MULTI", "SELECT 5", "CLIENT INFO"] {
            say(client, request);
        }
        assert!(say(client, "EXEC").is_nil());
        assert!(say(client, "CLIENT INFO").text().contains(" db=1 "));
    }
}

#[test]
fn scan_is_the_server_s_own_also_inside_a_transaction() {
    let server = Standalone::launch(&[]).unwrap();
    let daemon = before(&server, "", &[]);
    let (mut nearside, mut plain) = (daemon.client(), server.server().connect().unwrap());
    for number in 0..500 {
        say(&mut plain, &format!("SET key:{number} 1"));
    }
    let mut cursor = "0".to_owned();
    for round in 0.. {
        let request = format!("SCAN {cursor} COUNT 20");
        let wanted = raw(&mut plain, &request);
        assert_eq!(raw(&mut nearside, &request), wanted);
        say(&mut nearside, "MULTI");
        say(&mut nearside, &request);
        assert_eq!(raw(&mut nearside, "EXEC"), format!("*1\\r\\n{wanted}"));
        cursor = say(&mut plain, &request).items()[0].text();
        if cursor == "0" {
            assert!(round > 5, "{round}");
            break;
        }
    }
}

/// Servers push no invalidation for SWAPDB.
#[test]
fn swapdb_in_a_script_or_a_function_leaves_nothing_stale() {
    let server = Standalone::launch(&[]).unwrap();
    let library =
        "#!lua name=l\nredis.register_function('swap', function() return redis.call('SWAPDB', 0, 1) end)";
    server.server().command(&["FUNCTION", "LOAD", library]).unwrap();
    let by_name = "return redis.call(ARGV[1], 0, 1)";
    let calls: [&[&str]; 7] = [
        &["EVAL", "return redis.call('SWAPDB', 0, 1)", "0"],
        &["EVAL", "return redis.call('SWAPDB', 0, 1)", "1", "k"],
        &["EVAL", "return redis.call('SWAP' .. 'DB', 0, 1)", "2", "k", "other"],
        &["EVAL", by_name, "0", "swapdb"],
        &["FCALL", "swap", "1", "k"],
        &["FCALL", "swap", "0"],
        &["MULTI"],
    ];
    for workers in ["1", "2"] {
        let daemon = before(&server, "", &["--workers", workers]);
        for call in calls {
            let (mut client, mut other) = (daemon.client(), daemon.client());
            for request in ["SELECT 1", "SET k one", "SELECT 0", "SET k zero"] {
                say(&mut client, request);
            }
            for _ in 0..3 {
                assert_eq!(say(&mut client, "GET k").text(), "zero");
            }
            say(&mut client, "EVAL return 1 1 k");
            let _ = client.command(call).unwrap();
            if call == ["MULTI"] {
                client.command(calls[1]).unwrap();
                say(&mut client, "EXEC");
            }
            assert_eq!(say(&mut client, "GET k").text(), "one", "{workers} workers, {call:?}");
            assert_eq!(say(&mut other, "GET k").text(), "one", "{workers} workers, {call:?}");
        }
        // Other scripts leave L1 as it is.
        if workers == "1" {
            let mut client = daemon.client();
            say(&mut client, "GET k");
            let hits = daemon.counter("l1_hits");
            for _ in 0..10 {
                say(&mut client, "EVAL return 1 1 k2");
                say(&mut client, "GET k");
            }
            assert_eq!(daemon.counter("l1_hits") - hits, 10);
        }
        daemon.stop();
    }
}
