//! Commands about all keys, and those that name a database: one Redis, whatever stands behind it.

use std::collections::HashMap;

use nearside::sandbox::{Reply, Standalone};

use crate::support::daemon::{Daemon, upstream_url};
use crate::support::servers::{own_primaries, owner};

#[test]
fn what_names_a_database_is_answered_as_with_one_database() {
    let plain = Standalone::launch(&["--databases", "1"].map(str::to_owned)).unwrap();
    let cluster = own_primaries(3);
    let daemon = Daemon::before(&cluster);
    let (mut client, mut direct) = (daemon.client(), plain.server().connect().unwrap());
    let requests: [&[&str]; 25] = [
        &["SET", "{k}a", "1"],
        &["MOVE", "{k}a", "0"],
        &["MOVE", "{k}a", "1"],
        &["MOVE", "{k}a", "-1"],
        &["MOVE", "{k}a", "x"],
        &["MOVE", "{k}a"],
        &["SWAPDB", "0", "0"],
        &["SWAPDB", "0", "1"],
        &["SWAPDB", "x", "0"],
        &["SWAPDB", "0", "x"],
        &["COPY", "{k}a", "{k}b", "DB", "0"],
        &["COPY", "{k}a", "{k}b", "DB", "0", "REPLACE"],
        &["COPY", "{k}a", "{k}b", "DB", "1"],
        &["COPY", "{k}a", "{k}b", "DB", "x"],
        &["COPY", "{k}a", "{k}b", "DB"],
        &["COPY", "{k}a", "{k}b", "FOO"],
        &["COPY", "{k}a", "{k}a"],
        &["COPY", "{k}a", "{k}b"],
        &["GET", "{k}b"],
        &["DBSIZE"],
        &["FLUSHALL", "FOO"],
        &["FLUSHALL", "ASYNC", "SYNC"],
        &["FLUSHDB", "ASYNC"],
        &["RANDOMKEY"],
        &["KEYS", "*"],
    ];
    for request in requests {
        let said = direct.command(request).unwrap();
        assert_eq!(client.command(request).unwrap(), said, "{request:?}");
    }
}

#[test]
fn a_random_key_is_as_likely_as_any_other_and_null_only_if_there_is_none() {
    let cluster = own_primaries(3);
    let daemon = Daemon::before(&cluster);
    let mut client = daemon.client();
    for version in [2, 3] {
        client.hello(version).unwrap();
        assert!(client.command(&["RANDOMKEY"]).unwrap().is_nil());
    }
    client.command(&["SET", "the only one", "v"]).unwrap();
    for _ in 0..50 {
        assert_eq!(client.command(&["RANDOMKEY"]).unwrap(), Reply::bulk("the only one"));
    }
    // One slot has nearly all keys: so its node gives nearly all random ones.
    for number in 0..500 {
        client.command(&["SET", &format!("{{many}}{number}"), "v"]).unwrap();
    }
    let lone = (0..).map(|number| format!("lone{number}"));
    let lone =
        lone.into_iter().find(|key| owner(&cluster, key.as_bytes()).id() != owner(&cluster, b"many").id());
    client.command(&["SET", &lone.unwrap(), "v"]).unwrap();
    let mut seen: HashMap<bool, u32> = HashMap::new();
    for _ in 0..300 {
        let key = client.command(&["RANDOMKEY"]).unwrap().text();
        *seen.entry(key.starts_with("{many}")).or_default() += 1;
    }
    assert!(seen[&true] > 250, "{seen:?}");
}

#[test]
fn a_flush_that_not_all_nodes_carried_out_says_which() {
    let cluster = own_primaries(3);
    let url = upstream_url(&cluster);
    let daemon = Daemon::start(&["--upstream", &url, "--upstream-request-timeout", "500ms"]);
    let mut client = daemon.client();
    client.command(&["SET", "k", "v"]).unwrap();
    let away = cluster.primaries().unwrap()[1].server();
    away.stop_signal().unwrap();
    let said = client.command(&["FLUSHALL"]).unwrap().text();
    away.continue_signal().unwrap();
    assert!(said.starts_with("ERR nearside: FLUSHALL was carried out by 2 of 3 primaries."), "{said}");
    assert!(said.contains(&away.address().to_string()), "{said}");
}

#[test]
fn keys_is_not_overtaken_by_what_is_asked_behind_it() {
    let cluster = own_primaries(3);
    let daemon = Daemon::before(&cluster);
    let mut client = daemon.client();
    for round in 0..50 {
        client.send(&["SET", "first", "v"]).unwrap();
        client.send(&["KEYS", "*"]).unwrap();
        (0..9).for_each(|number| client.send(&["SET", &format!("later{number}"), "v"]).unwrap());
        client.send(&["FLUSHALL"]).unwrap();
        assert!(client.receive().unwrap().is_ok());
        assert_eq!(client.receive().unwrap(), Reply::Array(vec![Reply::bulk("first")]), "round {round}");
        (0..10).for_each(|_| assert!(client.receive().unwrap().is_ok()));
    }
}

#[test]
fn commands_on_keys_of_one_slot_are_those_of_one_server() {
    let plain = Standalone::launch(&[]).unwrap();
    let cluster = own_primaries(3);
    let daemon = Daemon::before(&cluster);
    let (mut client, mut direct) = (daemon.client(), plain.server().connect().unwrap());
    let requests: [&[&str]; 29] = [
        &["MSETNX", "{k}a", "1", "{k}b", "2"],
        &["MSETNX", "{k}a", "1", "{k}c", "2"],
        &["TOUCH", "{k}a", "{k}b", "other", "absent"],
        &["RENAME", "{k}a", "{k}c"],
        &["RENAME", "{k}absent", "{k}c"],
        &["RENAMENX", "{k}c", "{k}b"],
        &["RPUSH", "{k}list", "3", "1", "2"],
        &["SORT", "{k}list"],
        &["SORT", "{k}list", "DESC", "LIMIT", "0", "2"],
        &["SORT", "{k}list", "STORE", "{k}sorted"],
        &["SORT_RO", "{k}list", "ALPHA"],
        &["SORT", "{k}list", "LIMIT", "x", "1"],
        &["LRANGE", "{k}sorted", "0", "-1"],
        &["SADD", "{k}s1", "1", "2"],
        &["SADD", "{k}s2", "2", "3"],
        &["SINTERSTORE", "{k}s3", "{k}s1", "{k}s2"],
        &["SMEMBERS", "{k}s3"],
        &["ZADD", "{k}z", "1", "a"],
        &["ZUNIONSTORE", "{k}zz", "2", "{k}z", "{k}s1"],
        &["ZRANGESTORE", "{k}zr", "{k}z", "0", "-1"],
        &["OBJECT", "ENCODING", "{k}list"],
        &["OBJECT", "REFCOUNT", "{k}list"],
        &["OBJECT", "ENCODING", "{k}absent"],
        &["OBJECT", "FREQ", "{k}list"],
        &["DUMP", "{k}list"],
        &["RESTORE", "{k}r", "0", "broken"],
        &["MEMORY", "USAGE", "{k}absent"],
        &["MIGRATE", "127.0.0.1", "1", "{k}absent", "0", "10"],
        &["DBSIZE"],
    ];
    for request in requests {
        let said = direct.command(request).unwrap();
        assert_eq!(client.command(request).unwrap(), said, "{request:?}");
    }
}
