//! Whatever a node answers when it is asked who owns what, it costs neither memory nor time nor the process:
//! what was known stays, clients are served, and the first whole answer is taken.

use std::fs;
use std::io::{self, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nearside::sandbox::Standalone;

use crate::support::daemon::{Daemon, upstream_url};
use crate::support::scripted::{ScriptedNode, bulk, slots};
use crate::support::servers::{eventually, own_primaries};

/// For what must happen, on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// More than the daemon ever needs, and less than what it is sent.
const MEMORY_KB_MAX: u64 = 200_000;

/// What a broken node does instead of answering CLUSTER SLOTS.
type Fault = fn(&mut TcpStream) -> io::Result<()>;

fn endless(stream: &mut TcpStream, head: &str, piece: &str) -> io::Result<()> {
    stream.write_all(head.as_bytes())?;
    let many = piece.repeat(1 + 100_000 / piece.len());
    loop {
        stream.write_all(many.as_bytes())?;
    }
}

fn say(stream: &mut TcpStream, text: &str) -> io::Result<()> {
    stream.write_all(text.as_bytes())
}

/// Ranges of one slot each.
fn ranges(count: u16, host_of: impl Fn(u16) -> String) -> String {
    let name = |slot: u16| (slot, host_of(slot));
    let named: Vec<(u16, String)> = (0..count).map(name).collect();
    slots(&named.iter().map(|(slot, host)| (*slot, *slot, &**host, 6379, &**host)).collect::<Vec<_>>())
}

const FAULTS: [(&str, Fault); 17] = [
    ("an endless string", |stream| endless(stream, "$1073741824\r\n", "x")),
    ("an endless line", |stream| endless(stream, "+", "x")),
    ("an endless error", |stream| endless(stream, "-ERR ", "x")),
    ("an endless array by its own word", |stream| endless(stream, "*2147483647\r\n", ":1\r\n")),
    ("an array that is too long when all has come", |stream| endless(stream, "*5000000\r\n", ":12345\r\n")),
    ("endless attributes", |stream| endless(stream, "", "|1\r\n+a\r\n+b\r\n")),
    ("endless pushes", |stream| endless(stream, "", ">2\r\n+a\r\n+b\r\n")),
    ("arrays in arrays, a million deep", |stream| say(stream, &("*1\r\n".repeat(1_000_000) + ":1\r\n"))),
    ("arrays in arrays without an end", |stream| endless(stream, "", "*1\r\n")),
    ("a byte now and then", |stream| {
        for byte in slots(&[(0, 16_383, "127.0.0.1", 1, "other")]).bytes() {
            stream.write_all(&[byte])?;
            thread::sleep(Duration::from_millis(900));
        }
        Ok(())
    }),
    ("half an answer, and the end", |stream| {
        say(stream, "*2\r\n*3\r\n:0\r\n")?;
        stream.shutdown(Shutdown::Write)
    }),
    ("no slots at all", |stream| say(stream, "*0\r\n")),
    ("another type", |stream| say(stream, "%1\r\n+a\r\n+b\r\n")),
    ("slots that overlap", |stream| {
        say(stream, &slots(&[(0, 9_000, "10.0.0.1", 1, "a"), (9_000, 16_383, "10.0.0.2", 1, "b")]))
    }),
    ("5,000 nodes", |stream| say(stream, &ranges(5_000, |slot| format!("host{slot}")))),
    ("no RESP", |stream| say(stream, "HTTP/1.1 200 OK\r\n\r\n")),
    ("more than was asked", |stream| {
        say(stream, "*0\r\n")?;
        say(stream, &slots(&[(0, 16_383, "10.0.0.1", 1, "a")]).repeat(3))
    }),
];

#[test]
fn what_a_node_answers_about_the_slots_costs_neither_memory_nor_the_process() {
    thread::scope(|scope| {
        for chunk in FAULTS.chunks(FAULTS.len().div_ceil(3)) {
            scope.spawn(|| chunk.iter().for_each(|(name, fault)| broken_for_a_while(name, *fault)));
        }
    });
}

/// A node that answers well, then not, then well again.
fn broken_for_a_while(name: &str, fault: Fault) {
    let broken = Arc::new(AtomicBool::new(false));
    let node = ScriptedNode::start("node", {
        let broken = broken.clone();
        move |request, stream| {
            let is_it = broken.load(Ordering::Acquire) && matches!(request, ["CLUSTER", "SLOTS"]);
            if is_it {
                fault(stream)?;
            }
            Ok(is_it)
        }
    });
    let url = format!("redis-cluster://{}", node.address());
    let bounds = ["--topology-refresh-interval", "100ms", "--upstream-backoff-max", "100ms"];
    let timeout = ["--upstream-request-timeout", "2s"];
    let daemon = Daemon::start(&[&["--upstream", &url][..], &bounds, &timeout].concat());
    daemon.until_tracked(1);
    broken.store(true, Ordering::Release);
    let before = node.times_asked("CLUSTER SLOTS");
    let mut client = daemon.client();
    eventually(&format!("{name}: it is asked again and again"), SOON, || {
        assert!(client.command(&["SET", "key", "value"]).unwrap().is_ok(), "{name}");
        node.times_asked("CLUSTER SLOTS") >= before + 3
    });
    daemon.assert_logged("WARN", "topology discovery failed");
    let peak: u64 = daemon.peak_memory().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < MEMORY_KB_MAX, "{name}: {peak} kB");
    let refreshes = daemon.counter("topology_refreshes");
    broken.store(false, Ordering::Release);
    eventually(&format!("{name}: a whole answer is taken"), SOON, || {
        daemon.counter("topology_refreshes") > refreshes
    });
    assert!(client.command(&["SET", "key", "value"]).unwrap().is_ok(), "{name}");
    daemon.stop();
}

