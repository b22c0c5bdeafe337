//! `transactions = "per_slot"` in front of a cluster: each slot's part is a transaction of its own, and the
//! replies are joined as one Redis would give them.

use std::thread;
use std::time::Duration;

use fastrand::Rng;
use nearside::protocol::key::Slot;
use nearside::sandbox::client::encode;
use nearside::sandbox::{Cluster, Node, Reply, SandboxClient, Standalone};

use crate::support::daemon::{Daemon, upstream_url};
use crate::support::servers::{client_of_owner, eventually, own_primaries, owner, shared_cluster};

const SOON: Duration = Duration::from_secs(15);

/// Transactions that are compared with a plain server's, in each version of the protocol.
const TRANSACTIONS: usize = 300;

fn before(cluster: &Cluster) -> Daemon {
    Daemon::start(&["--upstream", &upstream_url(cluster), "--transactions", "per_slot"])
}

/// Carries out a transaction in one write, and returns what EXEC said.
fn transact(client: &mut SandboxClient, requests: &[&[&str]]) -> Reply {
    let mut bytes = encode(&["MULTI"]);
    requests.iter().for_each(|request| bytes.extend(encode(request)));
    bytes.extend(encode(&["EXEC"]));
    client.send_raw(&bytes).unwrap();
    assert!(client.receive().unwrap().is_ok());
    for request in requests {
        let queued = client.receive().unwrap().text();
        assert_eq!(queued, "QUEUED", "{request:?}");
    }
    client.receive().unwrap()
}

/// A key of each node.
fn keys_of(cluster: &Cluster, prefix: &str) -> Vec<String> {
    let nodes = cluster.primaries().unwrap();
    let key_of = |node: &&Node| {
        let mut names = (0..).map(|number| format!("{prefix}:{number}"));
        names.find(|key| owner(cluster, key.as_bytes()).id() == node.id()).unwrap()
    };
    nodes.iter().map(key_of).collect()
}

/// Commands of random transactions: `$` is a key of any slot, `%` one of the same slot as the `$` before it.
const COMMANDS: &[&str] = &[
    "SET $s 1",
    "SET $s hello EX 1000",
    "INCR $s",
    "APPEND $s x",
    "GET $s",
    "STRLEN $s",
    "GETRANGE $s 0 2",
    "DEL $s",
    "EXISTS $s %l",
    "MSET $s 1 %t 2",
    "MGET $s %t %none",
    "RENAME $s %t",
    "COPY $s %t REPLACE",
    "LPUSH $l a b",
    "RPOP $l",
    "LRANGE $l 0 -1",
    "LMOVE $l %m LEFT RIGHT",
    "BLPOP $l %m 0",
    "HSET $h f 1 g 2",
    "HGETALL $h",
    "HINCRBY $h f 2",
    "HRANDFIELD $none 2 WITHVALUES",
    "SADD $u 1 2 3",
    "SMEMBERS $u",
    "SINTERSTORE $v %u %u",
    "ZADD $z 1 a 2 b",
    "ZRANGE $z 0 -1 WITHSCORES",
    "ZSCORE $z a",
    "ZPOPMIN $z",
    "XADD $x 1-1 f v",
    "XRANGE $x - +",
    "LPUSH $s wrong",
    "INCRBY $s nonsense",
    "TYPE $s",
    "PTTL $none",
    "SORT $l BY nosort",
    "EVAL return~{redis.call('INCR',KEYS[1]),ARGV[1]} 1 $n a",
    "EVAL return~'none' 0",
    "EVAL_RO return~redis.call('GET',KEYS[1]) 1 $n",
    "PUBLISH nobody hello",
    "PING",
    "PING hello",
    "ECHO hello",
    "CONFIG GET nothing",
];

/// What makes a transaction another one: refused when it is queued, or not carried out.
const RARE: &[&str] = &["GET", "NOSUCHCOMMAND", "MULTI", "DISCARD", "UNWATCH", "SUBSCRIBE"];

/// One request of a random transaction.
fn request(template: &str, rng: &mut Rng) -> Vec<String> {
    let mut tag = String::new();
    let word = |word: &str| match word.split_at_checked(1) {
        Some(("$", name)) => {
            tag = format!("{{r{}}}", rng.u8(..12));
            format!("{tag}{name}")
        }
        Some(("%", name)) => format!("{tag}{name}"),
        _ => word.replace('~', " "),
    };
    template.split(' ').map(word).collect()
}

