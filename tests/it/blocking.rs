//! Clients that wait: what they get, when, byte for byte as from one server, and what becomes of the wait
//! when the client, the slot or the node goes.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use nearside::protocol::key::Slot;
use nearside::sandbox::client::encode;
use nearside::sandbox::{Address, Cluster, ClusterShape, Node, Reply, SandboxClient, Standalone};
use tokio::time::Instant;

use crate::support::daemon::{Daemon, upstream_url};
use crate::support::servers::{client_of_owner, eventually, own_primaries, owner, shared_cluster};

/// How long anything here may take that is not told to take longer.
const SOON: Duration = Duration::from_secs(10);

/// For what must not happen: long enough that it would have happened by then.
const A_WHILE: Duration = Duration::from_millis(300);

/// What prepares a command that blocks, the command, and what wakes it. A `%` stands for the tag of the keys.
const WOKEN: &[(&[&str], &str, &str)] = &[
    (&[], "BLPOP %a %b 5", "RPUSH %b one two"),
    (&[], "BRPOP %a %b 0", "RPUSH %b one two"),
    (&[], "BLMOVE %a %b LEFT RIGHT 5", "RPUSH %a one"),
    (&[], "BRPOPLPUSH %a %b 5", "RPUSH %a one two"),
    (&[], "BLMPOP 5 2 %a %b LEFT COUNT 2", "RPUSH %b one two three"),
    (&[], "BZPOPMIN %a %b 5", "ZADD %b 1.5 one 2 two"),
    (&[], "BZPOPMAX %a %b 0", "ZADD %b 1.5 one 2 two"),
    (&[], "BZMPOP 5 2 %a %b MIN", "ZADD %b 1.5 one 2 two"),
    (&[], "XREAD BLOCK 5000 STREAMS %a $", "XADD %a 1-1 field value"),
    (&[], "XREAD COUNT 1 BLOCK 0 STREAMS %a %b 0-0 0-0", "XADD %b 1-1 field value"),
    (
        &["XGROUP CREATE %a group $ MKSTREAM"],
        "XREADGROUP GROUP group me BLOCK 5000 STREAMS %a >",
        "XADD %a 1-1 field value",
    ),
];

/// Requests that block for a moment, or not at all.
const NOT_WOKEN: &[(&[&str], &str)] = &[
    (&[], "BLPOP %a 0.05"),
    (&[], "BRPOP %a %b 0.05"),
    (&[], "BLMOVE %a %b LEFT RIGHT 0.05"),
    (&[], "BRPOPLPUSH %a %b 0.05"),
    (&[], "BLMPOP 0.05 1 %a LEFT"),
    (&[], "BZPOPMIN %a 0.05"),
    (&[], "BZPOPMAX %a 0.05"),
    (&[], "BZMPOP 0.05 1 %a MIN"),
    (&[], "XREAD BLOCK 50 STREAMS %a $"),
    (&["XGROUP CREATE %a group $ MKSTREAM"], "XREADGROUP GROUP group me BLOCK 50 STREAMS %a >"),
    (&["RPUSH %a one two"], "BLPOP %b %a 0"),
    (&["RPUSH %a one two"], "BLMPOP 0 2 %b %a RIGHT COUNT 9"),
    (&["ZADD %a 3.25 one"], "BZPOPMIN %a 0"),
    (&["ZADD %a 3.25 one"], "BZMPOP 0 1 %a MAX"),
    (&["XADD %a 1-1 field value"], "XREAD BLOCK 0 STREAMS %a 0"),
    (&[], "BLPOP %a x"),
    (&[], "BLPOP %a -1"),
    (&[], "BLPOP %a"),
    (&["SET %a string"], "BLPOP %a 0"),
    (&[], "BLMOVE %a %b UP DOWN 0"),
    (&[], "BLMPOP 0 0 %a LEFT"),
    (&[], "BZMPOP -1 1 %a MIN"),
    (&[], "XREAD BLOCK x STREAMS %a 0"),
    (&[], "XREAD BLOCK -1 STREAMS %a 0"),
    (&[], "XREADGROUP GROUP none me BLOCK 0 STREAMS %a >"),
];

