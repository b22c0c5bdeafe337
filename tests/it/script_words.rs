//! What a script or a function answers goes to its client as it is, whatever it reads like: nobody is asked
//! for it, nothing runs twice, and no other client notices anything. Real redirects of scripts are followed
//! all the same.

use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use nearside::protocol::key::Slot;
use nearside::sandbox::client::encode;
use nearside::sandbox::{Cluster, ClusterShape, Node, Reply, SandboxClient, Standalone};
use tokio::time::Instant;

use crate::support::daemon::{Daemon, upstream_url};
use crate::support::servers::{eventually, own_primaries, owner};

const LIBRARY: &str = "#!lua name=words\nredis.register_function('say', function(keys, args) \
    redis.call('INCR', keys[1]) return redis.error_reply(args[1]) end)\n\
    redis.register_function{function_name='tell', callback=function(keys, args) \
    return redis.error_reply(args[1]) end, flags={'no-writes'}}";

/// Counts how often it ran, and answers with the error that it is given.
const SAYS: &str = "redis.call('INCR', KEYS[1]) return redis.error_reply(ARGV[1])";
const TELLS: &str = "return redis.error_reply(ARGV[1])";

/// How long something may take that is bounded by other means.
const LIMIT: Duration = Duration::from_secs(20);

/// What a node is told so that scripts go to it as all else does, or over connections of their own.
const WAYS: [&[&str]; 2] = [&[], &["--client-output-buffer-limit", "normal 16mb 8mb 5"]];

/// What the log says of the latter.
const LIMITED: &str = "the node limits the replies that wait for one client";

/// Three primaries with these settings.
fn primaries(settings: &[&str]) -> Cluster {
    let extra_args = settings.iter().map(|setting| (*setting).to_owned()).collect();
    Cluster::launch(&ClusterShape { primaries: 3, replicas_each: 0, extra_args, ..ClusterShape::default() })
        .unwrap()
}

fn other_than<'a>(cluster: &'a Cluster, node: &Node) -> &'a Node {
    cluster.nodes().iter().find(|other| other.id() != node.id()).unwrap()
}

/// Everything that an error can say of who serves what, of a key whose slot `node` owns and `other` does not.
fn words(slot: &str, node: &Node, other: &Node, stranger: &str) -> Vec<String> {
    let (node, other) = (node.server().address(), other.server().address());
    let elsewhere = if slot == "0" { "1" } else { "0" };
    let mut words =
        vec!["MOVED x".to_owned(), "MOVED 70000 x:1".to_owned(), format!("MOVED {slot} /tmp/x:1")];
    for kind in ["MOVED", "ASK"] {
        for slot in [slot, elsewhere] {
            for address in [&node.to_string(), &other.to_string(), stranger, ":1", "?:1"] {
                words.push(format!("{kind} {slot} {address}"));
            }
        }
        // Longer than what is repeated of a server's words.
        words.push(format!("{kind} {slot} {}:1", "h".repeat(240)));
    }
    let kinds = [
        "NOSCRIPT No matching script. Please use EVAL.",
        "READONLY You can't write against a read only replica.",
        "LOADING Redis is loading the dataset in memory",
        "CLUSTERDOWN The cluster is down",
        "CLUSTERDOWN Hash slot not served",
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        "BUSY Redis is busy running a script.",
        "TRYAGAIN Multiple keys request during rehashing of slot",
        "CROSSSLOT Keys in request don't hash to the same slot",
        "NOAUTH Authentication required.",
        "WRONGPASS invalid username-password pair or user is disabled.",
        "NOPERM no",
        "NOPROTO unsupported protocol version",
        "EXECABORT Transaction discarded because of previous errors.",
        "UNBLOCKED force unblock",
        "MISCONF no",
        "OOM command not allowed when used memory > 'maxmemory'.",
        "ERR Function not found",
        "ERR unknown command 'EVAL', with args beginning with: ",
    ];
    words.extend(kinds.map(str::to_owned));
    words
}

#[test]
fn what_a_script_says_is_for_its_client_alone() {
    WAYS.into_iter().for_each(says_to_its_client_alone);
}

