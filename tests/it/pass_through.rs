//! What passes through is what the server says: to the byte, in order, in both versions, on a miss and on a
//! hit.

use nearside::sandbox::{Reply, Standalone};

use crate::support::daemon::Daemon;
use crate::support::servers::{client_of_owner, shared_cluster};

/// Asked twice, so that what L1 keeps is compared as well.
const TWICE: usize = 2;

#[test]
fn lists_that_look_like_pushes_shift_no_later_reply() {
    let daemon = Daemon::before(shared_cluster());
    for version in [2, 3] {
        let mut client = daemon.client();
        client.hello(version).unwrap();
        client.command(&["SET", "push-like:marker", "marker"]).unwrap();
        for head in
            ["message", "pmessage", "smessage", "subscribe", "psubscribe", "unsubscribe", "invalidate"]
        {
            let key = format!("push-like:{version}:{head}");
            client.command(&["DEL", &key]).unwrap();
            client.command(&["RPUSH", &key, head, "channel", "payload"]).unwrap();
            let list = Reply::Array([head, "channel", "payload"].map(Reply::bulk).to_vec());
            for _ in 0..TWICE {
                client.send(&["LRANGE", &key, "0", "-1"]).unwrap();
                client.send(&["GET", "push-like:marker"]).unwrap();
                assert_eq!(client.receive().unwrap(), list);
                assert_eq!(client.receive().unwrap(), Reply::bulk("marker"), "after a list with head {head}");
            }
        }
    }
    daemon.assert_quiet();
}

#[test]
fn values_that_look_like_pushes_shift_no_later_reply_of_mget() {
    let daemon = Daemon::before(shared_cluster());
    let mut client = daemon.client();
    let words = ["message", "subscribe", "psubscribe", "invalidate"];
    // With a hash tag: one slot, one upstream array. Without: one array for each slot.
    for prefix in ["{mget-like}", "mget-like:"] {
        let keys = words.map(|word| format!("{prefix}{word}"));
        for (key, word) in keys.iter().zip(words) {
            client.command(&["SET", key, word]).unwrap();
        }
        let mget: Vec<&str> = ["MGET"].into_iter().chain(keys.iter().map(String::as_str)).collect();
        for _ in 0..TWICE {
            client.send(&mget).unwrap();
            client.send(&["GET", &keys[3]]).unwrap();
            assert_eq!(client.receive().unwrap(), Reply::Array(words.map(Reply::bulk).to_vec()));
            assert_eq!(client.receive().unwrap(), Reply::bulk(words[3]));
        }
    }
}

#[test]
fn values_that_look_like_redirects_are_values() {
    let daemon = Daemon::before(shared_cluster());
    let mut client = daemon.client();
    for value in ["MOVED 1 a:1", "ASK 1 h:p", "-MOVED 1 a:1", "CLUSTERDOWN", "-ERR no\r\n+OK\r\n"] {
        let key = format!("redirect-like:{value}");
        client.command(&["SET", &key, value]).unwrap();
        client.command(&["HSET", &format!("{key}:hash"), value, value]).unwrap();
        for _ in 0..TWICE {
            assert_eq!(client.command(&["GET", &key]).unwrap(), Reply::bulk(value));
            assert_eq!(client.command(&["HGET", &format!("{key}:hash"), value]).unwrap(), Reply::bulk(value));
            assert_eq!(client.command(&["ECHO", value]).unwrap(), Reply::bulk(value));
        }
    }
    daemon.assert_quiet();
}

#[test]
fn bytes_that_are_not_utf8_pass_unchanged() {
    let cluster = shared_cluster();
    let daemon = Daemon::before(cluster);
    let mut client = daemon.client();
    let every_byte: Vec<u8> = (0..=255).collect();
    let key: &[u8] = b"bytes:\x00\xff\xfe\r\n";
    assert!(client.command(&[b"SET", key, &every_byte]).unwrap().is_ok());
    for _ in 0..TWICE {
        assert_eq!(client.command(&[b"GET", key]).unwrap(), Reply::Bulk(every_byte.clone()));
    }
    let direct = client_of_owner(cluster, key).command(&[b"GET", key]).unwrap();
    assert_eq!(direct, Reply::Bulk(every_byte));
}

