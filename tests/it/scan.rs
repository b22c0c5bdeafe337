//! A walk over all keys finds every key that is there all the time, whatever slots and nodes do meanwhile.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use nearside::protocol::key::Slot;
use nearside::sandbox::{Cluster, ClusterShape, Reply, SandboxClient, Standalone};

use crate::support::daemon::{Daemon, upstream_url};
use crate::support::servers::{eventually, own_primaries};

const KEYS: usize = 30_000;

/// How long a walk may meet errors, while a node is away.
const AWAY_LIMIT: Duration = Duration::from_secs(20);

/// Tells others when a test is over, even if it failed.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn key(number: usize) -> String {
    format!("stable:{number}")
}

fn fill(daemon: &Daemon, keys: usize) {
    let mut client = daemon.client();
    for first in (0..keys).step_by(1000) {
        let last = keys.min(first + 1000);
        (first..last).for_each(|number| client.send(&["SET", &key(number), "v"]).unwrap());
        (first..last).for_each(|_| assert!(client.receive().unwrap().is_ok()));
    }
}

/// One page: the next cursor, and the keys.
fn page(reply: &Reply) -> (String, Vec<String>) {
    let [cursor, keys] = reply.items() else { panic!("no page: {reply:?}") };
    (cursor.text(), keys.items().iter().map(Reply::text).collect())
}

fn scan(client: &mut SandboxClient, cursor: &str, options: &[&str]) -> Reply {
    client.command(&[&["SCAN", cursor][..], options].concat()).unwrap()
}

/// The keys of a whole walk, as often as they came; `between` is called after each page with their number so
/// far.
fn walk(client: &mut SandboxClient, options: &[&str], mut between: impl FnMut(usize)) -> Vec<String> {
    let (mut cursor, mut all) = ("0".to_owned(), Vec::new());
    loop {
        let (next, keys) = page(&scan(client, &cursor, options));
        all.extend(keys);
        between(all.len());
        assert!(next.parse::<i64>().is_ok_and(|next| next >= 0), "clients with signed numbers read {next}");
        cursor = next;
        if cursor == "0" {
            return all;
        }
    }
}

fn assert_all(found: impl IntoIterator<Item = String>, keys: usize) {
    let found: HashSet<String> = found.into_iter().collect();
    let missing: Vec<String> = (0..keys).map(key).filter(|key| !found.contains(key)).collect();
    assert!(missing.is_empty(), "{} keys were missed, {:?} among them", missing.len(), missing.first());
}

#[test]
fn a_quiet_cluster_gives_each_key_once() {
    let cluster = own_primaries(3);
    let daemon = Daemon::before(&cluster);
    let mut client = daemon.client();
    assert_eq!(
        page(&scan(&mut client, "0", &[])),
        ("0".to_owned(), vec![]),
        "an empty cluster is done at once"
    );
    fill(&daemon, 2_000);
    let found = walk(&mut client, &[], |_| {});
    assert_eq!(found.len(), 2_000);
    assert_all(found, 2_000);
    client.command(&["RPUSH", "a-list", "x"]).unwrap();
    assert_eq!(walk(&mut client, &["TYPE", "list"], |_| {}), ["a-list"]);
    let matching = walk(&mut client, &["COUNT", "50", "MATCH", "stable:77?"], |_| {});
    assert_eq!(matching.len(), 10);
    // One page is enough for those who ask for more than there is, as on one server.
    let (cursor, keys) = page(&scan(&mut client, "0", &["COUNT", "100000"]));
    assert_eq!((cursor.as_str(), keys.len()), ("0", 2_001));
    client.hello(3).unwrap();
    assert_eq!(walk(&mut client, &["TYPE", "list"], |_| {}), ["a-list"]);
    daemon.assert_quiet();
}

