//! Every kind of conversation that a client should not have: broken, endless, slow, half-closed, oversized.
//! Each has its verdict, and none is anybody else's affair.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

use nearside::sandbox::{Address, Standalone, client::encode};
use rustix::process::Signal;

use crate::support::daemon::Daemon;

/// How long anything here may take that is not told to take longer.
const SOON: Duration = Duration::from_secs(10);

/// What a client does, one after the other.
enum Step {
    Send(&'static [u8]),
    /// So many bytes of this, as fast as it goes.
    SendMany(u8, usize),
    /// Byte by byte, with a pause after each.
    Drip(&'static [u8]),
    /// It closes its sending side.
    HalfClose,
}

use Step::{Drip, HalfClose, Send, SendMany};

/// What it hears until the daemon closes the connection; nothing behind it.
const LATE: &str = "-ERR nearside: a request did not arrive within 1000 ms (request_arrival_timeout); it was not executed\r\n";

fn conversations() -> Vec<(&'static str, Vec<Step>, String)> {
    let says = |text: &str| text.to_owned();
    let error = |text: &str| format!("-ERR Protocol error: {text}\r\n");
    vec![
        ("closed before a word", vec![HalfClose], says("")),
        ("half a request and no more", vec![Send(b"*2\r\n$3\r\nGET\r\n$100\r\nab"), HalfClose], says("")),
        ("half a line and no more", vec![Send(b"SET half-line 1"), HalfClose], says("")),
        (
            "a pipeline, then half-closed",
            vec![Send(b"SET edge 1\r\nGET edge\r\nINCR edge\r\n"), HalfClose],
            says("+OK\r\n$1\r\n1\r\n:2\r\n"),
        ),
        (
            "a pipeline and half a request, then half-closed",
            vec![Send(b"PING\r\nPING\r\n*3\r\n$3\r\nSET\r\n$4\r\nhalf"), HalfClose],
            says("+PONG\r\n+PONG\r\n"),
        ),
        ("a wait, then half-closed", vec![Send(b"BLPOP edge:list 0\r\n"), HalfClose], says("")),
        (
            "a transaction half-way",
            vec![Send(b"MULTI\r\nSET queued 1\r\n"), HalfClose],
            says("+OK\r\n+QUEUED\r\n"),
        ),
        ("subscribed, then half-closed", vec![Send(b"SUBSCRIBE c\r\n"), HalfClose], {
            says("*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n")
        }),
        ("empty lines", vec![Send(b"\r\n\r\n\n*0\r\n*-1\r\nPING\r\nQUIT\r\n")], says("+PONG\r\n+OK\r\n")),
        ("what comes behind QUIT", vec![Send(b"QUIT\r\nSET behind-quit 1\r\n")], says("+OK\r\n")),
        ("a browser", vec![Send(b"POST / HTTP/1.1\r\nHost: x\r\n\r\nSET post 1\r\n")], says("")),
        (
            "another browser",
            vec![Send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nSET post 1\r\n")],
            says("-ERR wrong number of arguments for 'get' command\r\n"),
        ),
        ("a TLS client", vec![Send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")], says(LATE)),
        ("endless, a byte now and then", vec![Drip(&[b'x'; 40])], says(LATE)),
        ("slow, and yet there", vec![Drip(b"PING\r\n"), Send(b"QUIT\r\n")], says("+PONG\r\n+OK\r\n")),
        ("an endless line", vec![SendMany(b'a', 3 << 20)], error("too big inline request")),
        ("an endless count", vec![Send(b"*"), SendMany(b'1', 3 << 20)], error("too big mbulk count string")),
        (
            "an endless length",
            vec![Send(b"*1\r\n$"), SendMany(b'1', 3 << 20)],
            error("too big bulk count string"),
        ),
        ("a count beyond all bounds", vec![Send(b"*99999999\r\n")], error("invalid multibulk length")),
        ("a length beyond its bound", vec![Send(b"*2\r\n$4\r\nECHO\r\n$1048577\r\n")], {
            error("invalid bulk length")
        }),
        ("arrays in arrays", vec![Send(b"*1\r\n*1\r\n*1\r\n")], error("expected '$', got '*'")),
        ("a reply", vec![Send(b"*1\r\n:1\r\n")], error("expected '$', got ':'")),
        ("noise", vec![Send(b"*1\r\n\xff\xfe\x00")], error("expected '$', got '\u{fffd}'")),
    ]
}

fn run(stream: &mut TcpStream, steps: Vec<Step>) {
    for step in steps {
        // Who is told to leave while it still sends may be cut off in time: what it heard is what counts.
        let sent = match step {
            Send(bytes) => stream.write_all(bytes),
            SendMany(byte, count) => stream.write_all(&vec![byte; count]),
            Drip(bytes) => bytes.iter().try_for_each(|byte| {
                thread::sleep(Duration::from_millis(50));
                stream.write_all(&[*byte])
            }),
            HalfClose => stream.shutdown(Shutdown::Write),
        };
        if sent.is_err() {
            return;
        }
    }
}

#[test]
fn every_conversation_has_its_end_and_is_nobody_elses_affair() {
    let upstream = Standalone::launch(&[]).unwrap();
    let url = format!("redis://{}", upstream.server().address());
    let bounds =
        ["--request-arrival-timeout", "1s", "--request-bulk-max", "1mb", "--request-args-max", "1000000"];
    let daemon = Daemon::start(&[&["--upstream", &url][..], &bounds].concat());
    daemon.until_tracked(1);
    let Address::Tcp(address) = daemon.address() else { panic!("not TCP") };
    let mut bystander = daemon.client();
    assert!(bystander.command(&["SET", "bystander", "value"]).unwrap().is_ok());
    let conversations = conversations();
    thread::scope(|scope| {
        for (name, steps, wanted) in conversations {
            scope.spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.set_nodelay(true).unwrap();
                stream.set_read_timeout(Some(SOON)).unwrap();
                stream.set_write_timeout(Some(SOON)).unwrap();
                let mut writer = stream.try_clone().unwrap();
                let writing = thread::spawn(move || run(&mut writer, steps));
                let mut heard = Vec::new();
                stream.read_to_end(&mut heard).unwrap_or_else(|error| panic!("{name}: {error}"));
                assert_eq!(String::from_utf8_lossy(&heard), wanted, "{name}");
                drop(stream);
                writing.join().unwrap();
            });
        }
        for _ in 0..100 {
            assert_eq!(bystander.command(&["GET", "bystander"]).unwrap().text(), "value");
            thread::sleep(Duration::from_millis(10));
        }
    });
    for key in ["half-line", "queued", "behind-quit", "post"] {
        assert!(upstream.server().command(&["GET", key]).unwrap().is_nil(), "{key} was carried out");
    }
    assert_eq!(bystander.command(&["GET", "edge"]).unwrap().text(), "2");
    daemon.assert_quiet();
    drop(bystander);
    daemon.stop();
}

#[test]
fn a_client_that_is_gone_in_the_middle_leaves_nothing_behind() {
    let upstream = Standalone::launch(&[]).unwrap();
    let daemon = Daemon::start(&["--upstream", &format!("redis://{}", upstream.server().address())]);
    daemon.until_tracked(1);
    let Address::Tcp(address) = daemon.address() else { panic!("not TCP") };
    for bytes in
        [&b"*3\r\n$3\r\nSET\r\n"[..], b"PING\r\n", b"BLPOP gone 0\r\n", b"SUBSCRIBE gone\r\n", b"MONITOR\r\n"]
    {
        for _ in 0..20 {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(bytes).unwrap();
            // With something unread the kernel resets the connection.
            drop(stream);
        }
    }
    let mut client = daemon.client();
    crate::support::servers::eventually("they are gone", SOON, || {
        let info = client.command(&["INFO", "clients"]).unwrap().text();
        info.contains("connected_clients:1\r\n") && info.contains("blocked_clients:0\r\n")
    });
    daemon.assert_quiet();
}

#[test]
fn a_daemon_that_was_stopped_for_longer_than_its_lease_serves_nothing_that_is_old() {
    let upstream = Standalone::launch(&[]).unwrap();
    let daemon = Daemon::start(&[
        "--upstream",
        &format!("redis://{}", upstream.server().address()),
        "--heartbeat-interval",
        "200ms",
        "--lease",
        "1s",
    ]);
    daemon.until_tracked(1);
    let mut client = daemon.client();
    client.set_timeout(SOON).unwrap();
    assert!(client.command(&["SET", "key", "old"]).unwrap().is_ok());
    for _ in 0..3 {
        assert_eq!(client.command(&["GET", "key"]).unwrap().text(), "old");
    }
    daemon.signal(Signal::STOP);
    assert!(upstream.server().command(&["SET", "key", "new"]).unwrap().is_ok());
    client.send_raw(&encode(&["GET", "key"])).unwrap();
    thread::sleep(Duration::from_secs(2));
    daemon.signal(Signal::CONT);
    assert_eq!(client.receive().unwrap().text(), "new");
}

/// Whoever steps the clock of the machine changes what is shown, and nothing else: all waits and leases go by
/// the monotonic one.
#[test]
fn the_wall_clock_is_shown_and_decides_nothing() {
    fn collect(directory: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
            } else if fs::read_to_string(&path).unwrap().contains("SystemTime::now") {
                found.push(path.file_name().unwrap().to_string_lossy().into_owned());
            }
        }
    }
    let mut found = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    found.sort();
    assert_eq!(found, ["monitor.rs", "sections.rs", "timer.rs"], "what else looks at the wall clock?");
}
