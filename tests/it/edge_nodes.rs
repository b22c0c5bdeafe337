//! Every kind of answer that a node should not give: broken, endless, slow, half-closed, oversized, of
//! another shape, or not asked for. Who asked gets a clear error, or what the node said; nobody else notices,
//! and a node that is well again is served again.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use nearside::protocol::key::Slot;
use nearside::sandbox::{Reply, SandboxClient};

use crate::support::daemon::Daemon;
use crate::support::scripted::{ScriptedNode, bulk, slots};
use crate::support::servers::eventually;

/// For what must happen, on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// More than the daemon ever needs, and less than what it is sent.
const MEMORY_KB_MAX: u64 = 200_000;

/// One reply may be so long here.
const REPLY_BYTES_MAX: &str = "1mb";

/// What a node does instead of answering.
type Fault = fn(&mut TcpStream) -> io::Result<()>;

/// What the client hears of it.
enum Verdict {
    /// What the node said, for it is a reply.
    Says(&'static str),
    /// An error of the daemon's, with these words.
    Error(&'static str),
}

use Verdict::{Error, Says};

fn say(stream: &mut TcpStream, text: &str) -> io::Result<()> {
    stream.write_all(text.as_bytes())
}

/// Hears all and says nothing more, until the other side hangs up.
fn is_deaf(stream: &mut TcpStream) -> io::Result<()> {
    while stream.read(&mut [0; 4096])? > 0 {}
    Err(io::ErrorKind::UnexpectedEof.into())
}

/// Goes on at some 2 MB/s, so that the others of the table have their turn.
fn endless(stream: &mut TcpStream, head: &str, piece: &str) -> io::Result<()> {
    flood(stream, head, piece, Duration::from_millis(50))
}

/// Goes on for ever, with a pause after every 100 kB.
fn flood(stream: &mut TcpStream, head: &str, piece: &str, pause: Duration) -> io::Result<()> {
    stream.write_all(head.as_bytes())?;
    let many = piece.repeat(1 + 100_000 / piece.len());
    loop {
        stream.write_all(many.as_bytes())?;
        thread::sleep(pause);
    }
}

const SLOWLY: &str = "came along too slowly";

/// The words for a wait of which the node does not tell that it is over.
const NO_END: &str = "its node does not answer though the time of the wait is over";

/// The words where a subscription was asked for again and again, in vain.
const NOT_CONFIRMED: &str = "the upstream did not confirm the subscription within 2000 ms";

/// The words for what has another shape than the reply to such a command.
const NO_REPLY: &str = "with something that is no reply to";

fn faults() -> Vec<(&'static str, Fault, Verdict)> {
    let too_long = "a reply is longer than upstream_reply_bytes_max";
    vec![
        ("no RESP", |s| say(s, "HTTP/1.1 400 Bad Request\r\n\r\n"), Error("unknown RESP type byte 0x48")),
        ("an unknown type", |s| say(s, "?3\r\nabc\r\n"), Error("unknown RESP type byte 0x3f")),
        ("zeros", |s| say(s, &"\0".repeat(100)), Error("may or may not have been executed")),
        ("an endless line", |s| endless(s, "+", "x"), Error(SLOWLY)),
        ("an endless error", |s| endless(s, "-ERR ", "x"), Error(SLOWLY)),
        ("an endless length", |s| endless(s, "$", "1"), Error("bad RESP length")),
        ("an endless bulk", |s| endless(s, "$1073741824\r\n", "x"), Error(SLOWLY)),
        ("an endless array", |s| endless(s, "*2147483647\r\n", ":1\r\n"), Error(SLOWLY)),
        ("endless attributes", |s| endless(s, "", "|1\r\n+a\r\n+b\r\n"), Error(SLOWLY)),
        ("endless pushes", |s| endless(s, "", ">2\r\n+a\r\n+b\r\n"), Error("upstream_request_timeout")),
        (
            "arrays in arrays, a million deep",
            |s| say(s, &("*1\r\n".repeat(1_000_000) + ":1\r\n")),
            Error(too_long),
        ),
        ("arrays in arrays without an end", |s| endless(s, "", "*1\r\n"), Error(SLOWLY)),
        (
            "a byte now and then",
            |s| {
                for byte in bulk(&"x".repeat(200)).bytes() {
                    s.write_all(&[byte])?;
                    thread::sleep(Duration::from_millis(150));
                }
                Ok(())
            },
            Error(SLOWLY),
        ),
        ("half-closed", |s| s.shutdown(Shutdown::Write), Error("closed by the node")),
        (
            "half an answer, then half-closed",
            |s| {
                say(s, "$10\r\nhalf")?;
                s.shutdown(Shutdown::Write)
            },
            Error("closed by the node"),
        ),
        ("reset", |_| Err(io::ErrorKind::ConnectionReset.into()), Error("reset by peer")),
        ("silent", is_deaf, Error("upstream_request_timeout")),
        (
            "a long one that is announced, and no more",
            |s| {
                say(s, "$1000000000\r\n")?;
                is_deaf(s)
            },
            Error(SLOWLY),
        ),
        ("a length beyond all bounds", |s| say(s, "$99999999999999\r\n"), Error("bad RESP length")),
        ("a length that is no number", |s| say(s, "$1x\r\n"), Error("bad RESP length")),
        ("a negative length", |s| say(s, "$-7\r\n"), Error("bad RESP length")),
        ("a negative count", |s| say(s, "*-7\r\n"), Error("bad RESP length")),
        ("a bulk without its end", |s| say(s, "$3\r\nabcdef"), Error("another length than it says")),
        ("another type", |s| say(s, ":7\r\n"), Says(":7\r\n")),
        ("an array for one", |s| say(s, "*2\r\n:1\r\n$-1\r\n"), Says("*2\r\n:1\r\n$-1\r\n")),
        ("+OK for all", |s| say(s, "+OK\r\n"), Says("+OK\r\n")),
        ("an error", |s| say(s, "-ERR as it is\r\n"), Says("-ERR as it is\r\n")),
        (
            "pushes of no known shape, then the answer",
            |s| say(s, ">0\r\n>1\r\n:7\r\n>1\r\n*1\r\n_\r\n>3\r\n+pubsub\r\n_\r\n:1\r\n$4\r\nfine\r\n"),
            Says("$4\r\nfine\r\n"),
        ),
        (
            "a push in the middle of an answer",
            |s| say(s, "*2\r\n:1\r\n>2\r\n+a\r\n+b\r\n:2\r\n"),
            Error("a push inside a reply"),
        ),
        ("two answers for one", |s| say(s, "$3\r\none\r\n$3\r\ntwo\r\n"), Says("$3\r\none\r\n")),
    ]
}

/// A command of a client, and the one that the node gets for it and does not answer as it should.
struct Asked {
    name: &'static str,
    before: &'static [&'static [&'static str]],
    last: &'static [&'static str],
    times_max: usize,
    /// The words for no answer in time, where they are others.
    late: Option<&'static str>,
    /// The words for what is no reply to it; what is any reply goes to the client as it is where there are
    /// none.
    no_reply: Option<&'static str>,
}

const ASKED: [Asked; 6] = [
    Asked { name: "GET", before: &[], last: &["GET", "KEY"], times_max: 2, late: None, no_reply: None },
    Asked {
        name: "SET",
        before: &[],
        last: &["SET", "KEY", "value"],
        times_max: 1,
        late: None,
        no_reply: None,
    },
    Asked {
        name: "EXEC",
        before: &[&["MULTI"], &["INCR", "KEY"]],
        last: &["EXEC"],
        times_max: 1,
        late: None,
        no_reply: Some(NO_REPLY),
    },
    Asked {
        name: "BLPOP",
        before: &[],
        last: &["BLPOP", "KEY", "1"],
        times_max: 1,
        late: Some(NO_END),
        no_reply: None,
    },
    Asked {
        name: "SUBSCRIBE",
        before: &[],
        last: &["SUBSCRIBE", "KEY"],
        times_max: usize::MAX,
        late: Some(NOT_CONFIRMED),
        no_reply: Some(NOT_CONFIRMED),
    },
    Asked {
        name: "MGET",
        before: &[],
        last: &["MGET", "CALM", "KEY"],
        times_max: 2,
        late: None,
        no_reply: Some(NO_REPLY),
    },
];

/// A node that is broken for one command, and a client that asks it that.
struct Row {
    name: String,
    asked: &'static Asked,
    verdict: Verdict,
    is_broken: Arc<AtomicBool>,
    node: ScriptedNode,
}

/// The cluster's map, once all have their ports.
type Map = Arc<OnceLock<String>>;

fn row(fault: (&'static str, Fault, Verdict), asked: &'static Asked, map: &Map) -> Row {
    let (name, fault, verdict) = fault;
    let name = format!("{}: {name}", asked.name);
    let is_broken = Arc::new(AtomicBool::new(true));
    let node = ScriptedNode::start(&name, {
        let (is_broken, map) = (is_broken.clone(), map.clone());
        move |request, stream| {
            match request {
                ["CLUSTER", "SLOTS"] => say(stream, map.get().unwrap())?,
                [first, ..] if *first == asked.name && is_broken.load(Ordering::Acquire) => fault(stream)?,
                _ => return Ok(false),
            }
            Ok(true)
        }
    });
    Row { name, asked, verdict, is_broken, node }
}

/// Each has its share of the slots.
fn shares(nodes: &[&ScriptedNode]) -> Vec<(u16, u16)> {
    let count = nodes.len();
    let first = |at: usize| u16::try_from(16_384 * at / count).unwrap();
    (0..count).map(|at| (first(at), first(at + 1) - 1)).collect()
}

fn key_within((first, last): (u16, u16)) -> String {
    let mut keys = (0..).map(|number| format!("key:{number}"));
    keys.find(|key| (first..=last).contains(&Slot::of(key.as_bytes()).number())).unwrap()
}

fn with_keys<'a>(words: &[&'a str], key: &'a str, calm: &'a str) -> Vec<&'a str> {
    words
        .iter()
        .map(|word| match *word {
            "KEY" => key,
            "CALM" => calm,
            word => word,
        })
        .collect()
}

