//! `default_ttl`: what a write leaves without a time to live gets that of its policy, and the client sees
//! none of it.

use std::fs;
use std::time::Duration;

use nearside::protocol::key::Slot;
use nearside::sandbox::{Cluster, Reply, SandboxClient};

use crate::policies::Setup;
use crate::support::daemon::{Daemon, upstream_url};
use crate::support::servers::{client_of_owner, eventually, own_primaries, owner, sandbox, shared_cluster};

const SOON: Duration = Duration::from_secs(10);

/// Keys of `d:` get 100 s, those of `d:long:` 1,000 s, those of `d:none:` nothing.
const POLICIES: &str = "[[policy]]\nprefix = 'd:'\ndefault_ttl = '100s'\n\
                        [[policy]]\nprefix = 'd:long:'\ndefault_ttl = '1000s'\n\
                        [[policy]]\nprefix = 'd:none:'\n";

/// The time to live that a key has, as the owner says it.
fn pttl(direct: &mut SandboxClient, key: &str) -> i64 {
    direct.command(&["PTTL", key]).unwrap().integer().unwrap()
}

/// Whether that is what the policy of `d:` gives.
fn is_given(direct: &mut SandboxClient, key: &str) -> bool {
    (90_000..=100_000).contains(&pttl(direct, key))
}

fn words(request: &str) -> Vec<&str> {
    request.split(' ').collect()
}

/// A daemon in front of `cluster` with these policies.
fn before(cluster: &Cluster, settings: &str) -> Daemon {
    let file = sandbox().make_directory().unwrap().join("nearside.toml");
    fs::write(&file, format!("upstream = {:?}\n{settings}", upstream_url(cluster))).unwrap();
    let daemon = Daemon::start(&["--config", file.to_str().unwrap()]);
    daemon.until_tracked(cluster.primaries().unwrap().len());
    daemon
}

#[test]
fn a_set_that_says_nothing_takes_the_time_to_live_along() {
    let mut setup = Setup::with(POLICIES);
    for key in ["d:{t}keep", "d:{t}nx"] {
        assert!(setup.direct.command(&["SET", key, "old"]).unwrap().is_ok());
    }
    let cases = [
        ("SET d:{t}1 v", "OK", 90_000..=100_000),
        ("set d:{t}2 v nx", "OK", 90_000..=100_000),
        ("SET d:{t}2 v XX", "OK", 90_000..=100_000),
        ("SET d:{t}1 w GET", "v", 90_000..=100_000),
        ("SET d:long:1 v", "OK", 990_000..=1_000_000),
        ("SET d:none:1 v", "OK", -1..=-1),
        ("SET other v", "OK", -1..=-1),
        ("SET d:{t}3 v EX 5", "OK", 4_000..=5_000),
        ("SET d:{t}3 v px 900000", "OK", 890_000..=900_000),
        ("SET d:{t}keep v KEEPTTL", "OK", -1..=-1),
        ("SET d:{t}3 v KEEPTTL", "OK", 880_000..=900_000),
        ("SET d:{t}3 v EX", "ERR syntax error", 880_000..=900_000),
        ("SET d:{t}3 v NX XX", "ERR syntax error", 880_000..=900_000),
        ("SETEX d:{t}4 7 v", "OK", 6_000..=7_000),
    ];
    for (request, reply, wanted) in cases {
        assert_eq!(setup.say(request), reply, "{request}");
        let left = pttl(&mut setup.direct, words(request)[1]);
        assert!(wanted.contains(&left), "{request}: {left}");
    }
    assert!(setup.client.command(&["SET", "d:{t}nx", "v", "NX"]).unwrap().is_nil());
    assert_eq!(pttl(&mut setup.direct, "d:{t}nx"), -1, "nothing was written");
    let info = setup.direct.command(&["INFO", "commandstats"]).unwrap().text();
    assert!(!info.contains("cmdstat_pexpire:"), "no command more is sent: {info}");
    assert_eq!(
        setup.daemon.counter("default_ttl_sent"),
        7,
        "one of which was refused for NX XX, and one came to nothing"
    );
    assert_eq!(setup.daemon.counter("default_ttl_failures"), 0);
    setup.daemon.assert_quiet();
    setup.daemon.stop();
}

