//! What one client may take of what all share: who takes more waits, or is refused, and the others have
//! theirs.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use nearside::sandbox::client::encode;
use nearside::sandbox::{Address, Reply, SandboxClient, Standalone};

use crate::support::daemon::Daemon;
use crate::support::servers::eventually;

/// How long anything here may take.
const SOON: Duration = Duration::from_secs(10);

fn bounded(bounds: &[&str]) -> (Standalone, Daemon) {
    let upstream = Standalone::launch(&[]).unwrap();
    let url = format!("redis://{}", upstream.server().address());
    let daemon = Daemon::start(&[&["--upstream", &url][..], bounds].concat());
    daemon.until_tracked(1);
    (upstream, daemon)
}

fn writes(client: &mut SandboxClient, count: usize, value: &[u8]) {
    for number in 0..count {
        client.send(&[&b"SET"[..], format!("large:{number}").as_bytes(), value]).unwrap();
    }
}

#[test]
fn client_in_flight_bytes_max() {
    let bounds = ["--client-in-flight-bytes-max", "1mb", "--upstream-in-flight-bytes-max", "8mb"];
    let (upstream, daemon) = bounded(&bounds);
    let (mut greedy, mut other) = (daemon.client(), daemon.client());
    upstream.server().stop_signal().unwrap();
    // What the kernels of both ends hold is not in the daemon's hands: it is sent by a thread of its own.
    let value = vec![b'v'; 256 * 1024];
    thread::scope(|scope| {
        let sending = scope.spawn(|| {
            writes(&mut greedy, 100, &value);
            (0..100).filter(|_| greedy.receive().unwrap().is_ok()).count()
        });
        eventually("it has to wait", SOON, || daemon.counter("client_in_flight_waits") > 0);
        other.send(&[&b"SET"[..], b"other", &value]).unwrap();
        upstream.server().continue_signal().unwrap();
        assert!(other.receive().unwrap().is_ok(), "there is room for others");
        assert_eq!(sending.join().unwrap(), 100, "who waits is not refused");
    });
    assert_eq!(daemon.counter("upstream_refusals"), 0);
}

#[test]
fn one_request_beyond_client_in_flight_bytes_max_is_taken() {
    let (_upstream, daemon) = bounded(&["--client-in-flight-bytes-max", "1kb"]);
    let (mut client, value) = (daemon.client(), vec![b'v'; 100_000]);
    writes(&mut client, 10, &value);
    client.send(&["GET", "large:9"]).unwrap();
    (0..10).for_each(|_| assert!(client.receive().unwrap().is_ok()));
    assert_eq!(client.receive().unwrap(), Reply::bulk(&value));
}

#[test]
fn a_client_has_one_connection_for_itself_to_wait_on_and_one_to_watch_on() {
    let upstream =
        Standalone::launch(&["--client-output-buffer-limit", "normal 64mb 0 0"].map(str::to_owned)).unwrap();
    let url = format!("redis://{}", upstream.server().address());
    let daemon = Daemon::start(&["--upstream", &url, "--upstream-dedicated-max", "4"]);
    daemon.until_tracked(1);
    let mut greedy = daemon.client();
    greedy.set_timeout(SOON).unwrap();
    assert!(greedy.command(&["WATCH", "watched"]).unwrap().is_ok());
    // What waits, or may have a long reply, has a connection: each but the first could be on its way as well.
    const REQUESTS: usize = 50;
    let script = "return redis.call('GET', KEYS[1])";
    for _ in 0..REQUESTS {
        greedy.send(&["EVAL", script, "1", "key"]).unwrap();
        greedy.send(&["BLPOP", "list", "0.01"]).unwrap();
    }
    let mut others: Vec<SandboxClient> = (0..2).map(|_| daemon.client()).collect();
    for other in &mut others {
        other.set_timeout(SOON).unwrap();
        assert!(other.command(&["WATCH", "other"]).unwrap().is_ok());
    }
    assert!((0..2 * REQUESTS).all(|_| greedy.receive().unwrap().is_nil()));
    assert_eq!(daemon.counter("dedicated_refusals"), 0);
    // They all stand for one client each.
    assert_eq!(daemon.client().command(&["BLPOP", "list", "0.01"]).unwrap(), Reply::Nil(b'*'));
    let mut fifth = daemon.client();
    assert!(greedy.command(&["UNWATCH"]).unwrap().is_ok());
    assert!(fifth.command(&["WATCH", "other"]).unwrap().is_ok());
}

