//! A node answers with something that is no reply to what it was asked: its client is told so, and reads on.

use std::io::Write;
use std::sync::{Arc, Mutex};

use crate::support::daemon::Daemon;
use crate::support::scripted::ScriptedNode;

use nearside::sandbox::Reply;

/// A node that answers these requests so.
struct Liar {
    node: ScriptedNode,
    lies: Arc<Mutex<Vec<(&'static str, &'static str)>>>,
}

// === impl Liar ===

impl Liar {
    fn start() -> Liar {
        let lies = Arc::<Mutex<Vec<(&str, &str)>>>::default();
        let node = ScriptedNode::start("liar", {
            let lies = lies.clone();
            move |request, stream| {
                let asked = request.join(" ");
                let lie = lies.lock().unwrap().iter().find(|(begin, _)| asked.starts_with(begin)).copied();
                if let Some((_, lie)) = lie {
                    stream.write_all(lie.as_bytes())?;
                }
                Ok(lie.is_some())
            }
        });
        Liar { node, lies }
    }

    fn daemon(&self) -> Daemon {
        let url = format!("redis-cluster://{}", self.node.address());
        let daemon = Daemon::start(&["--upstream", &url, "--upstream-backoff-max", "50ms"]);
        daemon.until_tracked(1);
        daemon
    }

    fn lies(&self, lies: &[(&'static str, &'static str)]) {
        *self.lies.lock().unwrap() = lies.to_vec();
    }
}

/// The client is told of an odd reply, and what it asks next is answered as it should be.
fn is_told(daemon: &Daemon, version: u8, requests: &[&[&str]], text: &str) {
    let mut client = daemon.client();
    client.hello(version).unwrap();
    for request in requests {
        client.send(request).unwrap();
    }
    client.send(&["PING"]).unwrap();
    let replies: Vec<_> = requests.iter().map(|_| client.receive().unwrap()).collect();
    let told = replies.last().unwrap();
    assert!(told.is_error() && told.text().contains(text), "{requests:?} gave {replies:?}");
    assert_eq!(client.receive().unwrap().text(), "PONG", "{requests:?} gave {replies:?}");
}

#[test]
fn exec_has_as_many_replies_as_commands_were_queued() {
    let liar = Liar::start();
    let daemon = liar.daemon();
    let transaction: [&[&str]; 4] = [&["MULTI"], &["SET", "a", "1"], &["GET", "a"], &["EXEC"]];
    let watched = [&[&["WATCH", "a"][..]][..], &transaction].concat();
    for exec in [
        "*1\r\n+OK\r\n",
        "*0\r\n",
        "*3\r\n+OK\r\n:1\r\n:2\r\n",
        ":5\r\n",
        "+OK\r\n",
        "%1\r\n+a\r\n+b\r\n",
        "~2\r\n:1\r\n:2\r\n",
        "$1\r\na\r\n",
    ] {
        liar.lies(&[("EXEC", exec)]);
        for version in [2, 3] {
            for requests in [&transaction[..], &watched] {
                let losses = daemon.counter("upstream_losses");
                is_told(&daemon, version, requests, "answered EXEC with something that is no reply to");
                let is_shared = requests.len() == transaction.len();
                assert!(!is_shared || daemon.counter("upstream_losses") > losses, "its connection ends");
                daemon.until_tracked(1);
            }
        }
    }
    liar.lies(&[("EXEC", "*2\r\n+OK\r\n$1\r\n1\r\n")]);
    for requests in [&transaction[..], &watched] {
        let mut client = daemon.client();
        let reply = requests.iter().map(|request| client.command(request).unwrap()).last().unwrap();
        assert!(!reply.is_error(), "{reply:?}");
    }
    liar.lies(&[("EXEC", "_\r\n")]);
    let mut client = daemon.client();
    let reply = watched.iter().map(|request| client.command(request).unwrap()).last().unwrap();
    assert!(!reply.is_error(), "a key has changed: {reply:?}");
}

#[test]
fn what_is_put_together_is_made_of_replies_to_what_was_asked() {
    let liar = Liar::start();
    let daemon = liar.daemon();
    let odd = ["%1\r\n+a\r\n+b\r\n", "+OK\r\n", "_\r\n", "*0\r\n", "#t\r\n", "*1\r\n%0\r\n"];
    let asked: [(&str, &[&[&str]]); 6] = [
        ("WAIT ", &[&["WAIT", "0", "10"]]),
        ("WAITAOF", &[&["WAITAOF", "0", "0", "10"]]),
        ("DEL", &[&["DEL", "a", "b"]]),
        ("DBSIZE", &[&["DBSIZE"]]),
        ("MGET", &[&["MGET", "a", "b"]]),
        ("SCRIPT EXISTS", &[&["SCRIPT", "EXISTS", "0123456789012345678901234567890123456789", "0"]]),
    ];
    for (beginning, requests) in asked {
        for lie in odd {
            liar.lies(&[(beginning, lie)]);
            for version in [2, 3] {
                is_told(&daemon, version, requests, "with something that is no reply to it");
            }
        }
    }
    // The sum of what cannot be.
    liar.lies(&[("DEL", ":9223372036854775807\r\n")]);
    assert_eq!(daemon.client().command(&["DEL", "a", "b"]).unwrap(), Reply::Integer(i64::MAX));
}