#[test]
fn random_transactions_have_the_bytes_of_a_plain_server() {
    let plain = Standalone::launch(&[]).unwrap();
    let cluster = own_primaries(3);
    let daemon = before(&cluster);
    daemon.until_tracked(3);
    let mut rng = Rng::with_seed(19);
    for version in [2, 3] {
        let mut sides = [plain.server().connect().unwrap(), daemon.client()];
        for side in &mut sides {
            side.hello(version).unwrap();
            side.set_timeout(SOON).unwrap();
        }
        let mut several = 0;
        for number in 0..TRANSACTIONS {
            let length = if number % 50 == 49 { 700 } else { rng.usize(..12) };
            let mut requests: Vec<Vec<String>> = vec![vec!["MULTI".to_owned()]];
            for _ in 0..length {
                let template = COMMANDS[rng.usize(..COMMANDS.len())];
                requests.push(request(template, &mut rng));
            }
            if rng.u8(..12) == 0 {
                let at = rng.usize(1..=requests.len());
                requests.insert(at, vec![RARE[rng.usize(..RARE.len())].to_owned()]);
            }
            requests.push(vec!["EXEC".to_owned()]);
            // What is asked right behind it in one write sees it.
            for _ in 0..4 {
                requests.push(vec!["GET".to_owned(), format!("{{r{}}}s", rng.u8(..12))]);
            }
            let bytes: Vec<u8> = requests.iter().flat_map(|request| encode(request)).collect();
            sides.iter_mut().for_each(|side| side.send_raw(&bytes).unwrap());
            for request in &requests {
                let [plain, nearside] =
                    sides.each_mut().map(|side| side.receive_raw().unwrap().escape_ascii().to_string());
                let same =
                    nearside.bytes().zip(plain.bytes()).take_while(|(one, other)| one == other).count();
                let from = same.saturating_sub(40);
                assert!(
                    nearside == plain,
                    "RESP{version}, {request:?} of transaction {number}: {:.200} and {:.200} of {requests:?}",
                    &nearside[from..],
                    &plain[from..]
                );
                several += usize::from(request == &["EXEC"] && plain.starts_with('*'));
            }
        }
        assert!(several > TRANSACTIONS / 2, "{several} were carried out");
    }
    let mut client = plain.server().connect().unwrap();
    for key in client.command(&["KEYS", "*"]).unwrap().items() {
        let dump = client.command(&["DUMP", &key.text()]).unwrap();
        assert_eq!(daemon.client().command(&["DUMP", &key.text()]).unwrap(), dump, "{key:?}");
    }
    daemon.assert_quiet();
}

#[test]
fn every_client_sees_what_a_transaction_wrote_once_it_is_answered() {
    let cluster = shared_cluster();
    let daemon = before(cluster);
    daemon.until_tracked(3);
    let keys = keys_of(cluster, "seen");
    let [one, two, three] = &keys[..] else { panic!("three primaries") };
    let (mut writer, mut reader) = (daemon.client(), daemon.client());
    for round in 0..200 {
        let value = round.to_string();
        let reply =
            transact(&mut writer, &[&["SET", one, &value], &["SET", two, &value], &["SET", three, &value]]);
        assert!(reply.items().iter().all(Reply::is_ok), "{reply:?}");
        for key in &keys {
            for client in [&mut reader, &mut writer] {
                // The second is a hit.
                assert_eq!(client.command(&["GET", key]).unwrap(), Reply::bulk(&value));
                assert_eq!(client.command(&["GET", key]).unwrap(), Reply::bulk(&value));
            }
        }
    }
    assert!(daemon.counter("l1_hits") > 0);
}

