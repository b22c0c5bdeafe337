//! What a node hangs up on is refused before it is sent, or sent apart: nobody but who went too far notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nearside::sandbox::client::encode;
use nearside::sandbox::{Cluster, ClusterShape, Reply, SandboxClient, Standalone};

use crate::support::daemon::Daemon;
use crate::support::servers::eventually;
use crate::support::slow_link::SlowLink;

const MIB: usize = 1024 * 1024;

/// How long anything here may take.
const SOON: Duration = Duration::from_secs(10);

/// Clients that ask something small again and again, each of keys of its own, while somebody else goes too
/// far.
struct Others {
    done: Arc<AtomicBool>,
    clients: Vec<JoinHandle<(usize, Vec<String>)>>,
}

impl Others {
    /// Those who write.
    fn of(daemon: &Daemon) -> Others {
        Others::who(daemon, "INCR")
    }

    /// Those who send `command` with a key alone.
    fn who(daemon: &Daemon, command: &'static str) -> Others {
        let done = Arc::new(AtomicBool::new(false));
        let clients = (0..6).map(|number| {
            let (mut client, done) = (patient(daemon), done.clone());
            thread::spawn(move || {
                let (mut errors, mut turn) = (Vec::new(), 0);
                while !done.load(Ordering::Relaxed) {
                    turn += 1;
                    let reply = client.command(&[command, &format!("small:{number}:{}", turn % 50)]).unwrap();
                    if reply.is_error() {
                        errors.push(reply.text());
                    }
                }
                (turn, errors)
            })
        });
        Others { clients: clients.collect(), done }
    }

    /// None of them has met an error, and all went on.
    fn saw_nothing(self) {
        self.done.store(true, Ordering::Relaxed);
        for client in self.clients {
            let (turns, errors) = client.join().unwrap();
            assert!(turns > 1 && errors.is_empty(), "{turns} turns, {errors:?}");
        }
    }
}

/// A client that waits for long: large values take their time where much else runs.
fn patient(daemon: &Daemon) -> SandboxClient {
    let client = daemon.client();
    client.set_timeout(Duration::from_secs(60)).unwrap();
    client
}

fn server(settings: &[&str]) -> (Standalone, Daemon) {
    let settings: Vec<String> = settings.iter().map(|setting| (*setting).to_owned()).collect();
    let upstream = Standalone::launch(&settings).unwrap();
    let daemon = Daemon::start(&["--upstream", &format!("redis://{}", upstream.server().address())]);
    daemon.until_tracked(1);
    (upstream, daemon)
}

fn lost(daemon: &Daemon) -> u64 {
    daemon.counter("upstream_losses")
}

#[test]
fn an_argument_beyond_proto_max_bulk_len_is_refused_and_nobody_else_notices() {
    let (_upstream, daemon) = server(&["--proto-max-bulk-len", "1mb"]);
    let (others, mut client) = (Others::of(&daemon), patient(&daemon));
    let large = vec![b'v'; 2 * MIB];
    let requests: [&[&[u8]]; 5] = [
        &[b"SET", b"key", &large],
        &[b"GET", &large],
        &[b"EVAL", b"return 1", b"0", &large],
        &[b"MSET", b"a", b"1", b"b", &large],
        &[b"PUBLISH", b"channel", &large],
    ];
    for request in requests {
        let reply = client.command(request).unwrap().text();
        assert!(reply.starts_with("ERR Protocol error: invalid bulk length: nearside: node "), "{reply}");
        assert!(reply.contains("proto-max-bulk-len") && reply.ends_with("was not executed"), "{reply}");
    }
    assert!(client.command(&[&b"SET"[..], b"key", &large[..MIB]]).unwrap().is_ok());
    others.saw_nothing();
    assert_eq!(lost(&daemon), 0);
}