/// Writes, and the key that is to have a time to live behind each. What they need is made past the daemon.
const WRITES: [(&str, &str); 33] = [
    ("SETNX d:{t}a v", "d:{t}a"),
    ("GETSET d:{t}b v", "d:{t}b"),
    ("APPEND d:{t}c v", "d:{t}c"),
    ("INCR d:{t}d", "d:{t}d"),
    ("INCRBYFLOAT d:{t}e 1.5", "d:{t}e"),
    ("SETRANGE d:{t}f 2 v", "d:{t}f"),
    ("SETBIT d:{t}g 2 1", "d:{t}g"),
    ("BITOP NOT d:{t}h string{t}", "d:{t}h"),
    ("MSETNX d:{t}i 1 other:i{t} 2", "d:{t}i"),
    ("HSET d:{t}j f v", "d:{t}j"),
    ("HINCRBY d:{t}k f 1", "d:{t}k"),
    ("LPUSH d:{t}l v", "d:{t}l"),
    ("SADD d:{t}m v", "d:{t}m"),
    ("ZADD d:{t}n 1 v", "d:{t}n"),
    ("XADD d:{t}o * f v", "d:{t}o"),
    ("XGROUP CREATE d:{t}p g $ MKSTREAM", "d:{t}p"),
    ("PFADD d:{t}q v", "d:{t}q"),
    ("PFMERGE d:{t}r d:{t}q", "d:{t}r"),
    ("GEOADD d:{t}s 13 38 v", "d:{t}s"),
    ("GEOSEARCHSTORE d:{t}t geo{t} FROMLONLAT 13 38 BYRADIUS 9 km", "d:{t}t"),
    ("SUNIONSTORE d:{t}u set{t}", "d:{t}u"),
    ("ZUNIONSTORE d:{t}v 1 zset{t}", "d:{t}v"),
    ("ZRANGESTORE d:{t}w zset{t} 0 -1", "d:{t}w"),
    ("SORT set{t} ALPHA STORE d:{t}x", "d:{t}x"),
    ("GEORADIUS geo{t} 13 38 9 km STORE d:{t}y", "d:{t}y"),
    ("RENAME renamed{t} d:{t}z", "d:{t}z"),
    ("COPY string{t} d:{t}A", "d:{t}A"),
    ("LMOVE list{t} d:{t}B LEFT RIGHT", "d:{t}B"),
    ("SMOVE set{t} d:{t}C v", "d:{t}C"),
    ("BLMOVE list{t} d:{t}D LEFT RIGHT 1", "d:{t}D"),
    ("EVAL return{redis.call('SET','d:{t}E','v'),redis.call('EXPIRE','d:{t}E',99)} 1 d:{t}E", "d:{t}E"),
    ("MSET d:{t}F 1 d:{t}G 2", "d:{t}G"),
    ("DECRBY d:{t}H 3", "d:{t}H"),
];