#[test]
fn a_part_that_a_node_refuses_leaves_the_others_done() {
    let cluster = own_primaries(3);
    let daemon = before(&cluster);
    daemon.until_tracked(3);
    let keys = keys_of(&cluster, "refused");
    let [one, full, three] = &keys[..] else { panic!("three primaries") };
    let slot = Slot::of(full.as_bytes());
    let mut client = daemon.client();
    let set = |key: &str, bytes: &str| {
        client_of_owner(&cluster, key.as_bytes()).command(&["CONFIG", "SET", "maxmemory", bytes]).unwrap()
    };
    let (first, behind) = (["SET", one, "1"], ["INCR", one]);
    let of_full: [&[&str]; 2] = [&["SET", full, "1"], &["GET", full]];
    assert!(set(full, "1").is_ok());
    let message: &[&str] = &["PUBLISH", "channel", "done"];
    let reply = transact(&mut client, &[&first, of_full[0], &["PING"], &behind, of_full[1], message]);
    let [set_one, refused, pong, incremented, also_refused, unpublished] = reply.items() else {
        panic!("{reply:?}")
    };
    assert!(set_one.is_ok() && pong.text() == "PONG" && incremented.integer() == Some(2), "{reply:?}");
    let error = format!("EXECABORT nearside: the transaction's part on slot {slot} was not executed: OOM ");
    assert!(refused.text().starts_with(&error), "{refused:?}");
    assert_eq!(refused, also_refused);
    let error = "ERR nearside: the message was not published, because another part of the transaction failed";
    assert_eq!(unpublished.text(), error);
    assert_eq!(client.command(&["EXISTS", full]).unwrap().integer(), Some(0));
    // Nothing was executed: then EXEC says what it says of any transaction.
    assert!(set(one, "1").is_ok() && set(three, "1").is_ok());
    let reply = transact(&mut client, &[&["INCR", one], of_full[0], &["SET", three, "1"]]);
    let error = "EXECABORT Transaction discarded because of: OOM ";
    assert!(reply.text().starts_with(error), "{reply:?}");
    assert_eq!(client.command(&["GET", one]).unwrap(), Reply::bulk("2"));
    for key in &keys {
        assert!(set(key, "0").is_ok());
    }
    let reply = transact(&mut client, &[&["INCR", one], of_full[0], message]);
    assert_eq!(reply.items().len(), 3);
    assert!(!reply.items().iter().any(Reply::is_error), "{reply:?}");
}

#[test]
fn a_part_whose_node_is_gone_leaves_the_others_done() {
    let cluster = own_primaries(3);
    for node in cluster.nodes() {
        node.server().command(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]).unwrap();
    }
    let daemon = before(&cluster);
    daemon.until_tracked(3);
    let keys = keys_of(&cluster, "gone");
    let [one, gone, three] = &keys[..] else { panic!("three primaries") };
    let mut client = daemon.client();
    owner(&cluster, gone.as_bytes()).server().kill9().unwrap();
    eventually("the loss is noticed", SOON, || client.command(&["GET", gone]).unwrap().is_error());
    let reply = transact(&mut client, &[&["INCR", one], &["INCR", gone], &["INCR", three]]);
    let [first, lost, third] = reply.items() else { panic!("{reply:?}") };
    assert_eq!((first.integer(), third.integer()), (Some(1), Some(1)), "{reply:?}");
    assert!(lost.text().contains("the command was not executed"), "{lost:?}");
    let reply = transact(&mut client, &[&["INCR", gone], &["INCR", &format!("{{{gone}}}x")]]);
    assert!(reply.text().contains("the command was not executed"), "{reply:?}");
}

#[test]
fn a_part_follows_its_slot_and_waits_for_no_other() {
    let cluster = own_primaries(3);
    let daemon = before(&cluster);
    daemon.until_tracked(3);
    let keys = keys_of(&cluster, "moved");
    let [one, moving, three] = &keys[..] else { panic!("three primaries") };
    let slot = Slot::of(moving.as_bytes());
    let mut client = daemon.client();
    let gone = format!("{{{moving}}}gone");
    client.command(&["SET", moving, "1"]).unwrap();
    // Keys of the slot are on two nodes, so nobody can carry out its part.
    let migration = cluster.begin_migration(slot, owner(&cluster, three.as_bytes())).unwrap();
    assert_eq!(migration.move_keys(100).unwrap(), 1);
    let reply = transact(&mut client, &[&["INCR", one], &["INCR", moving], &["INCR", three]]);
    let [first, refused, third] = reply.items() else { panic!("{reply:?}") };
    assert_eq!((first.integer(), third.integer()), (Some(1), Some(1)), "{reply:?}");
    let begin =
        format!("EXECABORT nearside: the transaction's part on slot {slot} was not executed: TRYAGAIN ");
    assert!(refused.text().starts_with(&begin), "{refused:?}");
    migration.finish().unwrap();
    let reply = transact(&mut client, &[&["INCR", one], &["INCR", moving], &["INCR", &gone]]);
    let counts: Vec<_> = reply.items().iter().map(Reply::integer).collect();
    assert_eq!(counts, [Some(2), Some(2), Some(1)]);
}