#[test]
fn an_argument_or_a_transaction_beyond_client_query_buffer_limit_is_refused() {
    let (_upstream, daemon) = server(&["--client-query-buffer-limit", "1mb"]);
    let (others, mut client) = (Others::of(&daemon), patient(&daemon));
    let (large, half) = (vec![b'v'; 2 * MIB], vec![b'v'; 600 * 1024]);
    let reply = client.command(&[&b"SET"[..], b"key", &large]).unwrap().text();
    assert!(reply.starts_with("ERR nearside: the request is too large: node "), "{reply}");
    assert!(reply.contains("client-query-buffer-limit") && reply.contains("an argument"), "{reply}");
    // Its sum passes the limit.
    client.command(&["MULTI"]).unwrap();
    for key in ["{t}1", "{t}2", "{t}3"] {
        assert_eq!(client.command(&[&b"SET"[..], key.as_bytes(), &half]).unwrap().text(), "QUEUED");
    }
    let reply = client.command(&["EXEC"]).unwrap().text();
    assert!(reply.contains("client-query-buffer-limit") && reply.contains("the transaction"), "{reply}");
    assert!(client.command(&["GET", "{t}1"]).unwrap().is_nil(), "nothing of it was carried out");
    // The same without a transaction is taken, one after the other.
    let request: [&[u8]; 7] = [b"MSET", b"{t}1", &half, b"{t}2", &half, b"{t}3", &half];
    assert!(client.command(&request).unwrap().is_ok());
    others.saw_nothing();
    assert_eq!(lost(&daemon), 0);
}

#[test]
fn the_connection_is_exempt_from_maxmemory_clients_where_that_is_allowed() {
    let (_upstream, daemon) = server(&["--maxmemory-clients", "8mb"]);
    let (others, mut client) = (Others::of(&daemon), patient(&daemon));
    let value = vec![b'v'; MIB];
    for _ in 0..40 {
        client.send(&[&b"RPUSH"[..], b"list", &value]).unwrap();
    }
    (0..40).for_each(|_| assert!(!client.receive().unwrap().is_error()));
    assert_eq!(client.command(&["LRANGE", "list", "0", "-1"]).unwrap().items().len(), 40);
    others.saw_nothing();
    assert_eq!(lost(&daemon), 0);
}

#[test]
fn a_limit_that_a_cluster_came_to_have_is_known_from_the_next_connection_on() {
    let cluster = Cluster::launch(&ClusterShape { primaries: 1, ..ClusterShape::default() }).unwrap();
    let daemon = Daemon::before(&cluster);
    daemon.until_tracked(1);
    let node = &cluster.nodes()[0];
    cluster.command(node, &["CONFIG", "SET", "proto-max-bulk-len", "1mb"]).unwrap();
    let (mut client, large) = (daemon.client(), vec![b'v'; 2 * MIB]);
    // What is large has a connection of its own, which is begun now and knows the limit.
    for _ in 0..2 {
        let refused = client.command(&[&b"SET"[..], b"key", &large]).unwrap().text();
        assert!(refused.contains("proto-max-bulk-len"), "{refused}");
    }
    assert_eq!(lost(&daemon), 0, "the node has hung up on nobody");
    assert_eq!(client.command(&["INCR", "counter"]).unwrap(), Reply::Integer(1));
}

/// What a node lets wait for a client is less than what the list of forty has.
const SETTINGS: [&[&str]; 2] = [
    &["--client-output-buffer-limit", "normal 16mb 8mb 5"],
    &["--client-output-buffer-limit", "normal 0 8mb 1"],
];

fn fill_list(client: &mut SandboxClient, key: &str, elements: usize) {
    let value = vec![b'v'; MIB];
    for _ in 0..elements {
        assert!(!client.command(&[&b"RPUSH"[..], key.as_bytes(), &value]).unwrap().is_error());
    }
}

#[test]
fn a_reply_beyond_client_output_buffer_limit_costs_nobody_else_anything() {
    for settings in SETTINGS {
        let (_upstream, daemon) = server(settings);
        let (others, mut client) = (Others::of(&daemon), patient(&daemon));
        fill_list(&mut client, "list", 40);
        // Whether the node gives the whole or hangs up is between it and who asks.
        let requests: [&[&str]; 5] = [
            &["LRANGE", "list", "0", "-1"],
            &["SORT", "list", "BY", "nosort"],
            &["EVAL", "return redis.call('LRANGE', KEYS[1], 0, -1)", "1", "list"],
            &["EVAL_RO", "return redis.call('LRANGE', KEYS[1], 0, -1)", "1", "list"],
            &["EVAL", "return string.rep(string.rep('x', 100000), 400)", "0"],
        ];
        for request in requests {
            let reply = client.command(request).unwrap();
            assert!(!reply.is_error() || reply.text().contains("lost"), "{request:?}: {}", reply.text());
        }
        client.command(&["MULTI"]).unwrap();
        client.command(&["INCR", "{list}:counter"]).unwrap();
        client.command(&["LRANGE", "list", "0", "-1"]).unwrap();
        let reply = client.command(&["EXEC"]).unwrap();
        assert!(!reply.is_error() || reply.text().contains("lost"), "{}", reply.text());
        others.saw_nothing();
        assert_eq!(lost(&daemon), 0, "{settings:?}");
    }
}