fn says_to_its_client_alone(settings: &[&str]) {
    let cluster = primaries(settings);
    let trap = TcpListener::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let stranger = trap.local_addr().unwrap().to_string();
    let gap = ["--topology-refresh-gap-min", "1ms"];
    let daemon = Daemon::start(&[&["--upstream", &upstream_url(&cluster)][..], &gap].concat());
    daemon.until_tracked(3);
    let mut client = daemon.client();
    assert_eq!(client.command(&["FUNCTION", "LOAD", LIBRARY]).unwrap().text(), "words");
    let load = |client: &mut SandboxClient, body| client.command(&["SCRIPT", "LOAD", body]).unwrap().text();
    let (says, tells) = (load(&mut client, SAYS), load(&mut client, TELLS));
    let key = "said";
    let (node, slot) = (owner(&cluster, key.as_bytes()), Slot::of(key.as_bytes()).to_string());
    let mut direct = node.server().connect().unwrap();
    let (refreshes, losses) = (daemon.counter("topology_refreshes"), daemon.counter("upstream_losses"));
    let (redirects, began) = (daemon.counter("upstream_redirects"), Instant::now());
    for words in words(&slot, node, other_than(&cluster, node), &stranger) {
        let ways: [(&[&str], i64); 6] = [
            (&["EVAL", SAYS, "1", key, &words], 1),
            (&["EVALSHA", &says, "1", key, &words], 1),
            (&["FCALL", "say", "1", key, &words], 1),
            (&["EVAL_RO", TELLS, "1", key, &words], 0),
            (&["EVALSHA_RO", &tells, "1", key, &words], 0),
            (&["FCALL_RO", "tell", "1", key, &words], 0),
        ];
        for (way, runs) in ways {
            direct.command(&["SET", key, "0"]).unwrap();
            let reply = client.command(way).unwrap();
            assert_eq!(reply, Reply::Error(words.clone().into()), "{way:?}");
            let ran = direct.command(&["GET", key]).unwrap();
            assert_eq!(ran, Reply::bulk(runs.to_string()), "{way:?}: how often it ran");
        }
        // Without a key, and as the error that the script met.
        let keyless = client.command(&["EVAL", TELLS, "0", &words]).unwrap();
        assert_eq!(keyless, Reply::Error(words.clone().into()));
        // In a transaction, and in one on watched keys.
        for watches in [false, true] {
            direct.command(&["SET", key, "0"]).unwrap();
            let script = ["EVAL", SAYS, "1", key, &words];
            let requests: [&[&str]; 4] = [&["MULTI"], &script, &["GET", key], &["EXEC"]];
            if watches {
                assert!(client.command(&["WATCH", key]).unwrap().is_ok());
            }
            let replies = requests.map(|request| client.command(request).unwrap());
            let expected = [Reply::Error(words.clone().into()), Reply::bulk("1")];
            assert_eq!(replies[3].items(), expected, "{words}");
        }
    }
    assert!(trap.accept().is_err(), "nobody goes where a script sends us");
    assert_eq!(daemon.counter("upstream_losses"), losses, "no connection is ended for words");
    assert_eq!(daemon.counter("upstream_redirects"), redirects);
    // One look at the topology each time that the timer runs out, as without scripts.
    let looks = daemon.counter("topology_refreshes") - refreshes;
    assert!(looks <= 2 + began.elapsed().as_secs() / 5, "{looks} looks at the topology");
    daemon.assert_quiet_but(&[LIMITED]);
}

#[test]
fn what_a_script_says_of_a_slot_is_nothing_to_others() {
    let cluster = own_primaries(3);
    let stranger = Standalone::launch(&[]).unwrap();
    let daemon = Daemon::before(&cluster);
    let mut client = daemon.client();
    let nodes: Vec<String> = cluster.nodes().iter().map(|node| node.server().address().to_string()).collect();
    let addresses =
        [&nodes[..], &[stranger.server().address().to_string(), "127.0.0.1:1".to_owned()]].concat();
    stranger.server().command(&["SET", "other", "forged"]).unwrap();
    assert!(client.command(&["SET", "other", "true"]).unwrap().is_ok());
    let slot = Slot::of(b"other").to_string();
    for kind in ["MOVED", "ASK"] {
        for address in &addresses {
            for key in ["other", "key", "another"] {
                let words = format!("{kind} {slot} {address}");
                client.command(&["EVAL", TELLS, "1", key, &words]).unwrap();
                assert!(client.command(&["SET", "other", "true"]).unwrap().is_ok(), "after {words}");
                let read = daemon.client().command(&["GET", "other"]).unwrap();
                assert_eq!(read, Reply::bulk("true"), "after {words}");
            }
        }
    }
    assert_eq!(daemon.counter("upstream_redirects"), 0);
}