#[test]
fn any_other_write_is_followed_by_the_time_to_live() {
    let mut setup = Setup::with(POLICIES);
    let prepare = [
        "SET string{t} v",
        "SET renamed{t} v",
        "RPUSH list{t} 1 2 3",
        "SADD set{t} v w",
        "ZADD zset{t} 1 v",
        "GEOADD geo{t} 13 38 v",
        "SET d:{t}string v",
        "RPUSH d:{t}list 1 2 3",
        "SADD d:{t}set v w",
        "SET d:{t}brief 1 PX 9000",
        "SET d:{t}hidden v",
    ];
    for request in prepare {
        assert!(!setup.direct.command(&words(request)).unwrap().is_error(), "{request}");
    }
    for (request, key) in WRITES {
        let reply = setup.client.command(&words(request)).unwrap();
        assert!(!reply.is_error(), "{request}: {reply:?}");
        let left = pttl(&mut setup.direct, key);
        assert!((90_000..=100_000).contains(&left), "{request}: {left}");
    }
    assert_eq!(pttl(&mut setup.direct, "other:i{t}"), -1, "it has no such policy");
    for (request, key) in
        [("RESTORE d:{t}dumped 0", "d:{t}dumped"), ("RESTORE d:{t}dumped2 5000", "d:{t}dumped2")]
    {
        let dump = setup.direct.command(&["DUMP", "string{t}"]).unwrap();
        let mut request: Vec<&[u8]> = request.split(' ').map(str::as_bytes).collect();
        request.push(dump.bytes().unwrap());
        assert!(setup.client.command(&request).unwrap().is_ok());
        assert!(pttl(&mut setup.direct, key) > 0);
    }
    assert!(pttl(&mut setup.direct, "d:{t}dumped2") <= 5_000, "it had its own");
    assert_eq!(setup.client.command(&["INCR", "d:{t}brief"]).unwrap().integer(), Some(2));
    assert!(pttl(&mut setup.direct, "d:{t}brief") <= 9_000, "it keeps the one that it has");
    // What only reads a key, takes from it, or is about the time to live leaves it as it is.
    let others = [
        ("COPY d:{t}string d:{t}copy", "d:{t}string"),
        ("LPOP d:{t}list", "d:{t}list"),
        ("LMPOP 1 d:{t}list LEFT", "d:{t}list"),
        ("SPOP d:{t}set", "d:{t}set"),
        ("GETEX d:{t}hidden PERSIST", "d:{t}hidden"),
        ("EVAL return(redis.call('APPEND',KEYS[1],'v')) 1 d:{t}hidden", "d:{t}hidden"),
    ];
    for (request, key) in others {
        assert!(!setup.client.command(&words(request)).unwrap().is_error(), "{request}");
        assert_eq!(pttl(&mut setup.direct, key), -1, "{request}");
    }
    assert_eq!(setup.client.command(&["PERSIST", "d:{t}d"]).unwrap().integer(), Some(1));
    assert_eq!(pttl(&mut setup.direct, "d:{t}d"), -1);
    // In one pipeline the time to live comes right behind the write, and not behind what was asked after it.
    for request in
        ["INCR d:{t}piped", "PERSIST d:{t}piped", "PTTL d:{t}piped", "INCR d:{t}piped", "PTTL d:{t}piped"]
    {
        setup.client.send(&words(request)).unwrap();
    }
    let replies: Vec<i64> = (0..5).map(|_| setup.client.receive().unwrap().integer().unwrap()).collect();
    assert_eq!(replies[..4], [1, 1, -1, 2]);
    assert!(replies[4] > 90_000);
    // A read may be kept as ever, and for no longer than its key.
    assert_eq!(setup.say("GET d:{t}piped"), "2");
    let explained = format!("{:?}", setup.client.command(&["NEARSIDE", "EXPLAIN", "d:{t}piped"]).unwrap());
    assert!(explained.contains("policy_default_ttl_ms"), "{explained}");
    assert_eq!(setup.daemon.counter("default_ttl_failures"), 0);
    setup.daemon.assert_quiet();
    setup.daemon.stop();
}

#[test]
fn explain_says_which_time_to_live_a_policy_gives() {
    let mut setup = Setup::with(POLICIES);
    let mut explained = |key: &str| {
        let reply = setup.client.command(&["NEARSIDE", "EXPLAIN", key]).unwrap();
        let items = reply.items();
        items.chunks(2).find(|field| field[0].text() == "policy_default_ttl_ms").unwrap()[1].clone()
    };
    assert_eq!(explained("d:{t}1").integer(), Some(100_000));
    assert_eq!(explained("d:long:1").integer(), Some(1_000_000));
    assert!(explained("d:none:1").is_nil());
    assert!(explained("other").is_nil());
    setup.daemon.stop();
}

#[test]
fn keys_of_many_slots_all_get_it() {
    let cluster = shared_cluster();
    let daemon = before(cluster, "[[policy]]\nprefix = 'ttl:'\ndefault_ttl = '100s'\n");
    let mut client = daemon.client();
    let keys: Vec<String> = (0..300).map(|number| format!("ttl:{{{}}}:{number}", number % 100)).collect();
    let mut request = vec!["MSET", "ttl-not:1", "v"];
    request.extend(keys.iter().flat_map(|key| [key.as_str(), "v"]));
    assert!(client.command(&request).unwrap().is_ok());
    for key in &keys {
        assert!(is_given(&mut client_of_owner(cluster, key.as_bytes()), key), "{key}");
    }
    assert_eq!(pttl(&mut client_of_owner(cluster, b"ttl-not:1"), "ttl-not:1"), -1);
    assert_eq!(daemon.counter("default_ttl_sent"), 300);
    // A command on several keys still needs them in one slot, and then does nothing.
    let reply = client.command(&["MSETNX", "ttl:x", "1", "ttl:y", "2"]).unwrap();
    assert!(reply.text().starts_with("CROSSSLOT"), "{reply:?}");
    assert_eq!(daemon.counter("default_ttl_sent"), 300);
    assert_eq!(daemon.counter("default_ttl_failures"), 0);
    daemon.assert_quiet();
    daemon.stop();
}

