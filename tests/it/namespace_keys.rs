//! What a client in a namespace asks about all its keys, pinned or not, in front of a cluster and of one server.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use nearside::sandbox::{Reply, SandboxClient, Standalone};

use crate::support::daemon::{Daemon, upstream_url};
use crate::support::scripted::ScriptedNode;
use crate::support::servers::shared_cluster;

/// Keys of others whose names nearly belong to the namespace.
const FOREIGN: [&str; 6] = ["x{N}:k", "N@16:k", "{N}@16:k", "Nx:k", "N", "{N}"];

fn ask(client: &mut SandboxClient, request: &str) -> Reply {
    client.command(&request.split(' ').collect::<Vec<_>>()).unwrap()
}

/// Writes `count` keys with these names.
fn fill(client: &mut SandboxClient, name: &str, count: usize) {
    for first in (0..count).step_by(100) {
        let words =
            (first..count.min(first + 100)).flat_map(|number| [format!("{name}{number}"), "v".into()]);
        let words: Vec<String> = std::iter::once("MSET".to_owned()).chain(words).collect();
        assert!(client.command(&words).unwrap().is_ok());
    }
}

/// The names that a whole walk with these options gives, and how many pages it took.
fn walk(client: &mut SandboxClient, options: &str) -> (BTreeSet<String>, usize) {
    let (mut cursor, mut found, mut pages) = ("0".to_owned(), BTreeSet::new(), 0);
    loop {
        let page = ask(client, format!("SCAN {cursor} {options}").trim_end());
        found.extend(page.items()[1].items().iter().map(Reply::text));
        pages += 1;
        cursor = page.items()[0].text();
        if cursor == "0" {
            return (found, pages);
        }
    }
}

/// Plays all on the upstream at `url`.
fn play(url: &str, name: &str, pin: bool) {
    let flags = ["--upstream", url, "--namespace", name, "--pin"];
    let daemon = Daemon::start(&flags[..4 + usize::from(pin)]);
    let without = Daemon::start(&["--upstream", url]);
    let mut direct = without.client();
    let foreign = FOREIGN.map(|key| key.replace('N', name));
    foreign.iter().for_each(|key| assert!(ask(&mut direct, &format!("SET {key} foreign")).is_ok()));
    let (mut client, mut other) = (daemon.client(), daemon.client());

    // Few keys at first, then more than a node is asked for at once.
    assert!(ask(&mut client, "RANDOMKEY").is_nil());
    assert_eq!(ask(&mut client, "DBSIZE").integer(), Some(0));
    for (count, database) in [(3, 3), (1_500, 0)] {
        assert!(ask(&mut client, &format!("SELECT {database}")).is_ok());
        fill(&mut client, "k", count);
        assert_eq!(ask(&mut client, "DBSIZE").integer(), Some(count as i64), "database {database}");
        let wanted: BTreeSet<String> = (0..count).map(|number| format!("k{number}")).collect();
        for _ in 0..20 {
            let key = ask(&mut client, "RANDOMKEY").text();
            assert!(wanted.contains(&key), "{key} of database {database}");
        }
        let keys: BTreeSet<String> = ask(&mut client, "KEYS *").items().iter().map(Reply::text).collect();
        assert_eq!(keys, wanted);
        assert_eq!(walk(&mut client, "COUNT 500").0, wanted);
        assert_eq!(walk(&mut client, "MATCH k1? COUNT 500").0.len(), 10.min(count - count % 10));
        assert_eq!(walk(&mut client, "TYPE list COUNT 500").0.len(), 0);
    }
    let info = ask(&mut client, "INFO keyspace").text();
    let lines = "# Keyspace\r\ndb0:keys=1500,expires=0,avg_ttl=0\r\ndb3:keys=3,expires=0,avg_ttl=0\r\n";
    assert_eq!(info, lines);
    assert!(!ask(&mut client, "INFO").text().contains("db0:"));

    // Only this database goes, and L1 keeps nothing of it.
    assert_eq!(ask(&mut client, "FLUSHDB NOW").text(), "ERR syntax error");
    assert_eq!(ask(&mut client, "FLUSHALL SYNC ASYNC").text(), "ERR syntax error");
    assert!(ask(&mut client, "MULTI").is_ok());
    assert!(ask(&mut client, "FLUSHDB").is_error() && ask(&mut client, "EXEC").is_error());
    ask(&mut other, "SELECT 3");
    for _ in 0..2 {
        assert_eq!(ask(&mut client, "GET k1").text(), "v");
        assert_eq!(ask(&mut other, "GET k1").text(), "v");
    }
    client.send(&["SET", "last", "v"]).unwrap();
    client.send(&["FLUSHDB", "ASYNC"]).unwrap();
    client.send(&["GET", "last"]).unwrap();
    assert!(client.receive().unwrap().is_ok() && client.receive().unwrap().is_ok());
    assert!(client.receive().unwrap().is_nil(), "what was written before it is gone");
    assert!(ask(&mut client, "GET k1").is_nil());
    assert_eq!(ask(&mut client, "DBSIZE").integer(), Some(0));
    assert_eq!(ask(&mut client, "KEYS *").items().len(), 0);
    assert_eq!(ask(&mut other, "DBSIZE").integer(), Some(3));
    assert_eq!(ask(&mut other, "GET k1").text(), "v");
    fill(&mut client, "again", 10);
    assert!(ask(&mut other, "FLUSHALL").is_ok());
    assert!(ask(&mut other, "GET k1").is_nil());
    assert_eq!(ask(&mut client, "INFO keyspace").text(), "# Keyspace\r\n");
    for key in &foreign {
        assert_eq!(
            ask(&mut direct, &format!("GET {key}")).text(),
            "foreign",
            "{key} is not of the namespace"
        );
    }
}