#[test]
fn as_many_ranges_as_there_are_slots_are_a_map() {
    let node = ScriptedNode::start("node", |request, stream| {
        let is_it = matches!(request, ["CLUSTER", "SLOTS"]);
        if is_it {
            // Few nodes, which nobody is at.
            let ranges = ranges(16_384, |slot| format!("127.127.0.{}", slot % 2));
            stream.write_all(ranges.as_bytes())?;
        }
        Ok(is_it)
    });
    let daemon = Daemon::start(&["--upstream", &format!("redis-cluster://{}", node.address())]);
    eventually("the map is taken", SOON, || daemon.counter("topology_refreshes") > 0);
    let told = daemon.client().command(&["GET", "key"]).unwrap().text();
    assert!(told.contains("127.127.0."), "{told}");
}

#[test]
fn an_answer_has_topology_reply_bytes_max_at_most() {
    let node = ScriptedNode::start("node", |request, stream| {
        let is_it = matches!(request, ["CLUSTER", "SLOTS"]);
        if is_it {
            stream.write_all(bulk(&"x".repeat(70_000)).as_bytes())?;
        }
        Ok(is_it)
    });
    let url = format!("redis-cluster://{}", node.address());
    let daemon = Daemon::start(&["--upstream", &url, "--topology-reply-bytes-max", "64kb"]);
    let told = daemon.client().command(&["GET", "key"]).unwrap().text();
    assert!(told.contains("longer than topology_reply_bytes_max = 65536"), "{told}");
}

#[test]
fn seeds_that_say_nothing_hold_nobody_up() {
    // They accept and are silent: only a deadline could end that, and it is longer than the test.
    let silent: Vec<TcpListener> = (0..5).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let node = ScriptedNode::start("node", |_, _| Ok(false));
    let mut seeds: Vec<String> = silent.iter().map(|seed| seed.local_addr().unwrap().to_string()).collect();
    seeds.push(node.address().to_string());
    let patient = ["--upstream-connect-timeout", "5m", "--upstream-request-timeout", "5m"];
    let url = format!("redis-cluster://{}", seeds.join(","));
    let daemon = Daemon::start(&[&["--upstream", &url][..], &patient].concat());
    let mut client = daemon.client();
    client.set_timeout(SOON).unwrap();
    assert_eq!(client.command(&["GET", "key"]).unwrap().text(), "value");
}