#[test]
fn error_lines_are_those_of_the_server() {
    let cluster = shared_cluster();
    let daemon = Daemon::before(cluster);
    let mut client = daemon.client();
    let mut direct = client_of_owner(cluster, b"errors:list");
    direct.command(&["DEL", "errors:list"]).unwrap();
    direct.command(&["RPUSH", "errors:list", "one"]).unwrap();
    let requests: [&[&[u8]]; 8] = [
        &[b"NOSUCH\xff", b"an\xfe", b"argument\xff"],
        &[b"NOSUCH"],
        &[b"GET"],
        &[b"GET", b"errors:list"],
        &[b"GET", b"errors:list", b"\xff"],
        &[b"LRANGE", b"errors:list", b"\xff", b"1"],
        &[b"SET", b"errors:list", b"v", b"\xff"],
        &[b"EVAL", b"return redis.error_reply('ERR \xff')", b"1", b"errors:list"],
    ];
    for request in requests {
        for _ in 0..TWICE {
            let (through, said) = (client.command(request).unwrap(), direct.command(request).unwrap());
            assert!(said.is_error(), "{said:?}");
            assert_eq!(through, said);
        }
    }
}

#[test]
fn order_and_digits_are_those_of_the_server() {
    let cluster = shared_cluster();
    let daemon = Daemon::before(cluster);
    let mut writer = client_of_owner(cluster, b"{exact}");
    for key in ["{exact}hash", "{exact}set", "{exact}zset"] {
        writer.command(&["DEL", key]).unwrap();
    }
    let scores = ["0.1", "1e300", "inf", "-inf", "3.0000000000000004", "-0", "100", "1e-7", "17179869184.5"];
    for (number, score) in scores.iter().enumerate() {
        let member = format!("member{}", number * 7 % scores.len());
        writer.command(&["ZADD", "{exact}zset", score, &member]).unwrap();
        // Integers: the order of a small set of them is fixed, that of strings changes while the server
        // rehashes.
        writer.command(&["SADD", "{exact}set", &number.to_string()]).unwrap();
        writer.command(&["HSET", "{exact}hash", &member, score]).unwrap();
    }
    let requests: [&[&str]; 12] = [
        &["HGETALL", "{exact}hash"],
        &["HKEYS", "{exact}hash"],
        &["HMGET", "{exact}hash", "member1", "absent"],
        &["SMEMBERS", "{exact}set"],
        &["SISMEMBER", "{exact}set", "1"],
        &["ZSCORE", "{exact}zset", "member0"],
        &["ZSCORE", "{exact}zset", "absent"],
        &["ZMSCORE", "{exact}zset", "member1", "absent", "member7"],
        &["ZRANGE", "{exact}zset", "0", "-1", "WITHSCORES"],
        &["ZRANK", "{exact}zset", "member3"],
        &["GET", "{exact}absent"],
        &["TYPE", "{exact}zset"],
    ];
    for version in [2, 3] {
        let (mut client, mut direct) = (daemon.client(), client_of_owner(cluster, b"{exact}"));
        client.hello(version).unwrap();
        direct.hello(version).unwrap();
        for request in requests {
            let said = direct.command(request).unwrap();
            for _ in 0..TWICE {
                assert_eq!(client.command(request).unwrap(), said, "RESP{version} {request:?}");
            }
        }
    }
    daemon.assert_quiet();
}

#[test]
fn commands_that_only_the_server_knows_are_looked_up_and_forwarded() {
    // No module is at hand; a renamed command is as unknown to the table as one, and COMMAND INFO tells of
    // it.
    let renamed = ["--rename-command", "getrange", "my.getrange", "--rename-command", "incrby", "my.incrby"];
    let server = Standalone::launch(&renamed.map(str::to_owned)).unwrap();
    let daemon = Daemon::start(&["--upstream", &format!("redis://{}", server.server().address())]);
    let mut client = daemon.client();
    let mut direct = server.server().connect().unwrap();
    client.command(&["SET", "number", "41"]).unwrap();
    let before = daemon.counter("upstream_commands");
    for _ in 0..TWICE {
        assert_eq!(client.command(&["MY.GETRANGE", "number", "0", "0"]).unwrap(), Reply::bulk("4"));
    }
    // One COMMAND INFO for both; reads of unknown commands are not kept.
    assert_eq!(daemon.counter("upstream_commands"), before + 1 + TWICE as u64);
    assert_eq!(client.command(&["GET", "number"]).unwrap(), Reply::bulk("41"));
    assert_eq!(client.command(&["my.incrby", "number", "1"]).unwrap().integer(), Some(42));
    assert_eq!(client.command(&["GET", "number"]).unwrap(), Reply::bulk("42"), "what it wrote is seen");
    for _ in 0..TWICE {
        let unknown = client.command(&["MY.OTHER", "x"]).unwrap();
        assert_eq!(unknown, direct.command(&["MY.OTHER", "x"]).unwrap());
    }
    daemon.assert_quiet();
}