#[test]
fn pubsub_patterns_max() {
    let (_upstream, daemon) = bounded(&["--pubsub-patterns-max", "2"]);
    let mut client = daemon.client();
    for name in ["a*", "b*", "a*"] {
        assert_eq!(client.command(&["PSUBSCRIBE", name]).unwrap().items().len(), 3);
    }
    let refused = client.command(&["PSUBSCRIBE", "c*"]).unwrap().text();
    assert_eq!(refused, "ERR nearside: a client may have 2 patterns (pubsub_patterns_max)");
    assert_eq!(client.command(&["SUBSCRIBE", "channel"]).unwrap().items().len(), 3);
    assert_eq!(daemon.client().command(&["PUBLISH", "another", "message"]).unwrap().integer(), Some(1));
}

#[test]
fn a_client_that_asks_without_a_pause_leaves_others_their_turn() {
    let upstream = Standalone::launch(&[]).unwrap();
    let url = format!("redis://{}", upstream.server().address());
    let daemon = Daemon::start(&["--upstream", &url, "--l1-size", "0"]);
    let mut direct = upstream.server().connect().unwrap();
    direct.command(&["SET", "large", &"v".repeat(1000)]).unwrap();
    let stream = match daemon.address() {
        Address::Tcp(address) => TcpStream::connect(address).unwrap(),
        Address::Unix(path) => panic!("{path:?} is no port"),
    };
    let (mut asking, mut reading) = (stream.try_clone().unwrap(), stream.try_clone().unwrap());
    let asks = thread::spawn(move || {
        let many = encode(&["GET", "large"]).repeat(1000);
        while asking.write_all(&many).is_ok() {}
    });
    let reads = thread::spawn(move || {
        let mut bytes = vec![0; 1 << 20];
        while reading.read(&mut bytes).is_ok_and(|count| count > 0) {}
    });
    let mut carried_out = || -> u64 {
        let info = direct.command(&["INFO", "stats"]).unwrap().text();
        let count = info.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
        count.unwrap().trim().parse().unwrap()
    };
    let before = carried_out();
    eventually("it asks all the time", SOON, || carried_out() > before + 10_000);
    // How many commands of the other one were carried out while one of this one was. When this one is not
    // given the processor that says nothing, so the lowest quarter of them counts.
    let mut other = daemon.client();
    let mut between = Vec::new();
    for _ in 0..50 {
        let before = carried_out();
        assert!(other.command(&["SET", "small", "value"]).unwrap().is_ok());
        between.push(carried_out() - before);
    }
    // At most what one client may have unanswered, pipeline_depth_max, is in front.
    between.sort_unstable();
    assert!(between[between.len() / 4] < 1200, "{between:?}");
    stream.shutdown(Shutdown::Both).unwrap();
    asks.join().unwrap();
    reads.join().unwrap();
}

#[test]
fn transactions_of_many_clients_stay_together_under_memory_max() {
    const CEILING: u64 = 48 << 20;
    let (_upstream, daemon) = bounded(&["--memory-max", "48mb"]);
    let mut other = daemon.client();
    other.command(&["SET", "small", "value"]).unwrap();
    let mut clients = Vec::new();
    let mut refused = 0;
    for _ in 0..600 {
        let mut client = daemon.client();
        client.command(&["MULTI"]).unwrap();
        // It may be dropped, if it holds the most.
        let reply = client.command(&[&b"SET"[..], b"key", &[b'v'; 200_000]]);
        refused += usize::from(!reply.is_ok_and(|reply| !reply.is_error()));
        clients.push(client);
        assert_eq!(other.command(&["GET", "small"]).unwrap(), Reply::bulk("value"));
        assert!(daemon.counter_by(&mut other, "memory_used") <= CEILING);
    }
    assert!(refused > 0, "600 of 200 kB do not fit");
    drop(clients);
    eventually("all of it is given back", SOON, || daemon.counter("memory_transactions") == 0);
}