fn words(request: &str, tag: &str) -> Vec<String> {
    request.split(' ').map(|word| word.replace('%', tag)).collect()
}

/// A client that speaks this version.
fn speaking(mut client: SandboxClient, version: u8) -> SandboxClient {
    client.hello(version).unwrap();
    client
}

/// Held by each test that waits on the cluster that all share: what a node holds for one of them is counted.
static WAITING: Mutex<()> = Mutex::new(());

/// Keeps the other tests from waiting on the shared cluster meanwhile.
fn waits_alone() -> MutexGuard<'static, ()> {
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many clients of the daemon are blocked.
fn blocked(daemon: &Daemon) -> u64 {
    let info = daemon.client().command(&["INFO", "clients"]).unwrap().text();
    info.lines().find_map(|line| line.strip_prefix("blocked_clients:")).unwrap().trim().parse().unwrap()
}

fn until_blocked(daemon: &Daemon, clients: u64) {
    eventually("the clients are blocked", SOON, || blocked(daemon) == clients);
}

/// How many clients the node itself holds blocked.
fn held_at(node: &Node) -> String {
    let info = node.server().command(&["INFO", "clients"]).unwrap().text();
    info.lines().find_map(|line| line.strip_prefix("blocked_clients:")).unwrap().trim().to_owned()
}

fn until_held(node: &Node, clients: usize) {
    eventually("the node holds them", SOON, || held_at(node) == clients.to_string());
}

#[test]
fn those_who_are_woken_get_what_one_server_gives() {
    let _alone = waits_alone();
    let alone = Standalone::launch(&[]).unwrap();
    let daemon = Daemon::before(shared_cluster());
    for (case, (prepared, blocking, waking)) in WOKEN.iter().enumerate() {
        for version in [2, 3] {
            let tag = format!("{{woken:{case}:{version}}}");
            let direct = {
                let mut client = speaking(alone.server().connect().unwrap(), version);
                let mut other = alone.server().connect().unwrap();
                prepared.iter().for_each(|request| drop(other.command(&words(request, &tag)).unwrap()));
                client.send(&words(blocking, &tag)).unwrap();
                eventually("it is blocked", SOON, || {
                    let info = other.command(&["INFO", "clients"]).unwrap().text();
                    info.contains("blocked_clients:1")
                });
                assert!(!other.command(&words(waking, &tag)).unwrap().is_error());
                client.receive_raw().unwrap()
            };
            let mut client = speaking(daemon.client(), version);
            let mut other = daemon.client();
            prepared.iter().for_each(|request| drop(other.command(&words(request, &tag)).unwrap()));
            client.send(&words(blocking, &tag)).unwrap();
            until_blocked(&daemon, 1);
            until_held(owner(shared_cluster(), tag.as_bytes()), 1);
            assert!(!other.command(&words(waking, &tag)).unwrap().is_error());
            let through = client.receive_raw().unwrap();
            let shown = |bytes: &[u8]| bytes.escape_ascii().to_string();
            assert_eq!(shown(&through), shown(&direct), "{blocking} in version {version}");
            until_blocked(&daemon, 0);
        }
    }
    daemon.assert_quiet();
}

#[test]
fn those_who_are_not_woken_get_what_one_server_gives() {
    let _alone = waits_alone();
    let alone = Standalone::launch(&[]).unwrap();
    let daemon = Daemon::before(shared_cluster());
    for (case, (prepared, request)) in NOT_WOKEN.iter().enumerate() {
        for version in [2, 3] {
            let tag = format!("{{still:{case}:{version}}}");
            let answers = [alone.server().connect().unwrap(), daemon.client()].map(|client| {
                let mut client = speaking(client, version);
                prepared.iter().for_each(|request| drop(client.command(&words(request, &tag)).unwrap()));
                client.send(&words(request, &tag)).unwrap();
                client.receive_raw().unwrap().escape_ascii().to_string()
            });
            assert_eq!(answers[1], answers[0], "{request} in version {version}");
        }
    }
}