#[test]
fn words_that_have_to_be_looked_into_cost_the_nodes_little() {
    const GAP: Duration = Duration::from_secs(1);
    let cluster = own_primaries(3);
    let daemon = Daemon::start(&[
        "--upstream",
        &upstream_url(&cluster),
        "--topology-refresh-gap-min",
        "1s",
        "--workers",
        "1",
    ]);
    let node = owner(&cluster, b"key");
    let other = other_than(&cluster, node).server().address();
    let words = format!("MOVED {} {other}", Slot::of(b"key"));
    let asked = || {
        let stats = node.server().command(&["INFO", "commandstats"]).unwrap().text();
        let line = stats
            .lines()
            .find_map(|line| line.strip_prefix("cmdstat_cluster|nodes:calls="))
            .map(str::to_owned);
        line.map_or(0, |line| line.split(',').next().unwrap().parse::<u64>().unwrap())
    };
    let (began, before) = (Instant::now(), asked());
    let mut clients: Vec<SandboxClient> = (0..100).map(|_| daemon.client()).collect();
    for round in 0..2 {
        for client in &mut clients {
            client.send(&["EVAL", TELLS, "1", "key", &words]).unwrap();
        }
        // Others are served meanwhile.
        assert!(daemon.client().command(&["SET", "other", "value"]).unwrap().is_ok());
        for client in &mut clients {
            assert_eq!(client.receive().unwrap(), Reply::Error(words.clone().into()), "{round}");
        }
    }
    let (asked, gaps) = (asked() - before, began.elapsed().as_millis() / GAP.as_millis());
    assert!((1..=2 + gaps as u64).contains(&asked), "asked {asked} times in {gaps} gaps");
}

#[test]
fn a_script_follows_its_slot_and_nothing_overtakes_it() {
    WAYS.into_iter().for_each(follows_its_slot);
}

fn follows_its_slot(settings: &[&str]) {
    let cluster = primaries(settings);
    let daemon = Daemon::before(&cluster);
    let mut client = daemon.client();
    let key = "moving";
    let slot = Slot::of(key.as_bytes());
    assert!(client.command(&["SET", key, "0"]).unwrap().is_ok());
    let sha = client.command(&["SCRIPT", "LOAD", "return redis.call('INCR', KEYS[1])"]).unwrap().text();
    assert_eq!(client.command(&["FUNCTION", "LOAD", LIBRARY]).unwrap().text(), "words");
    let mut count = 0;
    for _ in 0..4 {
        let from = owner(&cluster, key.as_bytes());
        cluster.migrate(slot, other_than(&cluster, from)).unwrap();
        let mut pipeline = Vec::new();
        let mut expected = Vec::new();
        for _ in 0..5 {
            count += 4;
            let text = (count - 4 + 1).to_string();
            pipeline.extend(encode(&["EVAL", "return redis.call('INCR', KEYS[1])", "1", key]));
            pipeline.extend(encode(&["GET", key]));
            pipeline.extend(encode(&["EVALSHA", &sha, "1", key]));
            pipeline.extend(encode(&["INCR", key]));
            pipeline.extend(encode(&["FCALL_RO", "tell", "1", key, "MOVED 0 x:1"]));
            pipeline.extend(encode(&["MULTI"]));
            pipeline.extend(encode(&["EVALSHA", &sha, "1", key]));
            pipeline.extend(encode(&["EXEC"]));
            let numbers = [count - 3, count - 2, count - 1].map(Reply::Integer);
            let [first, second, third] = numbers;
            expected.extend([first, Reply::bulk(text), second, third, Reply::Error(b"MOVED 0 x:1".into())]);
            let simple = |text: &[u8]| Reply::Simple(text.into());
            let executed = Reply::Array(vec![Reply::Integer(count)]);
            expected.extend([simple(b"OK"), simple(b"QUEUED"), executed]);
        }
        client.send_raw(&pipeline).unwrap();
        for (number, expected) in expected.into_iter().enumerate() {
            assert_eq!(client.receive().unwrap(), expected, "reply {number}");
        }
    }
    daemon.assert_quiet_but(&[LIMITED]);
}