impl Row {
    /// What is wrong, in words.
    fn try_out(&self, daemon: &Daemon, key: &str, calm: &str) -> Result<(), String> {
        let name = &self.name;
        let mut client = daemon.client();
        client.set_timeout(SOON).unwrap();
        for request in self.asked.before {
            client.command(&with_keys(request, key, calm)).unwrap();
        }
        client.send(&with_keys(self.asked.last, key, calm)).unwrap();
        let heard = client.receive_raw().map_err(|error| format!("{name}: nothing came: {error}"))?;
        let heard = String::from_utf8_lossy(&heard).into_owned();
        let is_right = match self.verdict {
            Says(text) => match self.asked.no_reply {
                Some(words) if !text.starts_with('-') => heard.starts_with('-') && heard.contains(words),
                _ => heard == text,
            },
            Error(words) => {
                let has_words =
                    heard.contains(words) || self.asked.late.is_some_and(|late| heard.contains(late));
                heard.starts_with('-') && heard.contains("nearside: ") && has_words
            }
        };
        let shown: String = heard.chars().take(300).collect();
        if !is_right {
            return Err(format!("{name}: {shown:?}"));
        }
        let times = self.node.times_asked(self.asked.name);
        if times == 0 || times > self.asked.times_max {
            return Err(format!("{name}: asked {times} times"));
        }
        self.is_broken.store(false, Ordering::Release);
        // Nothing that is left of the conversation answers these, and the node is served again. What it said
        // to GET is in L1 until SET.
        let mut reply = Reply::bulk("");
        let is_served = (0..1_200).any(|_| {
            thread::sleep(Duration::from_millis(50));
            reply = client.command(&["SET", key, "again"]).unwrap();
            !reply.is_error()
        });
        if !is_served || !reply.is_ok() {
            return Err(format!("{name}: then SET: {}", reply.text()));
        }
        let reply = client.command(&["GET", key]).unwrap();
        if reply != Reply::bulk("value") {
            return Err(format!("{name}: then GET: {}", reply.text()));
        }
        println!("{name}: {shown:?}");
        Ok(())
    }
}

