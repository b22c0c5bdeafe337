//! The end of the daemon: nothing is carried out and not answered, and no connection is reset.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use nearside::sandbox::{Address, SandboxClient, Standalone, client::encode};
use rustix::process::Signal;
use tokio::time::Instant;

use crate::support::daemon::Daemon;
use crate::support::servers::eventually;

/// How long anything here may take that is not told to take longer.
const SOON: Duration = Duration::from_secs(10);

/// Long enough for the daemon to have done what it does at once.
const A_WHILE: Duration = Duration::from_millis(300);

fn setup(arguments: &[&str]) -> (Standalone, Daemon) {
    let upstream = Standalone::launch(&[]).unwrap();
    let url = format!("redis://{}", upstream.server().address());
    let daemon = Daemon::start(&[&["--upstream", &url][..], arguments].concat());
    daemon.until_tracked(1);
    (upstream, daemon)
}

fn tcp(daemon: &Daemon) -> SocketAddr {
    let Address::Tcp(address) = daemon.address() else { panic!("not TCP") };
    *address
}

/// Both kinds of socket.
trait Stream: Read + Write + Send {}
impl Stream for TcpStream {}
impl Stream for UnixStream {}

/// How many replies of INCR came until the end, which must be one that the daemon made on purpose.
fn count_until_the_end(mut stream: impl Stream, key: &str, burst: usize, pause: Duration) -> u64 {
    let (request, mut acknowledged, mut rest) = (encode(&["INCR", key]), 0, Vec::new());
    let mut buffer = [0; 4096];
    loop {
        // One by one: the daemon half-closes between any two of them.
        for _ in 0..burst {
            stream.write_all(&request).unwrap_or_else(|error| panic!("reset while it sent: {error}"));
        }
        thread::sleep(pause);
        let mut owed = burst;
        while owed > 0 {
            let count = stream.read(&mut buffer).unwrap_or_else(|error| panic!("reset: {error}"));
            if count == 0 {
                assert!(rest.is_empty(), "half a reply: {rest:?}");
                return acknowledged;
            }
            rest.extend_from_slice(&buffer[..count]);
            while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
                assert_eq!(rest[0], b':', "{:?}", String::from_utf8_lossy(&rest));
                rest.drain(..end + 2);
                (acknowledged, owed) = (acknowledged + 1, owed - 1);
            }
        }
    }
}

#[test]
fn nothing_is_carried_out_and_not_answered() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nearside.sock");
    for (burst, pause) in [(1, 0), (50, 0), (50, 20), (1000, 0)] {
        let (upstream, daemon) = setup(&["--unix", path.to_str().unwrap()]);
        let pause = Duration::from_millis(pause);
        let clients: Vec<_> = (0..8)
            .map(|number| {
                let key = format!("counter:{number}");
                let (address, path) = (tcp(&daemon), path.clone());
                thread::spawn(move || match number % 2 {
                    0 => count_until_the_end(TcpStream::connect(address).unwrap(), &key, burst, pause),
                    _ => count_until_the_end(UnixStream::connect(path).unwrap(), &key, burst, pause),
                })
            })
            .collect();
        thread::sleep(A_WHILE);
        daemon.stop();
        for (number, client) in clients.into_iter().enumerate() {
            let acknowledged = client.join().unwrap();
            let done = upstream.server().command(&["GET", &format!("counter:{number}")]).unwrap().text();
            assert_eq!(done, acknowledged.to_string(), "client {number}, bursts of {burst}");
            assert!(acknowledged > 0);
        }
    }
}