#[test]
fn what_a_transaction_writes_gets_it_behind_exec() {
    let mut setup = Setup::with(POLICIES);
    let transaction = |setup: &mut Setup, requests: &[&str]| -> Reply {
        setup.say("MULTI");
        for request in requests {
            assert_eq!(setup.say(request), "QUEUED");
        }
        setup.client.command(&["EXEC"]).unwrap()
    };
    let plain = [
        "SET d:{t}1 v",
        "INCR d:{t}2",
        "HSET d:{t}3 f v",
        "SET d:{t}4 v EX 5",
        "GET d:{t}1",
        "SET other{t} v",
        "PING",
    ];
    let reply = transaction(&mut setup, &plain);
    assert_eq!(format!("{:?}", reply.items()), "[+OK, :1, :1, +OK, \"v\", +OK, +PONG]");
    for key in ["d:{t}1", "d:{t}2", "d:{t}3"] {
        assert!(is_given(&mut setup.direct, key), "{key}");
    }
    assert!(pttl(&mut setup.direct, "d:{t}4") <= 5_000);
    assert_eq!(pttl(&mut setup.direct, "other{t}"), -1);
    // The last word on a key counts.
    transaction(
        &mut setup,
        &["SET d:{t}5 v", "PERSIST d:{t}5", "INCR d:{t}6", "PERSIST d:{t}6", "PERSIST d:{t}2", "INCR d:{t}2"],
    );
    assert_eq!(pttl(&mut setup.direct, "d:{t}5"), -1);
    assert_eq!(pttl(&mut setup.direct, "d:{t}6"), -1);
    assert!(is_given(&mut setup.direct, "d:{t}2"));
    // With keys that are watched it goes over a connection of its own.
    assert_eq!(setup.say("WATCH d:{t}7"), "OK");
    assert_eq!(transaction(&mut setup, &["APPEND d:{t}7 v", "APPEND d:{t}8 v"]).items().len(), 2);
    assert!(is_given(&mut setup.direct, "d:{t}7") && is_given(&mut setup.direct, "d:{t}8"));
    assert!(setup.direct.command(&["SET", "d:{t}9", "v"]).unwrap().is_ok());
    assert_eq!(setup.say("WATCH d:{t}7"), "OK");
    assert!(setup.direct.command(&["SET", "d:{t}7", "changed"]).unwrap().is_ok());
    assert!(transaction(&mut setup, &["APPEND d:{t}9 v"]).is_nil());
    assert_eq!(pttl(&mut setup.direct, "d:{t}9"), -1, "nothing was carried out");
    assert_eq!(setup.daemon.counter("default_ttl_failures"), 0);
    setup.daemon.assert_quiet();
    setup.daemon.stop();
}

#[test]
fn what_is_moved_after_a_wait_gets_it() {
    let mut setup = Setup::with(POLICIES);
    setup.client.send(&["BLMOVE", "from{t}", "d:{t}to", "LEFT", "RIGHT", "0"]).unwrap();
    let waits = "waits_begun";
    eventually("it waits", SOON, || setup.daemon.counter(waits) == 1);
    assert_eq!(setup.direct.command(&["RPUSH", "from{t}", "v"]).unwrap().integer(), Some(1));
    assert_eq!(setup.client.receive().unwrap().text(), "v");
    assert!(is_given(&mut setup.direct, "d:{t}to"));
    assert!(setup.direct.command(&["PERSIST", "d:{t}to"]).unwrap().integer() == Some(1));
    assert!(
        setup.client.command(&["BLMOVE", "from{t}", "d:{t}to", "LEFT", "RIGHT", "0.05"]).unwrap().is_nil()
    );
    assert_eq!(pttl(&mut setup.direct, "d:{t}to"), -1, "nothing came");
    setup.daemon.stop();
}