#[test]
fn no_key_is_missed_while_slots_move() {
    let cluster = own_primaries(3);
    let daemon = Daemon::before(&cluster);
    fill(&daemon, KEYS);
    let (is_over, moved) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            let primaries = cluster.primaries().unwrap();
            // One node takes slots of the other two, then the next one does. Those that took slots agree in
            // between.
            for number in (0..15_000).take_while(|_| !is_over.load(Ordering::SeqCst)) {
                let to = primaries[number / 20 % 3];
                if number % 20 == 0 {
                    cluster.wait_until_stable().unwrap();
                }
                let slot = Slot::from_number(number as u64 % 3 * 5461 + number as u64 / 3).unwrap();
                if cluster.owner_of(slot).unwrap().id() != to.id() {
                    let migration = cluster.begin_migration(slot, to).unwrap();
                    migration.move_keys(1).unwrap();
                    migration.finish().unwrap();
                    moved.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        let _over = Over(&is_over);
        let mut client = daemon.client();
        for _ in 0..3 {
            let before = moved.load(Ordering::SeqCst);
            let found = walk(&mut client, &["COUNT", "200"], |_| thread::sleep(Duration::from_millis(5)));
            assert!(moved.load(Ordering::SeqCst) > before + 5, "hardly a slot moved");
            assert_all(found, KEYS);
            let keys = client.command(&["KEYS", "stable:*"]).unwrap();
            assert_eq!(keys.items().len(), KEYS);
            assert_all(keys.items().iter().map(Reply::text), KEYS);
        }
    });
}

#[test]
fn no_key_is_missed_when_a_slot_leaves_for_a_node_that_was_scanned_before() {
    let cluster = own_primaries(3);
    let daemon = Daemon::before(&cluster);
    fill(&daemon, KEYS);
    let mut client = daemon.client();
    // The last slots belong to the node that comes last; those before have been scanned when the first half
    // is there.
    let first = cluster.owner_of(Slot::from_number(0).unwrap()).unwrap();
    let slots: Vec<Slot> = (16_370..16_384).filter_map(Slot::from_number).collect();
    let mut migrations = None;
    let found = walk(&mut client, &["COUNT", "100"], |so_far| {
        if so_far > KEYS / 2 && migrations.is_none() {
            for slot in &slots[1..] {
                cluster.migrate(*slot, first).unwrap();
            }
            // This one stays on its way: its keys are on a node that does not own it.
            let half_way = cluster.begin_migration(slots[0], first).unwrap();
            assert!(half_way.move_keys(1_000).unwrap() > 0);
            migrations = Some(half_way);
        }
    });
    assert_all(found, KEYS);
    let keys = client.command(&["KEYS", "*"]).unwrap();
    assert_eq!(keys.items().len(), KEYS);
    migrations.unwrap().finish().unwrap();
}

#[test]
fn no_key_is_missed_when_a_replica_takes_over() {
    for orderly in [true, false] {
        let cluster = Cluster::launch(&ClusterShape::default()).unwrap();
        let url = upstream_url(&cluster);
        let daemon = Daemon::start(&["--upstream", &url, "--upstream-request-timeout", "1s"]);
        fill(&daemon, KEYS);
        let primaries = cluster.primaries().unwrap();
        let replicas: Vec<_> = primaries.iter().map(|node| cluster.replicas_of(node).unwrap()[0]).collect();
        eventually("replicas have all keys", AWAY_LIMIT, || {
            primaries.iter().zip(&replicas).all(|(primary, replica)| {
                let size =
                    |server: &nearside::sandbox::Server| server.command(&["DBSIZE"]).unwrap().integer();
                size(primary.server()) == size(replica.server())
            })
        });
        let mut client = daemon.client();
        let (mut cursor, mut found, mut over) = ("0".to_owned(), Vec::new(), false);
        let deadline = tokio::time::Instant::now() + AWAY_LIMIT;
        loop {
            let reply = scan(&mut client, &cursor, &["COUNT", "100"]);
            if reply.is_error() {
                assert!(tokio::time::Instant::now() < deadline, "the walk cannot go on: {reply:?}");
                thread::sleep(Duration::from_millis(50));
                continue;
            }
            let (next, keys) = page(&reply);
            found.extend(keys);
            // In the middle of the first node's keys.
            if found.len() > KEYS / 6 && !over {
                over = true;
                if !orderly {
                    primaries[0].server().kill9().unwrap();
                }
                cluster.failover(replicas[0]).unwrap();
            }
            cursor = next;
            if cursor == "0" {
                break;
            }
        }
        assert!(over);
        assert_all(found, KEYS);
    }
}