#[test]
fn small_replies_are_kept_though_the_node_has_a_limit() {
    let (_upstream, daemon) = server(SETTINGS[0]);
    let mut client = daemon.client();
    client.command(&["HSET", "hash", "field", "value"]).unwrap();
    eventually("it is a hit", SOON, || {
        client.command(&["HGETALL", "hash"]).unwrap();
        daemon.counter("l1_hits") > 0
    });
    assert_eq!(daemon.counter("dedicated_opened"), 0);
}

#[test]
fn the_sizes_of_few_keys_are_asked_for_and_of_many_none() {
    let (upstream, daemon) = server(SETTINGS[0]);
    let mut client = patient(&daemon);
    for (count, is_asked) in [(1, true), (64, true), (65, false), (1_000, false), (5_000, false)] {
        upstream.server().command(&["CONFIG", "RESETSTAT"]).unwrap();
        let keys = (0..count).map(|number| format!("{{{count}}}{number}"));
        let request: Vec<String> = std::iter::once("SUNION".to_owned()).chain(keys).collect();
        assert!(client.command(&request).unwrap().items().is_empty(), "{count} keys");
        let stats = upstream.server().command(&["INFO", "commandstats"]).unwrap().text();
        assert_eq!(stats.contains("cmdstat_memory|usage:"), is_asked, "{count} keys: {stats}");
    }
    // Many clients that each have as many asked for as may be: what is known of one is not forgotten for
    // ever.
    let mut clients: Vec<SandboxClient> = (0..80).map(|_| patient(&daemon)).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        let keys = (0..64).map(|key| format!("{{many}}{number}:{key}"));
        let request: Vec<String> = std::iter::once("SUNION".to_owned()).chain(keys).collect();
        client.send(&request).unwrap();
    }
    for client in &mut clients {
        assert!(client.receive().unwrap().items().is_empty());
    }
}

#[test]
fn what_goes_apart_sees_what_its_session_wrote_before_and_nothing_of_what_comes_behind() {
    let (upstream, daemon) = server(SETTINGS[0]);
    let mut client = daemon.client();
    fill_list(&mut client, "list", 4);
    let other = "o".repeat(10);
    for round in 1..=20 {
        let pipeline = [
            encode(&["LSET", "list", "0", &round.to_string()]),
            encode(&["LRANGE", "list", "0", "-1"]),
            encode(&["LSET", "list", "0", "behind"]),
            encode(&["LINDEX", "list", "0"]),
            encode(&["EVAL", "return redis.call('LPUSHX', KEYS[1], ARGV[1])", "1", "list", &other]),
            encode(&["LPOP", "list"]),
        ];
        client.send_raw(&pipeline.concat()).unwrap();
        assert!(client.receive().unwrap().is_ok());
        assert_eq!(client.receive().unwrap().items()[0], Reply::bulk(round.to_string()));
        assert!(client.receive().unwrap().is_ok());
        assert_eq!(client.receive().unwrap(), Reply::bulk("behind"));
        assert_eq!(client.receive().unwrap(), Reply::Integer(5));
        assert_eq!(client.receive().unwrap(), Reply::bulk(&other));
    }
    assert!(daemon.counter("dedicated_opened") > 0);
    // What a script changed that it did not name is heard of before its reply leaves.
    let mut reader = daemon.client();
    upstream.server().command(&["SET", "hidden", "old"]).unwrap();
    for round in 0..20 {
        reader.command(&["GET", "hidden"]).unwrap();
        reader.command(&["GET", "hidden"]).unwrap();
        let new = round.to_string();
        client.command(&["EVAL", "return redis.call('SET', 'hidden', ARGV[1])", "0", &new]).unwrap();
        assert_eq!(reader.command(&["GET", "hidden"]).unwrap(), Reply::bulk(&new));
    }
}