#[test]
fn a_message_comes_behind_all_that_was_written_before_it() {
    let cluster = shared_cluster();
    let daemon = before(cluster);
    daemon.until_tracked(3);
    let keys = keys_of(cluster, "message");
    let subscriber = daemon.client();
    let mut listening = subscriber;
    listening.set_timeout(SOON).unwrap();
    listening.command(&["SUBSCRIBE", "written"]).unwrap();
    let mut writer = daemon.client();
    let watching = thread::spawn({
        let mut nodes: Vec<_> =
            keys.iter().map(|key| (key.clone(), client_of_owner(cluster, key.as_bytes()))).collect();
        move || {
            for _ in 0..100 {
                let message = listening.receive().unwrap();
                let version: i64 = message.items()[2].text().parse().unwrap();
                for (key, node) in &mut nodes {
                    let found: i64 = node.command(&["GET", key.as_str()]).unwrap().text().parse().unwrap();
                    assert!(found >= version, "{key} is {found} when {version} is announced");
                }
            }
        }
    });
    for version in 1..=100 {
        let version = version.to_string();
        // The message is first, so that nothing but its rule keeps it back.
        let mut requests: Vec<Vec<&str>> = vec![vec!["PUBLISH", "written", &version]];
        requests.extend(keys.iter().map(|key| vec!["SET", key, &version]));
        let requests: Vec<&[&str]> = requests.iter().map(Vec::as_slice).collect();
        let reply = transact(&mut writer, &requests);
        assert_eq!(reply.items().len(), 4);
        assert!(!reply.items().iter().any(Reply::is_error), "{reply:?}");
    }
    watching.join().unwrap();
}

#[test]
fn thousands_of_slots_in_one_transaction_take_turns() {
    let cluster = shared_cluster();
    let daemon = before(cluster);
    daemon.until_tracked(3);
    let keys: Vec<String> = (0..3_000).map(|number| format!("many:{number}")).collect();
    let requests: Vec<Vec<&str>> = keys.iter().map(|key| vec!["INCR", key]).collect();
    let requests: Vec<&[&str]> = requests.iter().map(Vec::as_slice).collect();
    let mut client = daemon.client();
    client.set_timeout(SOON).unwrap();
    for round in 1..=3 {
        let reply = transact(&mut client, &requests);
        assert!(reply.items().iter().all(|reply| reply.integer() == Some(round)), "round {round}");
        assert_eq!(client.command(&["GET", &keys[17]]).unwrap(), Reply::bulk(round.to_string()));
        assert_eq!(client.command(&["GET", &keys[17]]).unwrap(), Reply::bulk(round.to_string()));
    }
    client.command(&[&["DEL"], &keys.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat()).unwrap();
}

#[test]
fn what_is_watched_and_the_keys_of_one_command_are_still_in_one_slot() {
    let daemon = before(shared_cluster());
    let mut client = daemon.client();
    let mut ask = |request: &[&str]| client.command(request).unwrap().text();
    let cross = "CROSSSLOT Keys in request don't hash to the same slot";
    assert_eq!(ask(&["WATCH", "{a}1", "{b}1"]), cross);
    assert_eq!(ask(&["WATCH", "{a}1"]), "OK");
    assert_eq!(ask(&["WATCH", "{b}1"]), cross);
    assert_eq!(ask(&["MULTI"]), "OK");
    assert_eq!(ask(&["SET", "{a}1", "x"]), "QUEUED");
    let watched = "nearside: a transaction and what is watched for it may have any keys in a pinned namespace, pin = true";
    assert_eq!(ask(&["SET", "{b}1", "x"]), format!("{cross} ({watched})"));
    assert!(ask(&["EXEC"]).starts_with("EXECABORT"));
    assert_eq!(ask(&["MULTI"]), "OK");
    assert_eq!(ask(&["SET", "{b}1", "x"]), "QUEUED");
    let one = "nearside: one command of a transaction may have any keys in a pinned namespace, pin = true";
    assert_eq!(ask(&["MSET", "{a}1", "x", "{b}1", "x"]), format!("{cross} ({one})"));
    assert!(ask(&["EXEC"]).starts_with("EXECABORT"));
    assert_eq!(client.command(&["EXISTS", "{b}1", "{a}1"]).unwrap().integer(), Some(0));
}