#[test]
fn what_comes_after_the_half_close_is_read_and_thrown_away() {
    let (upstream, daemon) = setup(&[]);
    let (mut busy, mut late) = (daemon.client(), TcpStream::connect(tcp(&daemon)).unwrap());
    late.write_all(&encode(&["PING"])).unwrap();
    let mut pong = [0; 7];
    late.read_exact(&mut pong).unwrap();
    upstream.server().stop_signal().unwrap();
    busy.send(&["SET", "key", "value"]).unwrap();
    thread::sleep(A_WHILE);
    daemon.signal(Signal::TERM);
    assert_eq!(late.read(&mut pong).unwrap(), 0, "it is half-closed");
    // It has not looked, and goes on.
    for _ in 0..20 {
        late.write_all(&encode(&["INCR", "late"])).unwrap();
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(late.read(&mut pong).unwrap(), 0, "no reset");
    drop(late);
    upstream.server().continue_signal().unwrap();
    assert!(busy.receive().unwrap().is_ok());
    daemon.until_ended();
    assert!(upstream.server().command(&["GET", "late"]).unwrap().is_nil());
    assert_eq!(upstream.server().command(&["GET", "key"]).unwrap().text(), "value");
}

#[test]
fn whatever_a_client_is_about_its_connection_ends_as_it_should() {
    let (upstream, daemon) = setup(&[]);
    let client = |requests: &[&[&str]]| {
        let mut client = daemon.client();
        for request in requests {
            let reply = client.command(request).unwrap();
            assert!(!reply.is_error(), "{request:?}: {reply:?}");
        }
        client
    };
    let mut ends = vec![
        ("idle", client(&[])),
        ("subscribed", client(&[&["SUBSCRIBE", "channel"]])),
        ("subscribed to a pattern", client(&[&["PSUBSCRIBE", "*"]])),
        ("a transaction half-way", client(&[&["MULTI"], &["SET", "queued", "1"]])),
        ("keys that are watched", client(&[&["WATCH", "watched"]])),
        ("who follows all commands", client(&[&["MONITOR"]])),
    ];
    let mut half = client(&[]);
    half.send_raw(b"*3\r\n$3\r\nSET\r\n$4\r\nhalf\r\n$100\r\nnot all of").unwrap();
    ends.push(("half a request", half));
    let mut paused = client(&[]);
    let mut blocked = client(&[]);
    blocked.send(&["BLPOP", "list", "0"]).unwrap();
    eventually("it waits", SOON, || daemon.counter("waits_begun") == 1);
    // Behind a wait: taken only when that is over, and answered all the same, as it had arrived.
    blocked.send(&["INCR", "behind"]).unwrap();
    blocked.send(&["BLPOP", "list", "0"]).unwrap();
    assert!(daemon.client().command(&["CLIENT", "PAUSE", "600", "WRITE"]).unwrap().is_ok());
    paused.send(&["INCR", "paused"]).unwrap();
    thread::sleep(A_WHILE);
    let begun = Instant::now();
    daemon.signal(Signal::TERM);
    for (what, client) in &mut ends {
        let rest = client.receive_rest_unreset().unwrap_or_else(|error| panic!("{what}: {error}"));
        let rest = String::from_utf8_lossy(&rest);
        assert!(rest.is_empty() || *what == "who follows all commands", "{what}: {rest}");
    }
    let ended = |client: &mut SandboxClient| client.receive().unwrap().text();
    assert!(ended(&mut blocked).starts_with("UNBLOCKED nearside: the daemon is shutting down"));
    assert_eq!(blocked.receive().unwrap().integer(), Some(1));
    assert!(ended(&mut blocked).starts_with("UNBLOCKED nearside: the daemon is shutting down"));
    assert_eq!(paused.receive().unwrap().integer(), Some(1), "a pause ends before the drain does");
    drop((ends, blocked, paused));
    daemon.until_ended();
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    for key in ["queued", "half"] {
        assert!(upstream.server().command(&["GET", key]).unwrap().is_nil(), "{key}");
    }
}

#[test]
fn every_signal_that_ends_it_lets_it_end_what_runs() {
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT, Signal::USR1, Signal::USR2] {
        let (upstream, daemon) = setup(&[]);
        let mut client = daemon.client();
        upstream.server().stop_signal().unwrap();
        client.send(&["SET", "key", "value"]).unwrap();
        thread::sleep(A_WHILE);
        daemon.signal(signal);
        thread::sleep(A_WHILE);
        upstream.server().continue_signal().unwrap();
        assert!(client.receive().unwrap().is_ok(), "{signal:?}");
        drop(client);
        daemon.until_ended();
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let (upstream, daemon) = setup(&["--drain-timeout", "1h", "--upstream-request-timeout", "1m"]);
    let mut client = daemon.client();
    upstream.server().stop_signal().unwrap();
    client.send(&["SET", "key", "value"]).unwrap();
    thread::sleep(A_WHILE);
    daemon.signal(Signal::TERM);
    daemon.assert_logged("INFO", "draining");
    thread::sleep(A_WHILE);
    daemon.signal(Signal::INT);
    daemon.assert_logged("WARN", "a second signal");
    daemon.until_ended();
    assert!(client.receive().is_err(), "there was nothing to answer with");
}

#[test]
fn a_client_that_does_not_look_holds_nothing_up() {
    let (_upstream, daemon) = setup(&["--drain-timeout", "1h"]);
    let mut clients: Vec<SandboxClient> = (0..20).map(|_| daemon.client()).collect();
    for client in &mut clients {
        assert!(client.command(&["SET", "key", "value"]).unwrap().is_ok());
    }
    // They are there and neither send nor read: the daemon ends all the same.
    daemon.stop();
    for mut client in clients {
        assert!(client.receive_rest_unreset().unwrap().is_empty());
    }
}

#[test]
fn who_is_told_to_leave_hears_why_whatever_it_still_sends() {
    let (_upstream, daemon) = setup(&[]);
    let told = [
        (&b"QUIT\r\n"[..], "+OK\r\n"),
        (b"*1\r\n$-5\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
        (b"*1\r\n+PING\r\n", "-ERR Protocol error: expected '$', got '+'\r\n"),
    ];
    for (request, reply) in told {
        let mut stream = TcpStream::connect(tcp(&daemon)).unwrap();
        stream.write_all(request).unwrap();
        for _ in 0..50 {
            stream.write_all(&[b'x'; 10_000]).unwrap();
            thread::sleep(Duration::from_millis(2));
        }
        let mut heard = String::new();
        stream.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, reply);
        // Not for ever: who goes on sending is cut off.
        stream.set_write_timeout(Some(SOON)).unwrap();
        let begun = Instant::now();
        let error = loop {
            if let Err(error) = stream.write_all(&[b'x'; 10_000]) {
                break error;
            }
            assert!(begun.elapsed() < SOON, "it is read for ever");
            thread::sleep(Duration::from_millis(2));
        };
        assert!(
            matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset),
            "{error}"
        );
    }
}