/// Takes a while, and then changes a key that it does not name.
const CHANGES_HIDDEN: &str = "local function now() local time = redis.call('TIME') return time[1] * 1000000 + time[2] end \
    local began = now() while now() - began < 1500000 do end return redis.call('SET', 'FROM-' .. 'HERE-ON', 'new')";

#[test]
fn what_a_script_changed_is_not_served_from_before_though_nobody_can_ask_whether_it_was_heard_of() {
    let whole = ["EVAL", CHANGES_HIDDEN, "0"];
    for requests in [&[&whole[..]][..], &[&["MULTI"], &["INCR", "counter"], &whole, &["EXEC"]]] {
        let settings: Vec<String> = SETTINGS[0].iter().map(|setting| (*setting).to_owned()).collect();
        let upstream = Standalone::launch(&settings).unwrap();
        let link = SlowLink::to(upstream.server().address());
        let (url, long) = (format!("redis://{}", link.address()), "60s");
        let bounds = ["--upstream-in-flight-max", "40", "--upstream-side-connections-max", "0"];
        let times = ["--upstream-request-timeout", long, "--lease", long, "--heartbeat-interval", "50s"];
        let common = ["--upstream", &url, "--workers", "1"];
        let daemon = Daemon::start(&[&common[..], &bounds, &times].concat());
        daemon.until_tracked(1);
        let mut client = patient(&daemon);
        client.command(&["SET", "FROM-HERE-ON", "old"]).unwrap();
        eventually("it is a hit", SOON, || {
            assert_eq!(client.command(&["GET", "FROM-HERE-ON"]).unwrap(), Reply::bulk("old"));
            daemon.counter("l1_hits") > 0
        });
        // Nothing that the link has seen so far counts.
        let padding = "p".repeat(1_000);
        client.command(&["SET", "padding", &padding]).unwrap();
        assert_eq!(client.command(&["GET", "padding"]).unwrap(), Reply::bulk(&padding));
        // The push comes to an end long after the reply.
        link.trickle_behind("FROM-HERE-ON", Duration::from_secs(600));
        requests.iter().for_each(|request| client.send(request).unwrap());
        eventually("it runs", SOON, || {
            let mut probe = upstream.server().connect().unwrap();
            probe.set_timeout(Duration::from_millis(100)).unwrap();
            probe.command(&["PING"]).is_err()
        });
        // What is sent behind it fills the connection, which the push then holds up.
        let mut others = daemon.client();
        for number in 0..60 {
            others.send(&["INCR", &format!("other:{number}")]).unwrap();
        }
        eventually("no more is let in", SOON, || daemon.counter("upstream_refusals") > 0);
        for _ in requests {
            let reply = client.receive().unwrap();
            assert!(!reply.is_error(), "{}", reply.text());
        }
        let read = client.command(&["GET", "FROM-HERE-ON"]).unwrap();
        assert_ne!(read, Reply::bulk("old"));
        eventually("the push is slow", SOON, || link.slowed() > 0);
    }
}

/// So long others are at it before and after.
const MEANWHILE: Duration = Duration::from_millis(500);