#[test]
fn a_connection_on_which_exec_had_an_odd_reply_is_handed_to_nobody() {
    // What a transaction may read is more than this node lets wait for one client: it has a connection of its
    // own.
    const LIMIT: &str = "%1\r\n$26\r\nclient-output-buffer-limit\r\n$18\r\nnormal 1000000 0 0\r\n";
    let liar = Liar::start();
    let told = ("CONFIG GET client-*-limit", LIMIT);
    liar.lies(&[told]);
    let daemon = liar.daemon();
    let transaction: [&[&str]; 4] = [&["MULTI"], &["SET", "a", "1"], &["LRANGE", "a", "0", "-1"], &["EXEC"]];
    let watched = [&[&["WATCH", "a"][..]][..], &transaction].concat();
    for (exec, is_kept) in [("*2\r\n+OK\r\n*0\r\n", true), ("*1\r\n+OK\r\n", false), (":5\r\n", false)] {
        liar.lies(&[told, ("EXEC", exec)]);
        for requests in [&transaction[..], &watched] {
            let mut client = daemon.client();
            let opened = daemon.counter("dedicated_opened") + daemon.counter("dedicated_reused");
            let replies: Vec<_> = requests.iter().map(|request| client.command(request).unwrap()).collect();
            assert_eq!(replies.last().unwrap().is_error(), !is_kept, "{replies:?}");
            assert!(daemon.counter("dedicated_opened") + daemon.counter("dedicated_reused") > opened);
            assert_eq!(daemon.counter("dedicated_connections"), u64::from(is_kept), "{exec:?} {requests:?}");
        }
    }
}

#[test]
fn what_all_nodes_are_asked_is_answered_by_all_as_it_should_be() {
    let liar = Liar::start();
    let daemon = liar.daemon();
    let (map, list, number, ok, text) =
        ("%1\r\n+a\r\n+b\r\n", "*1\r\n%0\r\n", ":5\r\n", "+OK\r\n", "$1\r\na\r\n");
    let asked: [(&str, &[&str], &[&str]); 11] = [
        (
            "PUBSUB CHANNELS",
            &["PUBSUB", "CHANNELS"],
            &[map, list, number, ok, text, "_\r\n", "*2\r\n$1\r\na\r\n:1\r\n"],
        ),
        ("PUBSUB SHARDCHANNELS", &["PUBSUB", "SHARDCHANNELS", "*"], &[map, list, number, ok, text, "~0\r\n"]),
        (
            "PUBSUB NUMPAT",
            &["PUBSUB", "NUMPAT"],
            &[map, list, ok, text, "_\r\n", ":99999999999999999999\r\n"],
        ),
        (
            "PUBSUB NUMSUB",
            &["PUBSUB", "NUMSUB", "a", "b"],
            &[
                map,
                list,
                number,
                "*0\r\n",
                "*2\r\n$1\r\na\r\n:1\r\n",
                "*4\r\n$1\r\nb\r\n:1\r\n$1\r\na\r\n:1\r\n",
                "*4\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n$1\r\n1\r\n",
                "%2\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n:1\r\n",
            ],
        ),
        (
            "PUBSUB SHARDNUMSUB",
            &["PUBSUB", "SHARDNUMSUB", "a"],
            &[map, list, number, ok, "*2\r\n:1\r\n:1\r\n"],
        ),
        ("FUNCTION FLUSH", &["FUNCTION", "FLUSH"], &[map, list, number, text, "+QUEUED\r\n"]),
        ("FUNCTION LOAD", &["FUNCTION", "LOAD", "code"], &[map, list, number, "_\r\n"]),
        ("FUNCTION STATS", &["FUNCTION", "STATS"], &[map, list, number, ok, text, "%0\r\n"]),
        ("FUNCTION KILL", &["FUNCTION", "KILL"], &[map, list, number, text]),
        ("FLUSHALL", &["FLUSHALL"], &[map, list, number, text]),
        ("MEMORY PURGE", &["MEMORY", "PURGE"], &[map, list, number, text]),
    ];
    for (beginning, request, odd) in asked {
        for lie in odd {
            liar.lies(&[(beginning, lie)]);
            for version in [2, 3] {
                is_told(&daemon, version, &[request], &format!("a node answered {beginning} with something"));
            }
        }
    }
    // More than there can be.
    let most = "*2\r\n$1\r\na\r\n:9223372036854775807\r\n";
    liar.lies(&[("PUBSUB NUMSUB", most), ("PUBSUB NUMPAT", ":9223372036854775807\r\n")]);
    for request in [&["PUBSUB", "NUMSUB", "a"][..], &["PUBSUB", "NUMPAT"]] {
        let reply = daemon.client().command(request).unwrap();
        let count = reply.items().get(1).unwrap_or(&reply).clone();
        assert_eq!(count, Reply::Integer(i64::MAX), "{request:?}");
    }
}
