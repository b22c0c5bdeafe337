//! Databases in front of a cluster whose nodes have them (Valkey 9 with `cluster-databases`), with the bytes of a
//! plain server; and what SELECT says in front of any other cluster.

use std::collections::BTreeSet;
use std::time::Duration;

use fastrand::Rng;
use nearside::protocol::key::Slot;
use nearside::sandbox::{Cluster, ClusterShape, Reply, SandboxClient, Standalone};

use crate::support::daemon::{Daemon, upstream_url};
use crate::support::servers::{client_of_owner, eventually, owner, shared_cluster, valkey_server};

const SOON: Duration = Duration::from_secs(15);

/// Databases of the nodes here.
const DATABASES: usize = 4;

fn valkey_cluster() -> Cluster {
    Cluster::launch(&ClusterShape {
        primaries: 3,
        extra_args: vec!["--cluster-databases".to_owned(), DATABASES.to_string()],
        program: Some(valkey_server()),
        ..ClusterShape::default()
    })
    .unwrap()
}

fn before(cluster: &Cluster, options: &[&str]) -> Daemon {
    let daemon = Daemon::start(&[&["--upstream", &upstream_url(cluster)][..], options].concat());
    daemon.until_tracked(3);
    daemon
}

fn say(client: &mut SandboxClient, request: &str) -> Reply {
    client.command(&request.split(' ').collect::<Vec<_>>()).unwrap()
}

fn raw(client: &mut SandboxClient, request: &str) -> String {
    client.send(&request.split(' ').collect::<Vec<_>>()).unwrap();
    client.receive_raw().unwrap().escape_ascii().to_string()
}

/// All keys of the database that the client is in, by SCAN.
fn scanned(client: &mut SandboxClient) -> BTreeSet<String> {
    let (mut cursor, mut keys) = ("0".to_owned(), BTreeSet::new());
    loop {
        let page = say(client, &format!("SCAN {cursor}"));
        keys.extend(page.items()[1].items().iter().map(Reply::text));
        cursor = page.items()[0].text();
        if cursor == "0" {
            return keys;
        }
    }
}

const KEYS: [&str; 6] = ["{a}1", "{a}2", "{b}1", "{b}2", "c", "d"];

/// A request of a random kind about a few keys.
fn request(rng: &mut Rng, is_inside: bool) -> String {
    let at = rng.usize(..KEYS.len() - 2);
    // The second of a pair is in the slot of the first.
    let (key, twin) = (KEYS[at], KEYS[at ^ 1]);
    let database = rng.usize(..DATABASES);
    match rng.u8(..30) {
        0..=4 if !is_inside => format!("SELECT {database}"),
        5..=9 => format!("GET {}", KEYS[rng.usize(..KEYS.len())]),
        10 | 11 if !is_inside => format!("MGET {key} c d {twin} {{b}}1"),
        12..=14 => format!("SET {} {}", KEYS[rng.usize(..KEYS.len())], rng.u8(..)),
        15 if !is_inside => format!("MSET {key} {} c {}", rng.u8(..), rng.u8(..)),
        16 => format!("RENAME {key} {twin}"),
        17 | 18 => format!("MOVE {key} {}", if rng.u8(..6) == 0 { DATABASES } else { database }),
        19 | 20 => format!("COPY {key} {twin} DB {database} REPLACE"),
        21 if !is_inside => "DBSIZE".to_owned(),
        22 if !is_inside => format!("DEL {key} d"),
        23 => format!("EVAL redis.call('SET',KEYS[1],ARGV[1]) 1 {key} {}", rng.u8(..)),
        24 if !is_inside && rng.u8(..4) == 0 => "FLUSHDB".to_owned(),
        25 => format!("EXPIRE {key} 1000"),
        26 => format!("INCR {key}"),
        _ => format!("STRLEN {key}"),
    }
}

#[test]
fn random_commands_in_random_databases_are_as_on_a_plain_server() {
    let plain =
        Standalone::launch_program(Some(&valkey_server()), &["--databases".into(), DATABASES.to_string()]);
    let (plain, cluster) = (plain.unwrap(), valkey_cluster());
    for (seed, workers) in [(1, "1"), (2, "2")] {
        let daemon = before(&cluster, &["--workers", workers, "--transactions", "per_slot"]);
        say(&mut plain.server().connect().unwrap(), "FLUSHALL");
        say(&mut daemon.client(), "FLUSHALL");
        let mut rng = Rng::with_seed(seed);
        let mut sides: Vec<[SandboxClient; 2]> =
            (0..3).map(|_| [plain.server().connect().unwrap(), daemon.client()]).collect();
        let mut said = Vec::new();
        for round in 0..3_000 {
            let at = rng.usize(..sides.len());
            let requests: Vec<String> = if rng.u8(..12) == 0 {
                let inside = (0..rng.usize(1..5)).map(|_| request(&mut rng, true));
                let inside: Vec<String> = inside.collect();
                ["MULTI".to_owned()].into_iter().chain(inside).chain(["EXEC".to_owned()]).collect()
            } else {
                vec![request(&mut rng, false)]
            };
            for request in requests {
                let [plain, nearside] = sides[at].each_mut().map(|side| raw(side, &request));
                said.push(format!("{at}: {request}"));
                let last = &said[said.len().saturating_sub(30)..];
                assert_eq!(nearside, plain, "{workers} workers: {last:#?}");
            }
            if round % 500 == 499 {
                let [plain, nearside] = sides[at].each_mut().map(scanned);
                assert_eq!(nearside, plain);
                let mut keys = sides[at].each_mut().map(|side| say(side, "KEYS *").items().to_vec());
                keys.iter_mut().for_each(|keys| keys.sort_by_key(Reply::text));
                assert_eq!(keys[1], keys[0]);
            }
            if round % 1_000 == 999 {
                // New connections begin in database 0.
                for node in cluster.nodes() {
                    node.server().command(&["CLIENT", "KILL", "TYPE", "normal"]).unwrap();
                }
                daemon.until_tracked(3);
                eventually("the nodes answer again", SOON, || {
                    KEYS.iter()
                        .all(|key| !say(&mut daemon.client(), &format!("SETRANGE {key} 0 ")).is_error())
                });
            }
        }
        assert!(daemon.counter("l1_hits") > 0);
    }
}