#[test]
fn keys_of_several_slots_cannot_be_waited_for() {
    let daemon = Daemon::before(shared_cluster());
    let reply = daemon.client().command(&["BLPOP", "one", "another", "0"]).unwrap();
    assert_eq!(reply.text(), "CROSSSLOT Keys in request don't hash to the same slot");
}

#[test]
fn a_pipeline_stays_in_order_around_a_wait() {
    let _alone = waits_alone();
    let daemon = Daemon::before(shared_cluster());
    let (mut client, mut other) = (daemon.client(), daemon.client());
    let requests: [&[&str]; 5] = [
        &["SET", "order:1", "before"],
        &["BLPOP", "order:2", "0"],
        &["GET", "order:1"],
        &["LLEN", "order:2"],
        &["SET", "order:1", "after"],
    ];
    client.send_raw(&requests.iter().flat_map(|request| encode(request)).collect::<Vec<u8>>()).unwrap();
    assert!(client.receive().unwrap().is_ok());
    until_blocked(&daemon, 1);
    // What stands behind the wait has not been done.
    assert_eq!(other.command(&["GET", "order:1"]).unwrap(), Reply::bulk("before"));
    assert!(other.command(&["SET", "order:1", "meanwhile"]).unwrap().is_ok());
    assert_eq!(other.command(&["RPUSH", "order:2", "element"]).unwrap(), Reply::Integer(1));
    let popped = Reply::Array(vec![Reply::bulk("order:2"), Reply::bulk("element")]);
    assert_eq!(client.receive().unwrap(), popped);
    assert_eq!(client.receive().unwrap(), Reply::bulk("meanwhile"));
    assert_eq!(client.receive().unwrap(), Reply::Integer(0));
    assert!(client.receive().unwrap().is_ok());
}

#[test]
fn what_a_wait_took_is_not_read_from_memory_any_more() {
    let _alone = waits_alone();
    let daemon = Daemon::before(shared_cluster());
    daemon.until_tracked(3);
    let (mut waiter, mut reader) = (daemon.client(), daemon.client());
    for round in 0..50 {
        let list = format!("{{taken}}:{round}");
        waiter.send(&["BLPOP", &list, "0"]).unwrap();
        until_held(owner(shared_cluster(), b"{taken}"), 1);
        // It is absent, and stays so in memory while somebody waits for it.
        let hits = daemon.counter("l1_hits");
        (0..3).for_each(|_| assert_eq!(reader.command(&["LLEN", &list]).unwrap(), Reply::Integer(0)));
        assert_eq!(daemon.counter("l1_hits"), hits + 2);
        client_of_owner(shared_cluster(), b"{taken}").command(&["RPUSH", &list, "one", "two"]).unwrap();
        assert_eq!(waiter.receive().unwrap().items().len(), 2);
        assert_eq!(waiter.command(&["LRANGE", &list, "0", "-1"]).unwrap().items(), [Reply::bulk("two")]);
        assert_eq!(reader.command(&["LLEN", &list]).unwrap(), Reply::Integer(1));
        reader.command(&["DEL", &list]).unwrap();
    }
}