#[test]
fn all_keys_of_a_namespace_of_a_cluster() {
    play(&upstream_url(shared_cluster()), "allkeys", false);
}

#[test]
fn all_keys_of_a_pinned_namespace_of_a_cluster() {
    play(&upstream_url(shared_cluster()), "allpinned", true);
}

#[test]
fn all_keys_of_namespaces_of_one_server() {
    let plain = Standalone::launch(&[]).unwrap();
    let url = format!("redis://{}", plain.server().address());
    play(&url, "allkeys", false);
    play(&url, "allpinned", true);
}

#[test]
fn a_walk_over_a_small_pinned_namespace_asks_for_its_slot_alone() {
    let daemon =
        Daemon::start(&["--upstream", &upstream_url(shared_cluster()), "--namespace", "small", "--pin"]);
    let mut client = daemon.client();
    fill(&mut client, "k", 100);
    ask(&mut client, "RPUSH list 1");
    ask(&mut client, "SET gone v PX 1");
    std::thread::sleep(Duration::from_millis(5));
    let (found, pages) = walk(&mut client, "COUNT 1");
    assert_eq!((found.len(), pages), (101, 1), "a walk over all keys would take more");
    assert_eq!(walk(&mut client, "TYPE list COUNT 1"), (BTreeSet::from(["list".to_owned()]), 1));
    assert_eq!(walk(&mut client, "MATCH gone COUNT 1").0.len(), 0);
    assert!(ask(&mut client, "SCAN 0 TYPE").is_error());
    assert_eq!(ask(&mut client, "SCAN x").text(), "ERR invalid cursor");
    assert!(ask(&mut client, "FLUSHDB").is_ok());
}

#[test]
fn a_flush_that_stops_says_how_far_it_came() {
    let (names, batches, odd) = (300, AtomicUsize::new(0), Arc::new(AtomicBool::new(false)));
    let is_odd = odd.clone();
    let node = ScriptedNode::start("stops", move |request, stream| {
        match request {
            // Its +OK must not become the reply.
            ["CLUSTER", "NODES"] if is_odd.load(Ordering::Relaxed) => return Ok(false),
            ["CLUSTER", "NODES"] => {
                let view = "me 127.0.0.1:1@2 myself,master - 0 0 1 connected 0-16383\n";
                write!(stream, "${}\r\n{view}\r\n", view.len())?;
            }
            ["CLUSTER", "GETKEYSINSLOT", ..] => {
                write!(stream, "*{names}\r\n")?;
                (0..names).try_for_each(|number| write!(stream, "$9\r\n{{stop}}:{:02}\r\n", number % 100))?;
            }
            ["UNLINK", ..] => match batches.fetch_add(1, Ordering::Relaxed) {
                0 => write!(stream, ":{}\r\n", request.len() - 1)?,
                _ => stream.write_all(b"-MISCONF the disk is full\r\n")?,
            },
            _ => return Ok(false),
        }
        Ok(true)
    });
    let url = format!("redis-cluster://{}", node.address());
    let daemon = Daemon::start(&["--upstream", &url, "--namespace", "stop", "--pin"]);
    daemon.until_tracked(1);
    let mut client = daemon.client();
    assert_eq!(
        ask(&mut client, "FLUSHDB").text(),
        "ERR nearside: FLUSHDB has removed 256 keys of the namespace, not all: MISCONF the disk is full"
    );
    assert_eq!(ask(&mut client, "FLUSHDB").text(), "MISCONF the disk is full");
    odd.store(true, Ordering::Relaxed);
    let error = ask(&mut client, "FLUSHDB");
    assert!(error.is_error() && error.text().contains("no reply to it"), "{error:?}");
}

#[test]
fn keys_are_counted_up_to_a_bound() {
    let plain = Standalone::launch(&[]).unwrap();
    let url = format!("redis://{}", plain.server().address());
    let daemon = Daemon::start(&["--upstream", &url, "--namespace", "many", "--keyspace-bytes-max", "1kb"]);
    let mut client = daemon.client();
    fill(&mut client, "k", 64);
    assert_eq!(ask(&mut client, "DBSIZE").integer(), Some(64));
    fill(&mut client, "more", 1);
    let error =
        "ERR nearside: the namespace has more keys than can be counted in 1024 bytes (keyspace_bytes_max)";
    assert_eq!(ask(&mut client, "DBSIZE").text(), error);
    assert_eq!(ask(&mut client, "INFO keyspace").text(), error);
}