#[test]
fn a_reload_begins_and_ends_it() {
    let mut setup = Setup::with("[[policy]]\nprefix = 'd:'\n");
    setup.say("SET d:{t}1 v");
    assert_eq!(pttl(&mut setup.direct, "d:{t}1"), -1);
    setup.reload(POLICIES, "reload: the policies were replaced");
    setup.say("SET d:{t}1 v");
    setup.say("INCR d:{t}2");
    assert!(is_given(&mut setup.direct, "d:{t}1") && is_given(&mut setup.direct, "d:{t}2"));
    setup.reload("[[policy]]\nprefix = 'd:'\ndefault_ttl = '1000s'\n", "reload: the policies were replaced");
    setup.say("SET d:{t}1 v");
    assert!(pttl(&mut setup.direct, "d:{t}1") > 990_000);
    setup.reload("", "reload: the policies were replaced");
    setup.say("SET d:{t}1 v");
    setup.say("INCR d:{t}3");
    assert_eq!(pttl(&mut setup.direct, "d:{t}1"), -1);
    assert_eq!(pttl(&mut setup.direct, "d:{t}3"), -1);
    setup.daemon.stop();
}

#[test]
fn clients_get_the_same_bytes_with_it_and_without() {
    let mut daemons = [Setup::with(POLICIES), Setup::with("")];
    let mut requests: Vec<&str> = WRITES.iter().map(|(request, _)| *request).collect();
    requests.extend([
        "SET d:{t}1 v",
        "SET d:{t}1 w GET",
        "SET d:{t}1 w NX",
        "SET d:{t}1 w XX KEEPTTL",
        "SET d:{t}1 w EX",
        "SET d:{t}1",
        "LPUSH d:{t}1 wrong",
        "MSET d:{t}1 a d:{t}2 b d:{t}1 c",
        "MGET d:{t}1 d:{t}2",
        "ZADD d:{t}zset INCR 1.5 m",
        "ZADD d:{t}zset NX INCR 1.5 m",
        "MULTI",
        "SET d:{t}1 x",
        "INCR d:{t}count",
        "ZINCRBY d:{t}zset 1.5 m",
        "LPUSH d:{t}1 wrong",
        "EXEC",
        "MULTI",
        "SET d:{t}1",
        "INCR d:{t}count",
        "EXEC",
        "HGETALL d:{t}j",
        "CLIENT REPLY SKIP",
        "APPEND d:{t}1 y",
        "GET d:{t}1",
    ]);
    for version in [2, 3] {
        let mut said = daemons.each_mut().map(|setup| {
            for key in ["list{t}", "set{t}", "zset{t}", "geo{t}", "string{t}", "renamed{t}"] {
                setup.direct.command(&["DEL", key]).unwrap();
            }
            assert!(setup.direct.command(&["FLUSHALL"]).unwrap().is_ok());
            let mut client = setup.daemon.client();
            client.hello(version).unwrap();
            let prepare = [
                "SET string{t} v",
                "SET renamed{t} v",
                "RPUSH list{t} 1 2",
                "SADD set{t} v w",
                "ZADD zset{t} 1 v",
            ];
            for request in prepare.iter().chain(&["GEOADD geo{t} 13 38 v"]) {
                assert!(!client.command(&words(request)).unwrap().is_error());
            }
            let requests = requests.iter().filter(|request| !request.starts_with("XADD"));
            requests.clone().for_each(|request| client.send(&words(request)).unwrap());
            let silent = 2;
            let replies = (0..requests.count() - silent).map(|_| client.receive_raw().unwrap());
            replies.collect::<Vec<_>>()
        });
        let [with, without] = &mut said;
        for (number, (with, without)) in with.iter().zip(without.iter()).enumerate() {
            assert_eq!(with.escape_ascii().to_string(), without.escape_ascii().to_string(), "reply {number}");
        }
        assert!(is_given(&mut daemons[0].direct, "d:{t}count"), "the one gives it");
        assert_eq!(pttl(&mut daemons[1].direct, "d:{t}count"), -1, "and the other does not");
    }
    daemons.into_iter().for_each(|setup| setup.daemon.stop());
}