#[test]
fn client_unblock_ends_a_wait() {
    let _alone = waits_alone();
    let daemon = Daemon::before(shared_cluster());
    let (mut client, mut other) = (daemon.client(), daemon.client());
    let id = client.command(&["CLIENT", "ID"]).unwrap().integer().unwrap().to_string();
    let mut unblock = |rest: &[&str]| other.command(&[&["CLIENT", "UNBLOCK"], rest].concat()).unwrap();
    assert_eq!(unblock(&[&id]), Reply::Integer(0), "it does not wait");
    for (reason, expected) in [
        (&[][..], Reply::Nil(b'*')),
        (&["TIMEOUT"], Reply::Nil(b'*')),
        (&["error"], Reply::Error(b"UNBLOCKED client unblocked via CLIENT UNBLOCK".to_vec())),
    ] {
        client.send(&["BLPOP", "unblock:list", "0"]).unwrap();
        until_blocked(&daemon, 1);
        assert_eq!(unblock(&[&[id.as_str()], reason].concat()), Reply::Integer(1));
        assert_eq!(client.receive().unwrap(), expected);
        assert_eq!(unblock(&[&id]), Reply::Integer(0));
    }
    client.send(&["WAIT", "9", "0"]).unwrap();
    until_blocked(&daemon, 1);
    assert_eq!(unblock(&[&id, "ERROR"]), Reply::Integer(1));
    assert!(client.receive().unwrap().text().starts_with("UNBLOCKED"));
    assert_eq!(unblock(&["123456789"]), Reply::Integer(0));
    assert_eq!(unblock(&["x"]).text(), "ERR value is not an integer or out of range");
    assert_eq!(unblock(&[&id, "x"]).text(), "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
}

#[test]
fn an_unblock_that_races_with_an_element_loses_nothing() {
    let _alone = waits_alone();
    let url = upstream_url(shared_cluster());
    let daemon = Daemon::start(&["--workers", "2", "--upstream", &url]);
    let (mut client, mut other) = (daemon.client(), daemon.client());
    let mut direct = client_of_owner(shared_cluster(), b"{race}");
    let id = client.command(&["CLIENT", "ID"]).unwrap().integer().unwrap().to_string();
    let mut counts = [0, 0];
    for round in 0..200 {
        let list = format!("{{race}}:{round}");
        client.send(&["BLPOP", &list, "0"]).unwrap();
        until_blocked(&daemon, 1);
        // The order to unblock has the longer way: sometimes it gets a head start.
        let (push, unblock) = (["RPUSH", &list, "element"], ["CLIENT", "UNBLOCK", &id]);
        if round % 2 == 0 {
            direct.send(&push).unwrap();
            other.send(&unblock).unwrap();
        } else {
            other.send(&unblock).unwrap();
            thread::sleep(Duration::from_micros(20 * round));
            direct.send(&push).unwrap();
        }
        let unblocked = other.receive().unwrap().integer().unwrap();
        direct.receive().unwrap();
        let left = direct.command(&["LLEN", &list]).unwrap();
        let got = client.receive().unwrap();
        counts[unblocked as usize] += 1;
        if unblocked == 1 {
            assert!(got.is_nil() && left == Reply::Integer(1), "{got:?}, {left:?} left");
        } else {
            assert!(got.items().len() == 2 && left == Reply::Integer(0), "{got:?}, {left:?} left");
        }
    }
    assert!(counts.iter().all(|count| *count > 0), "{counts:?} were served and unblocked");
}

#[test]
fn who_is_killed_or_unblocked_takes_nothing_that_is_pushed_behind_that() {
    let _alone = waits_alone();
    let daemon = Daemon::before(shared_cluster());
    let mut other = daemon.client();
    for round in 0..60 {
        let list = format!("killed:{round}");
        let mut waiting = daemon.client();
        let id = waiting.command(&["CLIENT", "ID"]).unwrap();
        let Reply::Integer(id) = id else { panic!("{id:?}") };
        let id = id.to_string();
        waiting.send(&["BLPOP", &list, "0"]).unwrap();
        until_blocked(&daemon, 1);
        until_held(owner(shared_cluster(), list.as_bytes()), 1);
        let kill = encode(&["CLIENT", "KILL", "ID", &id]);
        let push = encode(&["RPUSH", &list, "element"]);
        let (bytes, replies) = match round % 4 {
            0 => ([kill, push].concat(), 2),
            1 => ([encode(&["MULTI"]), kill, push, encode(&["EXEC"])].concat(), 4),
            2 => ([encode(&["CLIENT", "UNBLOCK", &id]), push].concat(), 2),
            _ => {
                assert_eq!(other.command(&["CLIENT", "KILL", "ID", &id]).unwrap(), Reply::Integer(1));
                (push, 1)
            }
        };
        other.send_raw(&bytes).unwrap();
        let replies: Vec<Reply> = (0..replies).map(|_| other.receive().unwrap()).collect();
        assert!(replies.iter().all(|reply| !reply.is_error()), "{replies:?}");
        if round % 4 == 1 {
            assert_eq!(replies[3].items(), [Reply::Integer(1), Reply::Integer(1)]);
        }
        assert_eq!(other.command(&["LLEN", &list]).unwrap(), Reply::Integer(1), "round {round}: it is lost");
        match round % 4 {
            2 => assert!(waiting.receive().unwrap().is_nil()),
            _ => assert!(waiting.is_closed().unwrap()),
        }
        assert_eq!(blocked(&daemon), 0);
    }
    daemon.assert_quiet();
}

#[test]
fn who_vanishes_takes_nothing_with_him() {
    let _alone = waits_alone();
    let daemon = Daemon::before(shared_cluster());
    let node = owner(shared_cluster(), b"vanish");
    let Address::Tcp(address) = daemon.address() else { panic!("a TCP port") };
    for half in [false, true] {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(&encode(&["BLPOP", "vanish", "0"])).unwrap();
        until_held(node, 1);
        stream.shutdown(if half { Shutdown::Write } else { Shutdown::Both }).unwrap();
        until_held(node, 0);
        until_blocked(&daemon, 0);
        let mut other = daemon.client();
        assert_eq!(other.command(&["RPUSH", "vanish", "element"]).unwrap(), Reply::Integer(1));
        thread::sleep(A_WHILE / 10);
        assert_eq!(other.command(&["BLPOP", "vanish", "1"]).unwrap().items().len(), 2);
    }
    // One that had closed its side before its turn to wait came.
    let mut stream = TcpStream::connect(address).unwrap();
    let requests: [&[&str]; 3] = [&["BLPOP", "vanish", "0.5"], &["PING"], &["BLPOP", "vanish", "0"]];
    stream.write_all(&requests.iter().flat_map(|request| encode(request)).collect::<Vec<u8>>()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    until_held(node, 0);
    until_blocked(&daemon, 0);
    assert!(daemon.counter("dedicated_opened") <= 3, "connections of those who left are used again");
}

#[test]
fn a_drain_ends_waits() {
    let _alone = waits_alone();
    let daemon = Daemon::before(shared_cluster());
    let mut client = daemon.client();
    client.send(&["BLPOP", "drained", "0"]).unwrap();
    until_held(owner(shared_cluster(), b"drained"), 1);
    let begun = Instant::now();
    daemon.stop();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let reply = client.receive().unwrap();
    assert!(reply.text().starts_with("UNBLOCKED nearside: the daemon is shutting down"), "{reply:?}");
    until_held(owner(shared_cluster(), b"drained"), 0);
}

#[test]
fn a_wait_follows_its_slot() {
    let cluster = own_primaries(2);
    let daemon = Daemon::before(&cluster);
    let from = owner(&cluster, b"moved");
    let to = cluster.nodes().iter().find(|node| node.id() != from.id()).unwrap();
    let (mut forever, mut timed, mut other) = (daemon.client(), daemon.client(), daemon.client());
    forever.send(&["BLPOP", "moved", "0"]).unwrap();
    timed.send(&["XREAD", "BLOCK", "8000", "STREAMS", "{moved}stream", "0"]).unwrap();
    until_held(from, 2);
    cluster.migrate(Slot::of(b"moved"), to).unwrap();
    until_held(to, 2);
    assert_eq!(other.command(&["RPUSH", "moved", "element"]).unwrap(), Reply::Integer(1));
    let popped = Reply::Array(vec![Reply::bulk("moved"), Reply::bulk("element")]);
    assert_eq!(forever.receive().unwrap(), popped);
    other.command(&["XADD", "{moved}stream", "1-1", "field", "value"]).unwrap();
    assert_eq!(timed.receive().unwrap().items().len(), 1);
    until_blocked(&daemon, 0);
}

#[test]
fn a_wait_keeps_its_time_when_its_slot_moves() {
    let cluster = own_primaries(2);
    let daemon = Daemon::before(&cluster);
    let from = owner(&cluster, b"moved");
    let to = cluster.nodes().iter().find(|node| node.id() != from.id()).unwrap();
    let mut client = daemon.client();
    let begun = Instant::now();
    client.send(&["BLPOP", "moved", "8"]).unwrap();
    until_held(from, 1);
    thread::sleep(Duration::from_secs(6));
    cluster.migrate(Slot::of(b"moved"), to).unwrap();
    assert!(client.receive().unwrap().is_nil());
    let took = begun.elapsed();
    // One that begins anew would take six more.
    assert!(took >= Duration::from_millis(7_900) && took < Duration::from_millis(13_900), "{took:?}");
}

#[test]
fn a_wait_goes_to_an_importing_node_when_it_must() {
    let cluster = own_primaries(2);
    let daemon = Daemon::before(&cluster);
    let from = owner(&cluster, b"asked");
    let to = cluster.nodes().iter().find(|node| node.id() != from.id()).unwrap();
    let migration = cluster.begin_migration(Slot::of(b"asked"), to).unwrap();
    let (mut client, mut other) = (daemon.client(), daemon.client());
    client.send(&["BLPOP", "asked", "0"]).unwrap();
    until_held(to, 1);
    assert_eq!(other.command(&["RPUSH", "asked", "element"]).unwrap(), Reply::Integer(1));
    assert_eq!(client.receive().unwrap().items().len(), 2);
    migration.finish().unwrap();
}

#[test]
fn a_wait_goes_on_after_a_failover() {
    let cluster = Cluster::launch(&ClusterShape::default()).unwrap();
    let daemon = Daemon::before(&cluster);
    let primary = owner(&cluster, b"failover");
    let replica = cluster.replicas_of(primary).unwrap()[0];
    let mut client = daemon.client();
    client.set_timeout(Duration::from_secs(20)).unwrap();
    client.send(&["BLPOP", "failover", "0"]).unwrap();
    until_held(primary, 1);
    cluster.failover(replica).unwrap();
    until_held(replica, 1);
    let mut other = daemon.client();
    eventually("an element is pushed", SOON, || {
        other.command(&["RPUSH", "failover", "element"]).unwrap() == Reply::Integer(1)
    });
    assert_eq!(client.receive().unwrap().items().len(), 2);
}

#[test]
fn a_wait_at_a_node_that_dies_is_an_error_unless_it_only_reads() {
    let cluster = Cluster::launch(&ClusterShape::default()).unwrap();
    let daemon = Daemon::before(&cluster);
    let primary = owner(&cluster, b"{dies}");
    let replica = cluster.replicas_of(primary).unwrap()[0];
    let (mut pops, mut reads) = (daemon.client(), daemon.client());
    reads.set_timeout(Duration::from_secs(30)).unwrap();
    pops.send(&["BLPOP", "{dies}list", "0"]).unwrap();
    reads.send(&["XREAD", "BLOCK", "0", "STREAMS", "{dies}stream", "0"]).unwrap();
    until_held(primary, 2);
    primary.server().kill9().unwrap();
    let text = pops.receive().unwrap().text();
    assert!(text.contains("was lost") && text.contains("may or may not have been executed"), "{text}");
    cluster.failover(replica).unwrap();
    let reply = loop {
        let mut other = daemon.client();
        let added = other.command(&["XADD", "{dies}stream", "1-1", "field", "value"]).unwrap();
        if !added.is_error() {
            break reads.receive().unwrap();
        }
        thread::sleep(Duration::from_millis(50));
    };
    // The wait may have been told of the dead node before the new primary was known.
    assert!(reply.items().len() == 1 || reply.text().contains("unreachable"), "{reply:?}");
}

#[test]
fn a_wait_at_a_node_that_hangs_ends_when_its_slot_has_another_owner() {
    let cluster = Cluster::launch(&ClusterShape::default()).unwrap();
    let arguments = ["--upstream", &upstream_url(&cluster)];
    let daemon = Daemon::start(&[&arguments[..], &["--upstream-request-timeout", "1s"]].concat());
    let primary = owner(&cluster, b"hangs");
    let replica = cluster.replicas_of(primary).unwrap()[0];
    let mut client = daemon.client();
    client.set_timeout(Duration::from_secs(30)).unwrap();
    client.send(&["BLPOP", "hangs", "0"]).unwrap();
    until_held(primary, 1);
    primary.server().stop_signal().unwrap();
    replica.server().command(&["CLUSTER", "FAILOVER", "FORCE"]).unwrap();
    let text = client.receive().unwrap().text();
    assert!(text.contains("the slot has another owner"), "{text}");
    primary.server().continue_signal().unwrap();
}

#[test]
fn a_thousand_wait_while_others_are_served() {
    let _alone = waits_alone();
    const WAITERS: usize = 1_000;
    let daemon = Daemon::before(shared_cluster());
    let mut waiters: Vec<SandboxClient> = (0..WAITERS).map(|_| daemon.client()).collect();
    for (number, waiter) in waiters.iter_mut().enumerate() {
        waiter.set_timeout(Duration::from_secs(30)).unwrap();
        waiter.send(&["BLPOP", &format!("thousand:{number}"), "0"]).unwrap();
    }
    eventually("all wait", Duration::from_secs(30), || {
        let nodes = shared_cluster().primaries().unwrap();
        nodes.iter().map(|node| held_at(node).parse::<usize>().unwrap()).sum::<usize>() >= WAITERS
    });
    assert_eq!(blocked(&daemon), WAITERS as u64);
    let mut client = daemon.client();
    assert!(client.command(&["SET", "thousand", "value"]).unwrap().is_ok());
    assert_eq!(client.command(&["GET", "thousand"]).unwrap(), Reply::bulk("value"));
    let hits = daemon.counter("l1_hits");
    (0..5_000).for_each(|_| assert_eq!(client.command(&["GET", "thousand"]).unwrap(), Reply::bulk("value")));
    assert!(daemon.counter("l1_hits") >= hits + 4_900);
    for number in 0..WAITERS {
        client.send(&["RPUSH", &format!("thousand:{number}"), &number.to_string()]).unwrap();
    }
    (0..WAITERS).for_each(|_| assert_eq!(client.receive().unwrap(), Reply::Integer(1)));
    for (number, waiter) in waiters.iter_mut().enumerate() {
        assert_eq!(waiter.receive().unwrap().items()[1], Reply::bulk(number.to_string()));
    }
    until_blocked(&daemon, 0);
}

#[test]
fn wait_tells_who_has_what_this_client_wrote() {
    let cluster = Cluster::launch(&ClusterShape { primaries: 2, ..ClusterShape::default() }).unwrap();
    let daemon = Daemon::before(&cluster);
    let (written, unwritten) = (owner(&cluster, b"waited"), "waited");
    let replica = cluster.replicas_of(written).unwrap()[0];
    let other_key = (0..).map(|number| format!("elsewhere:{number}"));
    let other_key =
        other_key.into_iter().find(|key| owner(&cluster, key.as_bytes()).id() != written.id()).unwrap();
    let (mut client, mut elsewhere, mut reader) = (daemon.client(), daemon.client(), daemon.client());
    let wait = |client: &mut SandboxClient, replicas: &str, timeout: &str| {
        client.command(&["WAIT", replicas, timeout]).unwrap()
    };
    assert_eq!(
        wait(&mut reader, "1", "1000"),
        Reply::Integer(1),
        "who wrote nothing has nothing to wait for"
    );
    client.command(&["SET", unwritten, "1"]).unwrap();
    assert_eq!(wait(&mut client, "1", "5000"), Reply::Integer(1));
    replica.server().stop_signal().unwrap();
    client.command(&["SET", unwritten, "2"]).unwrap();
    let begun = Instant::now();
    assert_eq!(wait(&mut client, "1", "500"), Reply::Integer(0), "its replica does not have it");
    assert!(begun.elapsed() >= Duration::from_millis(400), "{:?}", begun.elapsed());
    elsewhere.command(&["SET", &other_key, "1"]).unwrap();
    assert_eq!(wait(&mut elsewhere, "1", "5000"), Reply::Integer(1), "its own replica has it");
    // The least of both counts.
    elsewhere.command(&["SET", unwritten, "3"]).unwrap();
    assert_eq!(wait(&mut elsewhere, "1", "300"), Reply::Integer(0));
    client.send(&["WAIT", "1", "0"]).unwrap();
    until_blocked(&daemon, 1);
    thread::sleep(A_WHILE);
    replica.server().continue_signal().unwrap();
    assert_eq!(client.receive().unwrap(), Reply::Integer(1), "it has come");
    assert!(wait(&mut client, "x", "0").is_error());
    assert!(wait(&mut client, "1", "-1").is_error());
}

#[test]
fn waitaof_tells_what_is_on_disk() {
    let extra_args = ["--appendonly", "yes", "--appendfsync", "everysec"].map(str::to_owned).to_vec();
    let shape = ClusterShape { primaries: 2, extra_args, ..ClusterShape::default() };
    let cluster = Cluster::launch(&shape).unwrap();
    let daemon = Daemon::before(&cluster);
    let mut client = daemon.client();
    client.set_timeout(Duration::from_secs(20)).unwrap();
    let written = owner(&cluster, b"on disk");
    client.command(&["SET", "on disk", "1"]).unwrap();
    let reply = client.command(&["WAITAOF", "1", "1", "10000"]).unwrap();
    let direct = written.server().connect().unwrap().command(&["WAITAOF", "0", "0", "0"]).unwrap();
    if direct.is_error() {
        // Redis before 7.2 does not know it, and says so.
        assert!(reply.text().starts_with("ERR unknown command 'WAITAOF'"), "{reply:?}");
        return;
    }
    assert_eq!(reply.items(), [Reply::Integer(1), Reply::Integer(1)]);
    let replica = cluster.replicas_of(written).unwrap()[0];
    replica.server().stop_signal().unwrap();
    client.command(&["SET", "on disk", "2"]).unwrap();
    let reply = client.command(&["WAITAOF", "1", "1", "3000"]).unwrap();
    assert_eq!(reply.items(), [Reply::Integer(1), Reply::Integer(0)], "its replica does not have it");
    replica.server().continue_signal().unwrap();
}

#[test]
fn nodes_that_send_a_wait_to_each_other_end_in_an_error() {
    let cluster = own_primaries(2);
    let daemon = Daemon::before(&cluster);
    daemon.until_tracked(2);
    let slot = Slot::of(b"circle").to_string();
    let first = owner(&cluster, b"circle");
    let second = cluster.nodes().iter().find(|node| node.id() != first.id()).unwrap();
    for (node, other) in [(first, second), (second, first)] {
        assert!(node.server().command(&["CLUSTER", "SETSLOT", &slot, "NODE", other.id()]).unwrap().is_ok());
    }
    let reply = daemon.client().command(&["BLPOP", "circle", "0"]).unwrap();
    assert!(reply.text().contains("redirected more than 16 times"), "{reply:?}");
}