#[test]
fn a_script_on_a_key_that_has_gone_ahead_runs_there_once() {
    let cluster = own_primaries(3);
    let daemon = Daemon::before(&cluster);
    let mut client = daemon.client();
    let slot = Slot::of(b"{ahead}");
    let migration = cluster.begin_migration(slot, other_than(&cluster, owner(&cluster, b"{ahead}"))).unwrap();
    let (from, to) = (migration.from().server().address(), migration.to().server().address());
    for number in 0..5 {
        // It is nowhere yet, so it is made at the taker.
        let key = format!("{{ahead}}{number}");
        let reply = client.command(&["EVAL", "return redis.call('INCR', KEYS[1])", "1", &key]).unwrap();
        assert_eq!(reply, Reply::Integer(1), "{key}");
        // The move is real, the words are not: the owner has lost nothing yet.
        let words = format!("MOVED {slot} {to}");
        let reply = client.command(&["EVAL_RO", TELLS, "1", &key, &words]).unwrap();
        assert_eq!(reply, Reply::Error(words.into()), "{key} at {from}");
    }
    migration.finish().unwrap();
    for number in 0..5 {
        assert_eq!(client.command(&["GET", &format!("{{ahead}}{number}")]).unwrap(), Reply::bulk("1"));
    }
}

#[test]
fn a_script_that_a_node_has_lost_runs_there_all_the_same() {
    for settings in WAYS {
        let cluster = primaries(settings);
        let daemon = Daemon::before(&cluster);
        let mut client = daemon.client();
        let sha = client.command(&["SCRIPT", "LOAD", "return redis.call('INCR', KEYS[1])"]).unwrap().text();
        let node = owner(&cluster, b"key").server();
        for count in 1..=5 {
            let ran = client.command(&["EVALSHA", &sha, "1", "key"]).unwrap();
            assert_eq!(ran, Reply::Integer(count), "{settings:?}");
            assert!(node.command(&["SCRIPT", "FLUSH"]).unwrap().is_ok());
        }
    }
}

#[test]
fn a_replica_is_noticed_by_scripts_alone_and_not_for_their_words() {
    WAYS.into_iter().for_each(notices_a_replica);
}

fn notices_a_replica(settings: &[&str]) {
    let settings: Vec<String> = settings.iter().map(|setting| (*setting).to_owned()).collect();
    let (upstream, primary) = (Standalone::launch(&settings).unwrap(), Standalone::launch(&[]).unwrap());
    let server = upstream.server();
    let daemon = Daemon::start(&["--upstream", &format!("redis://{}", server.address())]);
    daemon.until_tracked(1);
    let mut client = daemon.client();
    for words in
        ["READONLY no", "MOVED 0 127.0.0.1:1", "ASK 0 127.0.0.1:1", "CLUSTERDOWN no", "MASTERDOWN no"]
    {
        let reply = client.command(&["EVAL", TELLS, "1", "key", words]).unwrap();
        assert_eq!(reply.text(), words);
    }
    assert!(client.command(&["SET", "key", "value"]).unwrap().is_ok());
    assert_eq!(daemon.counter("upstream_losses"), 0);
    let address = primary.server().address();
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    assert!(server.command(&["REPLICAOF", &host, &port]).unwrap().is_ok());
    eventually("its name is resolved anew", LIMIT, || {
        let told = client.command(&["EVAL", "return redis.call('INCR', KEYS[1])", "1", "n"]).unwrap().text();
        assert!(told.starts_with("READONLY"), "{told}");
        thread::sleep(Duration::from_millis(50));
        daemon.counter("upstream_losses") > 0
    });
}

#[test]
fn a_function_that_says_that_it_is_not_there_is_not_looked_for_each_time() {
    let upstream = Standalone::launch(&[]).unwrap();
    let daemon = Daemon::start(&["--upstream", &format!("redis://{}", upstream.server().address())]);
    let mut client = daemon.client();
    assert_eq!(client.command(&["FUNCTION", "LOAD", LIBRARY]).unwrap().text(), "words");
    let began = Instant::now();
    for _ in 0..200 {
        let reply = client.command(&["FCALL", "say", "1", "key", "ERR Function not found"]).unwrap();
        assert_eq!(reply.text(), "ERR Function not found");
    }
    assert_eq!(client.command(&["GET", "key"]).unwrap(), Reply::bulk("200"));
    let stats = upstream.server().command(&["INFO", "commandstats"]).unwrap().text();
    let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_function|list:calls=")).unwrap();
    let looks: u64 = line.split(',').next().unwrap().parse().unwrap();
    assert!(looks <= 2 + began.elapsed().as_secs(), "{looks} looks");
}