#[test]
fn every_answer_has_its_end_and_is_nobody_elses_affair() {
    ASKED.iter().for_each(all_rows);
}

/// Side by side: each row has a node of one cluster, and a bystander has one that is well.
fn all_rows(asked: &'static Asked) {
    let map = Map::default();
    let well = ScriptedNode::start("well", {
        let map = map.clone();
        move |request, stream| {
            match request {
                ["CLUSTER", "SLOTS"] => say(stream, map.get().unwrap())?,
                ["MGET", _] => say(stream, "*1\r\n$5\r\nvalue\r\n")?,
                _ => return Ok(false),
            }
            Ok(true)
        }
    });
    let rows: Vec<Row> = faults().into_iter().map(|fault| row(fault, asked, &map)).collect();
    let nodes: Vec<&ScriptedNode> = rows.iter().map(|row| &row.node).chain([&well]).collect();
    let names: Vec<&str> = rows.iter().map(|row| &*row.name).chain(["well"]).collect();
    let shares = shares(&nodes);
    let owners = nodes.iter().zip(&names).zip(&shares);
    let ranges: Vec<(u16, u16, &str, u16, &str)> = owners
        .map(|((node, name), (first, last))| (*first, *last, "127.0.0.1", node.address().port(), *name))
        .collect();
    map.set(slots(&ranges)).unwrap();
    let url = format!("redis-cluster://{}", well.address());
    let bounds = ["--upstream-request-timeout", "2s", "--upstream-request-time-max", "4s"];
    let size = ["--upstream-reply-bytes-max", REPLY_BYTES_MAX, "--upstream-backoff-max", "100ms"];
    let daemon = Daemon::start(&[&["--upstream", &url][..], &bounds, &size].concat());
    eventually("the map is taken", SOON, || daemon.counter("topology_refreshes") > 0);
    let calm = key_within(shares[rows.len()]);
    let mut wrong = Vec::new();
    thread::scope(|scope| {
        let trials: Vec<_> = rows
            .iter()
            .zip(&shares)
            .map(|(row, share)| scope.spawn(|| row.try_out(&daemon, &key_within(*share), &calm)))
            .collect();
        let mut bystander: SandboxClient = daemon.client();
        bystander.set_timeout(SOON).unwrap();
        while !trials.iter().all(|trial| trial.is_finished()) {
            assert_eq!(bystander.command(&["GET", &calm]).unwrap(), Reply::bulk("value"));
            assert!(bystander.command(&["SET", &calm, "1"]).unwrap().is_ok());
            thread::sleep(Duration::from_millis(10));
        }
        wrong.extend(trials.into_iter().filter_map(|trial| trial.join().unwrap().err()));
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
    let peak: u64 = daemon.peak_memory().trim_end_matches(" kB").parse().unwrap();
    println!("{}: the daemon held {peak} kB at most", asked.name);
    assert!(peak < MEMORY_KB_MAX, "{peak} kB");
    assert!(!daemon.log_text().contains("panicked"), "{}", daemon.log_text());
    daemon.stop();
}

/// A daemon before one node that floods it instead of answering GET, faster than it reads, and what the
/// client hears.
fn flooded(fault: Fault) -> String {
    let node = ScriptedNode::start("node", move |request, stream| {
        let is_it = matches!(request, ["GET", ..]);
        if is_it {
            fault(stream)?;
        }
        Ok(is_it)
    });
    let url = format!("redis-cluster://{}", node.address());
    let bounds = ["--upstream-request-timeout", "1s", "--upstream-request-time-max", "2s"];
    let size = ["--upstream-reply-bytes-max", REPLY_BYTES_MAX];
    let daemon = Daemon::start(&[&["--upstream", &url][..], &bounds, &size].concat());
    daemon.until_tracked(1);
    let mut client = daemon.client();
    client.set_timeout(SOON).unwrap();
    let heard = client.command(&["GET", "key"]).unwrap().text();
    let peak: u64 = daemon.peak_memory().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < MEMORY_KB_MAX, "{peak} kB");
    assert!(client.command(&["SET", "key", "value"]).unwrap().is_ok());
    heard
}

#[test]
fn what_comes_faster_than_it_is_read_and_has_no_end_puts_no_deadline_off() {
    let floods: [Fault; 3] = [
        |stream| flood(stream, "", ">2\r\n+a\r\n+b\r\n", Duration::ZERO),
        // On a quick machine it is longer than all bounds before it is late.
        |stream| flood(stream, "+", "x", Duration::ZERO),
        |stream| flood(stream, "", "*1\r\n", Duration::ZERO),
    ];
    for fault in floods {
        let heard = flooded(fault);
        assert!(
            heard.contains("nearside: ") && heard.contains("may or may not have been executed"),
            "{heard}"
        );
    }
}

#[test]
fn a_node_that_is_silent_to_wait_holds_nobody_for_longer_than_the_time_of_the_wait() {
    let node = ScriptedNode::start("node", |request, stream| match request {
        ["WAIT", ..] => is_deaf(stream).map(|()| true),
        _ => Ok(false),
    });
    let url = format!("redis-cluster://{}", node.address());
    let daemon = Daemon::start(&["--upstream", &url, "--upstream-request-timeout", "1s"]);
    daemon.until_tracked(1);
    let mut client = daemon.client();
    client.set_timeout(SOON).unwrap();
    assert!(client.command(&["SET", "key", "value"]).unwrap().is_ok());
    let heard = client.command(&["WAIT", "1", "100"]).unwrap().text();
    assert!(heard.contains("the wait was given up"), "{heard}");
    assert!(client.command(&["SET", "key", "value"]).unwrap().is_ok());
}