#[test]
fn a_cursor_may_be_shown_again() {
    let cluster = own_primaries(3);
    let daemon = Daemon::before(&cluster);
    fill(&daemon, 3_000);
    let mut client = daemon.client();
    let mut cursor = "0".to_owned();
    let mut found = Vec::new();
    loop {
        // The first reply is lost on its way, say.
        scan(&mut client, &cursor, &["COUNT", "40"]);
        let (next, keys) = page(&scan(&mut client, &cursor, &["COUNT", "40"]));
        found.extend(keys);
        cursor = next;
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(found.len(), 3_000);
    assert_all(found, 3_000);
}

#[test]
fn a_cursor_that_is_not_known_begins_anew() {
    let cluster = own_primaries(3);
    let url = upstream_url(&cluster);
    let daemon = Daemon::start(&["--upstream", &url, "--scan-passes-max", "1"]);
    fill(&daemon, 1_000);
    let mut client = daemon.client();
    let (cursor, _) = page(&scan(&mut client, "0", &[]));
    let before = daemon.counter("scans_restarted");
    // There is room for one walk; this one takes it.
    scan(&mut client, "0", &[]);
    let (mut cursor, mut found) = page(&scan(&mut client, &cursor, &[]));
    assert_eq!(daemon.counter("scans_restarted"), before + 1);
    while cursor != "0" {
        let (next, keys) = page(&scan(&mut client, &cursor, &[]));
        found.extend(keys);
        cursor = next;
    }
    assert_all(found, 1_000);
}

#[test]
fn a_page_and_keys_end_at_their_bound() {
    let cluster = own_primaries(3);
    let url = upstream_url(&cluster);
    let daemon = Daemon::start(&["--upstream", &url, "--keyspace-bytes-max", "100kb"]);
    fill(&daemon, KEYS);
    let mut client = daemon.client();
    let said = client.command(&["KEYS", "*"]).unwrap().text();
    assert!(said.contains("keyspace_bytes_max") && said.contains("SCAN"), "{said}");
    assert_eq!(client.command(&["KEYS", "stable:12345"]).unwrap().items().len(), 1);
    let (cursor, keys) = page(&scan(&mut client, "0", &["COUNT", "1000000"]));
    assert!(cursor != "0" && keys.len() < KEYS);
    assert_all(walk(&mut client, &["COUNT", "1000000"], |_| {}), KEYS);
}

#[test]
fn one_scan_takes_only_so_many_steps() {
    const MANY: usize = 700_000;
    let cluster = own_primaries(1);
    let plain = cluster.nodes()[0].server();
    // In parts: all at once takes longer on a slow machine than an answer may.
    for part in 0..14 {
        let (first, last) = (part * MANY / 14 + 1, (part + 1) * MANY / 14);
        let fill = format!("for n = {first}, {last} do redis.call('SET', n, '') end");
        assert!(!plain.command(&["EVAL", &fill, "0"]).unwrap().is_error());
    }
    let url = upstream_url(&cluster);
    // Time is a bound too, and not the one that is meant to be reached.
    let daemon = Daemon::start(&["--upstream", &url, "--upstream-request-timeout", "1m"]);
    let steps = || {
        let stats = plain.command(&["INFO", "commandstats"]).unwrap().text();
        let calls =
            stats.lines().find_map(|line| line.strip_prefix("cmdstat_scan:calls=")?.split(',').next());
        calls.map_or(0, |calls| calls.parse::<usize>().unwrap())
    };
    let (mut client, options) = (daemon.client(), ["COUNT", "10000000", "MATCH", "none"]);
    let (cursor, keys) = page(&scan(&mut client, "0", &options));
    assert!(cursor != "0" && keys.is_empty(), "{cursor} {keys:?}");
    assert_eq!(steps(), 64);
    let (cursor, _) = page(&scan(&mut client, &cursor, &options));
    assert_eq!(cursor, "0", "the next one goes on to the end");
    assert!((70..128).contains(&steps()), "{}", steps());
}

#[test]
fn keys_and_scan_end_when_nodes_disagree_on_a_slot() {
    let cluster = own_primaries(2);
    let url = upstream_url(&cluster);
    let daemon = Daemon::start(&["--upstream", &url, "--topology-refresh-gap-min", "10ms"]);
    let mut client = daemon.client();
    assert!(client.command(&["KEYS", "*"]).unwrap().items().is_empty());
    let (slot, [first, second]) = (Slot::of(b"disputed"), cluster.nodes()) else { panic!("two nodes") };
    let (owner, other) =
        if cluster.owner_of(slot).unwrap().id() == first.id() { (first, second) } else { (second, first) };
    // The owner says that it is the other's, who does not know of it.
    let said =
        owner.server().command(&["CLUSTER", "SETSLOT", &slot.number().to_string(), "NODE", other.id()]);
    assert!(said.unwrap().is_ok());
    let said = client.command(&["KEYS", "*"]).unwrap();
    assert_eq!(said.text(), "ERR nearside: the cluster's nodes disagree on who owns a slot");
    // SCAN is not at its end before it has seen all, and does not go on for ever either.
    let (mut cursor, mut pages) = ("0".to_owned(), 0);
    let said = loop {
        let reply = scan(&mut client, &cursor, &["COUNT", "100"]);
        if reply.is_error() {
            break reply;
        }
        (cursor, _) = page(&reply);
        assert_ne!(cursor, "0", "a walk that has not seen all is not at its end");
        pages += 1;
        assert!(pages < 200, "it never ends");
    };
    assert_eq!(said.text(), "ERR nearside: the cluster's nodes disagree on who owns a slot");
    // The dispute is over, and the walk goes on where it was.
    let said =
        other.server().command(&["CLUSTER", "SETSLOT", &slot.number().to_string(), "NODE", other.id()]);
    assert!(said.unwrap().is_ok());
    eventually("the walk comes to its end", Duration::from_secs(30), || {
        let reply = scan(&mut client, &cursor, &["COUNT", "100"]);
        if !reply.is_error() {
            (cursor, _) = page(&reply);
        }
        cursor == "0"
    });
}

#[test]
fn what_is_no_scan_gets_the_words_of_redis() {
    let cluster = own_primaries(3);
    let daemon = Daemon::before(&cluster);
    let plain = Standalone::launch(&[]).unwrap();
    let (mut client, mut direct) = (daemon.client(), plain.server().connect().unwrap());
    let requests: [&[&str]; 13] = [
        &["SCAN"],
        &["SCAN", "x"],
        &["SCAN", "5x"],
        &["SCAN", "1 2"],
        &["SCAN", "99999999999999999999"],
        &["SCAN", "0", "COUNT"],
        &["SCAN", "0", "COUNT", "0"],
        &["SCAN", "0", "COUNT", "x"],
        &["SCAN", "0", "FOO", "bar"],
        &["SCAN", "0", "MATCH"],
        &["SCAN", "0", "COUNT", "10", "MATCH"],
        &["KEYS"],
        &["KEYS", "a", "b"],
    ];
    for request in requests {
        let said = direct.command(request).unwrap();
        assert!(said.is_error(), "{request:?} gave {said:?}");
        assert_eq!(client.command(request).unwrap(), said, "{request:?}");
    }
    for cursor in ["18446744073709551615", "+5", "007"] {
        assert!(!scan(&mut client, cursor, &[]).is_error(), "{cursor}");
    }
}

#[test]
fn one_server_is_scanned_too() {
    let plain = Standalone::launch(&[]).unwrap();
    let daemon = Daemon::start(&["--upstream", &format!("redis://{}", plain.server().address())]);
    fill(&daemon, 2_000);
    let found = walk(&mut daemon.client(), &["COUNT", "100"], |_| {});
    assert_all(found, 2_000);
}