#[test]
fn a_key_of_a_moving_slot_stays_in_its_database() {
    let cluster = valkey_cluster();
    let daemon = before(&cluster, &[]);
    let mut client = daemon.client();
    let key = "{moving}new";
    let slot = Slot::of(key.as_bytes());
    let from = owner(&cluster, key.as_bytes());
    let to = cluster.primaries().unwrap().into_iter().find(|node| node.id() != from.id()).unwrap();
    let migration = cluster.begin_migration(slot, to).unwrap();
    assert!(say(&mut client, "SELECT 2").is_ok());
    for value in ["1", "2"] {
        // Its slot's owner does not have it, and asks to go on to the other node.
        assert!(say(&mut client, &format!("SET {key} {value}")).is_ok());
        assert_eq!(say(&mut client, &format!("GET {key}")), Reply::bulk(value));
    }
    let mut node = to.server().connect().unwrap();
    let mut found = |database: usize| {
        say(&mut node, &format!("SELECT {database}"));
        say(&mut node, "ASKING");
        say(&mut node, &format!("GET {key}"))
    };
    assert!(found(0).is_nil());
    assert_eq!(found(2), Reply::bulk("2"));
    migration.finish().unwrap();
    assert_eq!(say(&mut client, &format!("GET {key}")), Reply::bulk("2"));
    assert!(say(&mut daemon.client(), &format!("GET {key}")).is_nil());
}

#[test]
fn what_others_write_in_a_database_is_seen_there() {
    let cluster = valkey_cluster();
    let daemon = before(&cluster, &[]);
    let (mut client, mut other) = (daemon.client(), client_of_owner(&cluster, b"foreign"));
    for request in ["SELECT 3", "SET foreign 1"] {
        assert!(say(&mut other, request).is_ok());
    }
    assert!(say(&mut client, "SELECT 3").is_ok());
    for _ in 0..3 {
        assert_eq!(say(&mut client, "GET foreign"), Reply::bulk("1"));
    }
    assert!(daemon.counter("l1_hits") > 0);
    assert!(say(&mut other, "SET foreign 2").is_ok());
    eventually("the new value is read", SOON, || say(&mut client, "GET foreign") == Reply::bulk("2"));
    assert!(say(&mut daemon.client(), "GET foreign").is_nil());
    // What waits, and what watches, has a connection of its own.
    client.send(&["BLPOP", "list", "10"]).unwrap();
    let mut pusher = daemon.client();
    assert!(say(&mut pusher, "SELECT 3").is_ok());
    eventually("it waits", SOON, || say(&mut pusher, "RPUSH list x").integer() == Some(1));
    assert_eq!(client.receive().unwrap().items()[1], Reply::bulk("x"));
    assert!(say(&mut client, "WATCH foreign").is_ok());
    say(&mut other, "SET foreign 3");
    assert!(say(&mut client, "MULTI").is_ok());
    say(&mut client, "GET foreign");
    assert!(say(&mut client, "EXEC").is_nil());
    let keyspace = say(&mut client, "INFO keyspace").text();
    assert!(keyspace.contains("\r\ndb3:keys=1,expires=0,"), "{keyspace}");
    // No other database can be selected in a transaction, whose commands may be sent to several nodes.
    assert!(say(&mut client, "MULTI").is_ok());
    say(&mut client, "SELECT 3");
    say(&mut client, "SELECT 1");
    say(&mut client, "GET foreign");
    let reply = say(&mut client, "EXEC");
    let error = "ERR nearside: in front of a cluster no other database can be selected inside MULTI";
    assert_eq!(reply.items()[1].text(), error);
    assert_eq!(reply.items()[2], Reply::bulk("3"));
}

#[test]
fn a_cluster_without_databases_says_which_setting_has_them() {
    let daemon = Daemon::before(shared_cluster());
    let mut client = daemon.client();
    let missing = "ERR DB index is out of range (nearside: the cluster does not have this database; with \
                   databases = N, each database above 0 is a namespace)";
    for _ in 0..2 {
        assert_eq!(say(&mut client, "SELECT 1").text(), missing);
        assert!(say(&mut client, "SET first-database 1").is_ok());
        assert_eq!(say(&mut client, "MOVE first-database 1").text(), "ERR DB index is out of range");
        assert!(say(&mut client, "SELECT 0").is_ok());
        assert_eq!(say(&mut client, "GET first-database"), Reply::bulk("1"));
    }
    assert_eq!(say(&mut client, "SELECT -1").text(), "ERR DB index is out of range");
    assert!(say(&mut client, "MULTI").is_ok());
    say(&mut client, "SELECT 1");
    assert_eq!(say(&mut client, "EXEC").items()[0].text(), missing);
    daemon.assert_quiet();
}