#[test]
fn nodes_take_turns_to_be_asked() {
    let cluster = own_primaries(3);
    let often = ["--topology-refresh-interval", "20ms", "--topology-refresh-gap-min", "10ms"];
    let daemon = Daemon::start(&[&["--upstream", &upstream_url(&cluster)][..], &often].concat());
    daemon.until_tracked(3);
    eventually("each node was asked", SOON, || {
        cluster.nodes().iter().all(|node| {
            let stats = cluster.command(node, &["INFO", "commandstats"]).unwrap().text();
            // The cluster itself was set up by asking now and then.
            stats.lines().any(|line| {
                let calls = line.strip_prefix("cmdstat_cluster|slots:calls=");
                calls.is_some_and(|rest| rest.split(',').next().unwrap().parse::<u64>().unwrap() >= 12)
            })
        })
    });
    daemon.assert_quiet();
}

/// What a Sentinel says of one server, and what no Sentinel says.
#[test]
fn what_a_sentinel_answers_costs_neither_memory_nor_the_process() {
    let server = Standalone::launch(&[]).unwrap();
    let master = server.server().address();
    let faults: [(&str, Fault); 6] = [
        ("an endless string", |stream| endless(stream, "$1073741824\r\n", "x")),
        ("an endless line", |stream| endless(stream, "+", "x")),
        ("arrays in arrays, a million deep", |stream| say(stream, &("*1\r\n".repeat(1_000_000) + ":1\r\n"))),
        ("another type", |stream| say(stream, "%1\r\n+a\r\n+b\r\n")),
        ("a socket of this machine", |stream| say(stream, &format!("*2\r\n{}{}", bulk("/tmp/s"), bulk("1")))),
        ("half an answer, and the end", |stream| {
            say(stream, "*2\r\n$9\r\n127.")?;
            stream.shutdown(Shutdown::Write)
        }),
    ];
    for (name, fault) in faults {
        let broken = Arc::new(AtomicBool::new(false));
        let sentinel = ScriptedNode::start("sentinel", {
            let broken = broken.clone();
            move |request, stream| {
                if let ["HELLO", ..] = request {
                    say(stream, &format!("%2\r\n{}:7\r\n{}{}", bulk("id"), bulk("mode"), bulk("sentinel")))?;
                    return Ok(true);
                }
                let ["SENTINEL", ..] = request else { return Ok(false) };
                if broken.load(Ordering::Acquire) {
                    fault(stream)?;
                } else {
                    let (host, port) = (master.ip().to_string(), master.port().to_string());
                    say(stream, &format!("*2\r\n{}{}", bulk(&host), bulk(&port)))?;
                }
                Ok(true)
            }
        });
        let url = format!("redis-sentinel://{}/main", sentinel.address());
        let often = ["--topology-refresh-interval", "100ms", "--upstream-backoff-max", "100ms"];
        let daemon = Daemon::start(&[&["--upstream", &url][..], &often].concat());
        daemon.until_tracked(1);
        broken.store(true, Ordering::Release);
        let before = sentinel.times_asked("SENTINEL");
        eventually(&format!("{name}: it is asked again and again"), SOON, || {
            assert!(daemon.client().command(&["SET", "key", "value"]).unwrap().is_ok(), "{name}");
            sentinel.times_asked("SENTINEL") >= before + 4
        });
        let peak: u64 = daemon.peak_memory().trim_end_matches(" kB").parse().unwrap();
        assert!(peak < MEMORY_KB_MAX, "{name}: {peak} kB");
        let refreshes = daemon.counter("topology_refreshes");
        broken.store(false, Ordering::Release);
        eventually(&format!("{name}: a whole answer is taken"), SOON, || {
            daemon.counter("topology_refreshes") > refreshes
        });
    }
}