#[test]
fn a_server_that_refuses_it_is_counted_and_logged_and_the_client_sees_nothing() {
    let mut setup = Setup::before(&["--rename-command", "PEXPIRE", ""], POLICIES);
    assert_eq!(setup.say("SET d:{t}1 v"), "OK");
    assert!(is_given(&mut setup.direct, "d:{t}1"), "what is in the SET needs nothing more");
    assert_eq!(setup.client.command(&["INCR", "d:{t}2"]).unwrap().integer(), Some(1));
    assert_eq!(setup.daemon.counter("default_ttl_failures"), 1);
    let warning = "a write left a key without the default_ttl of its policy";
    setup.daemon.assert_logged("WARN", warning);
    assert_eq!(
        setup.client.command(&words("MSETNX d:{t}3 1 d:{t}4 2 d:{t}5 3 other{t} 4")).unwrap().integer(),
        Some(1)
    );
    assert_eq!(setup.daemon.counter("default_ttl_failures"), 4, "each key");
    setup.say("MULTI");
    setup.say("INCR d:{t}2");
    assert_eq!(setup.client.command(&["EXEC"]).unwrap().items()[0].integer(), Some(2));
    assert_eq!(setup.daemon.counter("default_ttl_failures"), 5);
    // Of a write that was refused itself nothing is missing.
    assert!(setup.say("LPUSH d:{t}2 v").starts_with("WRONGTYPE"));
    assert_eq!(setup.daemon.counter("default_ttl_failures"), 5);
    // Now and then, not each time.
    setup.daemon.assert_times_logged(warning, 1);
    assert_eq!(setup.say("GET d:{t}2"), "2");
    setup.daemon.stop();
}

#[test]
fn it_is_let_through_with_its_write_when_a_bound_is_reached() {
    let mut setup = Setup::with(&format!("upstream_in_flight_max = 1\n{POLICIES}"));
    // Heartbeats take the one place now and then.
    eventually("the write is let through", SOON, || {
        !setup.client.command(&["INCR", "d:{t}1"]).unwrap().is_error()
    });
    assert!(is_given(&mut setup.direct, "d:{t}1"));
    assert_eq!(setup.daemon.counter("default_ttl_failures"), 0);
    setup.daemon.stop();
}

#[test]
fn it_goes_where_the_slot_goes() {
    let cluster = own_primaries(2);
    let daemon = before(
        &cluster,
        "topology_refresh_interval = '5s'\n[[policy]]\nprefix = '{d}'\ndefault_ttl = '100s'\n",
    );
    let mut client = daemon.client();
    assert_eq!(client.command(&["INCR", "{d}old"]).unwrap().integer(), Some(1));
    let slot = Slot::of(b"{d}");
    let from = owner(&cluster, b"{d}");
    let to = cluster.primaries().unwrap().into_iter().find(|node| node.id() != from.id()).unwrap();
    for key in ["{d}1", "{d}2"] {
        assert!(from.server().command(&["SET", key, "v"]).unwrap().is_ok());
    }
    let migration = cluster.begin_migration(slot, to).unwrap();
    assert_eq!(migration.move_keys(10).unwrap(), 3);
    // The write is told to ask the other node, and so is what follows it: alone, because no transaction can
    // be.
    assert!(client.command(&["MSET", "{d}1", "v", "{d}2", "v"]).unwrap().is_ok());
    assert!(client.command(&["MSET", "{d}1", "v", "{d}2", "v"]).unwrap().is_ok());
    assert_eq!(client.command(&["INCR", "{d}old"]).unwrap().integer(), Some(2));
    // These are new.
    assert_eq!(client.command(&["INCR", "{d}3"]).unwrap().integer(), Some(1));
    assert!(client.command(&["SET", "{d}4", "v"]).unwrap().is_ok());
    migration.finish().unwrap();
    // Now the owner is another one, of which the daemon has not heard yet.
    assert_eq!(client.command(&["MSETNX", "{d}5", "v", "{d}6", "v"]).unwrap().integer(), Some(1));
    assert_eq!(client.command(&["INCR", "{d}7"]).unwrap().integer(), Some(1));
    let mut direct = to.server().connect().unwrap();
    for key in ["{d}1", "{d}2", "{d}3", "{d}4", "{d}5", "{d}6", "{d}7", "{d}old"] {
        assert!(is_given(&mut direct, key), "{key}: {}", pttl(&mut direct, key));
    }
    assert!(daemon.counter("upstream_redirects") > 0);
    assert_eq!(daemon.counter("default_ttl_failures"), 0);
    daemon.stop();
}