#[test]
fn what_cut_a_connection_is_not_sent_on_the_next_one_that_others_use() {
    // It does not tell what it limits.
    let settings = "--client-output-buffer-limit normal 1mb 0 0 --user default on nopass ~* &* +@all -config";
    let settings: Vec<String> = settings.split(' ').map(str::to_owned).collect();
    let upstream = Standalone::launch(&settings).unwrap();
    let url = format!("redis://{}", upstream.server().address());
    let daemon = Daemon::start(&["--upstream", &url, "--l1-size", "0"]);
    let mut client = patient(&daemon);
    eventually("the server is reached", SOON, || client.command(&["GET", "key"]).unwrap().is_nil());
    let large = vec![b'v'; 8 * MIB];
    assert!(client.command(&[&b"SET"[..], b"large", &large]).unwrap().is_ok());
    // The first time nobody knows: what others read is asked once more, and what was under way apart from all
    // else.
    let others = Others::who(&daemon, "GET");
    thread::sleep(MEANWHILE);
    let refused = client.command(&["GET", "large"]).unwrap().text();
    assert!(refused.contains("client-output-buffer-limit"), "{refused}");
    thread::sleep(MEANWHILE);
    others.saw_nothing();
    let first = lost(&daemon);
    // From then on it is known, and whoever writes meanwhile does not notice either.
    let others = Others::of(&daemon);
    thread::sleep(MEANWHILE);
    for times in 1..=5 {
        let refused = client.command(&["GET", "large"]).unwrap().text();
        assert!(refused.contains("was lost"), "{refused}");
        assert!(client.command(&["GET", "key"]).unwrap().is_nil());
        assert_eq!(
            lost(&daemon),
            first + times,
            "the connection apart is the only one that is lost, {first} before"
        );
    }
    others.saw_nothing();
    println!("connections lost: {first} when it was learned, then one for each of 5 requests");
    daemon.stop();
}

#[test]
fn a_limit_that_a_node_comes_to_have_is_known_soon_on_the_connection_that_stands() {
    let (upstream, daemon) = server(&[]);
    let mut client = patient(&daemon);
    let value = vec![b'v'; MIB];
    for _ in 0..4 {
        assert!(!client.command(&[&b"RPUSH"[..], b"list", &value]).unwrap().is_error());
    }
    assert_eq!(client.command(&["LRANGE", "list", "0", "-1"]).unwrap().items().len(), 4);
    for (name, value) in [("client-output-buffer-limit", "normal 1mb 0 0"), ("proto-max-bulk-len", "1mb")] {
        assert!(upstream.server().command(&["CONFIG", "SET", name, value]).unwrap().is_ok());
    }
    let known = "the node limits the replies that wait for one client: what may have a long reply takes a connection of \
                 its own (docs/nodes.md)";
    eventually("it is known", 4 * SOON, || daemon.has_logged(known));
    let (others, before) = (Others::of(&daemon), lost(&daemon));
    thread::sleep(MEANWHILE);
    // Whether its node ends that connection depends on how fast it is read.
    client.command(&["LRANGE", "list", "0", "-1"]).unwrap();
    let refusals = daemon.counter("upstream_too_large");
    let refused = client.command(&[&b"GET"[..], &vec![b'k'; 2 * MIB]]).unwrap().text();
    assert!(refused.contains("proto-max-bulk-len"), "{refused}");
    assert!(daemon.counter("upstream_too_large") > refusals);
    others.saw_nothing();
    assert_eq!(lost(&daemon), before, "but for the connection apart nothing was lost");
    daemon.stop();
}

/// A node hangs up on connections that are silent for this long.
#[test]
fn a_node_that_ends_idle_connections_is_no_trouble_to_anybody() {
    let (upstream, daemon) = server(&["--timeout", "2"]);
    let (mut client, large) = (patient(&daemon), vec![b'v'; 2 * MIB]);
    let before = lost(&daemon);
    for round in 0..3 {
        assert!(
            client.command(&["BLPOP", "nothing", "0.01"]).unwrap().is_nil(),
            "round {round}: a dedicated one"
        );
        assert!(
            client.command(&[&b"SET"[..], b"large", &large]).unwrap().is_ok(),
            "round {round}: a side one"
        );
        assert!(client.command(&["SET", "key", &round.to_string()]).unwrap().is_ok());
        assert_eq!(client.command(&["GET", "key"]).unwrap().text(), round.to_string());
        // The node looks once a second or so.
        thread::sleep(Duration::from_secs(5));
    }
    let list = upstream.server().command(&["CLIENT", "LIST"]).unwrap().text();
    println!(
        "{} connections of the daemon, {} lost",
        list.matches("name=nearside").count(),
        lost(&daemon) - before
    );
    assert_eq!(lost(&daemon), before, "heartbeats keep those that are shared");
    assert!(daemon.counter("dedicated_opened") > 1, "a dedicated one was ended meanwhile, and made anew");
    daemon.stop();
}