#[test]
fn what_a_node_answers_to_our_first_words_has_a_bound() {
    let words = [["HELLO", "3"], ["INFO", "server"], ["CLUSTER", "INFO"]];
    // It has no end, or says that it is longer.
    for (words, is_endless) in words.into_iter().flat_map(|words| [(words, true), (words, false)]) {
        let node = ScriptedNode::start("node", move |request, stream| {
            let is_it = request.starts_with(&words);
            match is_endless {
                _ if !is_it => {}
                true => endless(stream, "+", "x")?,
                false => {
                    stream.write_all(b"$17000000\r\n")?;
                    stream.write_all(&vec![b'x'; 17_000_000])?;
                    stream.write_all(b"\r\n")?;
                }
            }
            Ok(is_it)
        });
        // The map comes from another one, which is well.
        let seed = ScriptedNode::start("seed", {
            let port = node.address().port();
            move |request, stream| {
                let ["CLUSTER", "SLOTS"] = request else { return Ok(false) };
                stream.write_all(slots(&[(0, 16_383, "127.0.0.1", port, "node")]).as_bytes())?;
                Ok(true)
            }
        });
        let url = format!("redis-cluster://{}", seed.address());
        // Long enough for the bound to be met, on any machine.
        let patient = ["--upstream-connect-timeout", "20s", "--upstream-request-timeout", "20s"];
        let source = ["--topology-source", "configured"];
        let daemon = Daemon::start(&[&["--upstream", &url][..], &patient, &source].concat());
        let mut client = daemon.client();
        client.set_timeout(SOON).unwrap();
        let told = client.command(&["GET", "key"]).unwrap().text();
        assert!(told.contains("an answer to our first words is longer than 16777216 bytes"), "{told}");
        let peak: u64 = daemon.peak_memory().trim_end_matches(" kB").parse().unwrap();
        assert!(peak < MEMORY_KB_MAX, "{words:?}: {peak} kB");
    }
}

#[test]
fn what_a_node_answers_to_a_heartbeat_has_a_bound() {
    let is_endless = Arc::new(AtomicBool::new(false));
    let node = ScriptedNode::start("node", {
        let is_endless = is_endless.clone();
        move |request, stream| {
            let is_it = request.starts_with(&["CLUSTER", "INFO"]) && is_endless.load(Ordering::Acquire);
            if is_it {
                endless(stream, "$100000000\r\n", "x")?;
            }
            Ok(is_it)
        }
    });
    let url = format!("redis-cluster://{}", node.address());
    // No deadline ends it, and all of it would be taken for a large reply that comes along.
    let patient = ["--upstream-request-timeout", "5m", "--heartbeat-interval", "100ms"];
    let daemon = Daemon::start(&[&["--upstream", &url][..], &patient].concat());
    daemon.until_tracked(1);
    is_endless.store(true, Ordering::Release);
    eventually("the connection is ended", SOON, || daemon.counter("upstream_losses") > 0);
    let told = daemon.logged_field("upstream connection lost", "cause");
    assert_eq!(told, "an answer to our own question is longer than 65536 bytes");
    is_endless.store(false, Ordering::Release);
    daemon.until_tracked(1);
}

#[test]
fn a_node_that_hangs_leaves_nothing_behind_however_often_it_is_asked() {
    let cluster = own_primaries(1);
    let hasty = [
        "--upstream-connect-timeout",
        "100ms",
        "--upstream-request-timeout",
        "200ms",
        "--topology-refresh-interval",
        "100ms",
        "--upstream-backoff-max",
        "100ms",
    ];
    let url = upstream_url(&cluster);
    let daemon = Daemon::start(&[&["--upstream", &url][..], &hasty].concat());
    daemon.until_tracked(1);
    let directory = format!("/proc/{}/fd", daemon.pid().as_raw_nonzero());
    let open = || fs::read_dir(&directory).unwrap().count();
    let before = open();
    cluster.nodes()[0].server().stop_signal().unwrap();
    let mut client = daemon.client();
    // Each of these finds the node silent, and so do the questions who owns what.
    for _ in 0..20 {
        assert!(client.command(&["SET", "key", "value"]).unwrap().is_error());
        thread::sleep(Duration::from_millis(100));
        assert!(open() < before + 20, "{} files are open, {before} were", open());
    }
    cluster.nodes()[0].server().continue_signal().unwrap();
    eventually("it is served again", SOON, || client.command(&["SET", "key", "value"]).unwrap().is_ok());
    drop(client);
    eventually("all is as it was", SOON, || open() <= before + 2);
}
