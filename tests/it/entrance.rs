//! Who comes in, and how long they may take: passwords that are guessed, requests that never end, clients
//! that are idle.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use nearside::sandbox::{Address, SandboxClient, Standalone, client::encode};
use socket2::{Domain, Socket, Type};
use tokio::time::Instant;

use crate::support::daemon::Daemon;
use crate::support::servers::eventually;
use crate::support::silent::Silent;

/// How long anything here may take that is not told to take longer.
const SOON: Duration = Duration::from_secs(10);

/// A time that is short, and yet longer than anything takes that is not held up.
const SHORT: Duration = Duration::from_millis(600);

fn setup(arguments: &[&str]) -> (Standalone, Daemon) {
    let upstream = Standalone::launch(&[]).unwrap();
    let url = format!("redis://{}", upstream.server().address());
    let daemon = Daemon::start(&[&["--upstream", &url][..], arguments].concat());
    (upstream, daemon)
}

fn locked(arguments: &[&str]) -> (tempfile::NamedTempFile, Standalone, Daemon) {
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "secret").unwrap();
    let (upstream, daemon) =
        setup(&[&["--password-file", secret.path().to_str().unwrap()][..], arguments].concat());
    (secret, upstream, daemon)
}

fn stream(daemon: &Daemon) -> TcpStream {
    let Address::Tcp(address) = daemon.address() else { panic!("not TCP") };
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// All that is said until the end.
fn rest(stream: &mut TcpStream) -> String {
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    said
}

fn logged_in(daemon: &Daemon) -> SandboxClient {
    let mut client = daemon.client();
    client.set_timeout(SOON).unwrap();
    assert!(client.command(&["AUTH", "secret"]).unwrap().is_ok());
    client
}

#[test]
fn passwords_are_guessed_slowly_and_nobody_is_locked_out() {
    let (_secret, _upstream, daemon) = locked(&[]);
    let mut before = logged_in(&daemon);
    let (guesses, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let time = Duration::from_secs(4);
    let begun = Instant::now();
    thread::scope(|scope| {
        // On one connection as fast as it goes, and on one connection after the other.
        for guesser in 0..20 {
            let (daemon, guesses, over) = (&daemon, &guesses, &over);
            scope.spawn(move || {
                let request = match guesser % 2 {
                    0 => encode(&["AUTH", "guess"]),
                    _ => encode(&["HELLO", "3", "AUTH", "default", "guess"]),
                };
                while !over.load(Ordering::Relaxed) {
                    let mut stream = stream(daemon);
                    let pipeline = if guesser < 10 { 100 } else { 1 };
                    stream.write_all(&request.repeat(pipeline)).unwrap();
                    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
                    let mut said = [0; 1024];
                    while !over.load(Ordering::Relaxed) {
                        let count = stream.read(&mut said).unwrap_or(0);
                        let told = String::from_utf8_lossy(&said[..count]).matches("WRONGPASS").count();
                        guesses.fetch_add(told as u64, Ordering::Relaxed);
                        if pipeline == 1 && told == 1 {
                            break;
                        }
                    }
                }
            });
        }
        thread::sleep(SHORT);
        // Who has the password comes in, and who is in is not held up.
        let mut after = logged_in(&daemon);
        for client in [&mut before, &mut after] {
            let begun = Instant::now();
            for _ in 0..200 {
                assert_eq!(client.command(&["PING"]).unwrap().text(), "PONG");
            }
            assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
        }
        thread::sleep(time.saturating_sub(begun.elapsed()));
        over.store(true, Ordering::Relaxed);
    });
    let (guesses, seconds) = (guesses.into_inner(), begun.elapsed().as_secs() + 1);
    // Ten that come anew each time wait two seconds at most; all others take turns, eight a second.
    assert!(guesses > 0 && guesses < 30 * seconds, "{guesses} in {seconds} s");
    assert!(daemon.counter_by(&mut before, "auth_failures") >= guesses);
    let lines = daemon.times_logged("clients gave a wrong password");
    assert!(lines >= 1 && lines as u64 <= 1 + seconds / 10 + 1, "{lines}");
}

#[test]
fn one_connection_gets_fewer_than_ten_guesses_a_second() {
    let (_secret, _upstream, daemon) = locked(&[]);
    let mut stream = stream(&daemon);
    let begun = Instant::now();
    stream.write_all(&encode(&["AUTH", "guess"]).repeat(1000)).unwrap();
    let (mut guesses, mut said) = (0, [0; 4096]);
    while begun.elapsed() < Duration::from_secs(3) {
        let count = stream.read(&mut said).unwrap();
        guesses += String::from_utf8_lossy(&said[..count]).matches("WRONGPASS").count();
    }
    assert!((5..=10 * (begun.elapsed().as_secs() as usize + 1)).contains(&guesses), "{guesses}");
    drop(stream);
    // A pool whose passwords are right is not slowed, though somebody at its address was wrong.
    let begun = Instant::now();
    let pool: Vec<SandboxClient> = (0..20).map(|_| logged_in(&daemon)).collect();
    assert!(begun.elapsed() < 4 * SOON, "{:?}", begun.elapsed());
    drop(pool);
}

#[test]
fn who_leaves_while_waiting_for_a_turn_gives_the_place_back() {
    let (_secret, _upstream, daemon) = locked(&["--max-clients", "30"]);
    let mut inside = logged_in(&daemon);
    // From other addresses of this machine too: it is one.
    let guess = |from: u8| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, from], 0)).into()).unwrap();
        let Address::Tcp(address) = daemon.address() else { panic!("not TCP") };
        socket.connect(&(*address).into()).unwrap();
        let mut stream = TcpStream::from(socket);
        stream.write_all(&encode(&["AUTH", "guess"])).unwrap();
        stream
    };
    let waiting: Vec<TcpStream> = (0..25).map(|number| guess(1 + number)).collect();
    let clients =
        |client: &mut SandboxClient| client.command(&["CLIENT", "LIST"]).unwrap().text().lines().count();
    assert!(clients(&mut inside) > 10, "they wait");
    drop(waiting);
    // All of them would have come to their turn within two seconds.
    let begun = Instant::now();
    eventually("they are gone", SOON, || clients(&mut inside) == 1);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[test]
fn a_request_that_does_not_arrive_ends_its_connection() {
    let (_upstream, daemon) = setup(&[
        "--request-arrival-timeout",
        "600ms",
        "--request-bytes-max",
        "4mb",
        "--request-bulk-max",
        "4mb",
    ]);
    let error = "-ERR nearside: a request did not arrive within 600 ms (request_arrival_timeout); it was not executed\r\n";
    for begin in ["*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$100\r\n", "*", "GET ke", "*1000\r\n$4\r\nMGET\r\n$"] {
        // A byte now and then is no progress.
        let mut slow = stream(&daemon);
        slow.write_all(b"PING\r\n").unwrap();
        slow.write_all(begin.as_bytes()).unwrap();
        let mut writer = slow.try_clone().unwrap();
        let dripping = thread::spawn(move || {
            while writer.write_all(b"1").is_ok() {
                thread::sleep(SHORT / 6);
            }
        });
        assert_eq!(rest(&mut slow), format!("+PONG\r\n{error}"), "{begin:?}");
        drop(slow);
        dripping.join().unwrap();
    }
    // What is passed over, because it is too large, takes no longer either.
    let mut slow = stream(&daemon);
    slow.write_all(b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$4194304\r\n").unwrap();
    let mut writer = slow.try_clone().unwrap();
    let dripping = thread::spawn(move || {
        while writer.write_all(b"1").is_ok() {
            thread::sleep(SHORT / 6);
        }
    });
    let said = rest(&mut slow);
    assert!(said.starts_with("-OOM nearside: a request of ") && said.ends_with(error), "{said}");
    drop(slow);
    dripping.join().unwrap();
    // Who is slow and yet brings something is waited for.
    let mut fair = stream(&daemon);
    let size = 1 << 20;
    fair.write_all(format!("*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n${size}\r\n").as_bytes()).unwrap();
    for _ in 0..8 {
        fair.write_all(&vec![b'x'; size / 8]).unwrap();
        thread::sleep(SHORT / 3);
    }
    fair.write_all(b"\r\nQUIT\r\n").unwrap();
    assert_eq!(rest(&mut fair), "+OK\r\n+OK\r\n");
    // So is who sends what is passed over.
    let mut refused = stream(&daemon);
    refused.write_all(format!("*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n${}\r\n", 4 * size).as_bytes()).unwrap();
    for _ in 0..8 {
        refused.write_all(&vec![b'x'; size / 2]).unwrap();
        thread::sleep(SHORT / 3);
    }
    refused.write_all(b"\r\nQUIT\r\n").unwrap();
    let said = rest(&mut refused);
    assert!(said.starts_with("-OOM nearside: a request of ") && said.ends_with("\r\n+OK\r\n"), "{said}");
    assert_eq!(said.lines().count(), 2, "{said}");
    assert_eq!(daemon.counter("clients_timed_out"), 5);
}

#[test]
fn a_request_that_arrived_behind_what_is_being_carried_out_has_arrived() {
    let (upstream, daemon) =
        setup(&["--request-arrival-timeout", "600ms", "--client-in-flight-bytes-max", "64kb"]);
    daemon.until_tracked(1);
    let mut client = daemon.client();
    client.set_timeout(SOON).unwrap();
    upstream.server().connect().unwrap().command(&["CLIENT", "PAUSE", "2000", "ALL"]).unwrap();
    // As much of it is on its way as may be: the next one is not looked at.
    client.send(&["SET".as_bytes(), b"key", &vec![b'v'; 100_000]]).unwrap();
    client.send(&["GETRANGE", "key", "99998", "-1"]).unwrap();
    assert_eq!(client.receive().unwrap().text(), "OK");
    assert_eq!(client.receive().unwrap().text(), "vv");
    assert!(daemon.counter("client_in_flight_waits") > 0);
}

#[test]
fn a_client_that_says_no_password_does_not_keep_its_place() {
    let (_secret, _upstream, daemon) = locked(&["--request-arrival-timeout", "600ms"]);
    let mut silent = stream(&daemon);
    let mut busy = stream(&daemon);
    let mut inside = logged_in(&daemon);
    let error = "-NOAUTH nearside: no password came within 600 ms (request_arrival_timeout)\r\n";
    assert_eq!(rest(&mut silent), error);
    // Whatever else it asks.
    let mut writer = busy.try_clone().unwrap();
    let asking = thread::spawn(move || {
        while writer.write_all(b"PING\r\n").is_ok() {
            thread::sleep(SHORT / 6);
        }
    });
    let said = rest(&mut busy);
    assert!(said.ends_with(error) && said.starts_with("-NOAUTH "), "{said}");
    drop(busy);
    asking.join().unwrap();
    thread::sleep(2 * SHORT);
    assert_eq!(
        inside.command(&["PING"]).unwrap().text(),
        "PONG",
        "who has said it may be as idle as it likes"
    );
}

#[test]
fn idle_clients_leave_and_those_that_wait_for_something_stay() {
    let (upstream, daemon) = setup(&["--client-idle-timeout", "1s"]);
    let client = |requests: &[&[&str]]| {
        let mut client = daemon.client();
        for request in requests {
            assert!(!client.command(request).unwrap().is_error(), "{request:?}");
        }
        client.set_timeout(SOON).unwrap();
        client
    };
    let mut subscribed = client(&[&["SUBSCRIBE", "channel"]]);
    let mut follows = client(&[&["MONITOR"]]);
    let mut blocked = client(&[]);
    blocked.send(&["BLPOP", "list", "0"]).unwrap();
    let (mut new, mut idle, mut multi) = (client(&[]), client(&[&["PING"]]), client(&[&["MULTI"]]));
    let mut active = client(&[]);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(2500) {
        assert_eq!(active.command(&["PING"]).unwrap().text(), "PONG");
        thread::sleep(SHORT / 6);
    }
    for (what, client) in [("new", &mut new), ("idle", &mut idle), ("in MULTI", &mut multi)] {
        assert!(client.receive_rest_unreset().unwrap().is_empty(), "{what}");
    }
    assert!(upstream.server().command(&["RPUSH", "list", "element"]).unwrap().integer().is_some());
    assert_eq!(blocked.receive().unwrap().items().len(), 2);
    assert!(active.command(&["PUBLISH", "channel", "message"]).unwrap().integer().is_some());
    assert_eq!(subscribed.receive().unwrap().items().len(), 3);
    let seen = (0..20)
        .map(|_| follows.receive().unwrap().text())
        .find(|line| line.contains("\"ping\"") || line.contains("\"PING\""));
    assert!(seen.is_some());
    assert!(daemon.counter_by(&mut active, "clients_timed_out") >= 3);
    let said = active.command(&["CONFIG", "GET", "timeout"]).unwrap();
    assert_eq!(said.items()[1].text(), "1");
}

#[test]
fn clients_that_a_pause_holds_are_blocked() {
    let (_upstream, daemon) = setup(&[]);
    let mut operator = daemon.client();
    let blocked = |operator: &mut SandboxClient| {
        let info = operator.command(&["INFO", "clients"]).unwrap().text();
        let line = info.lines().find_map(|line| line.strip_prefix("blocked_clients:")).map(str::to_owned);
        line.unwrap().trim().parse::<u64>().unwrap()
    };
    assert!(operator.command(&["CLIENT", "PAUSE", "60000", "WRITE"]).unwrap().is_ok());
    let mut held: Vec<SandboxClient> = (0..3).map(|_| daemon.client()).collect();
    for client in &mut held {
        client.send(&["SET", "key", "value"]).unwrap();
    }
    eventually("three are held", SOON, || blocked(&mut operator) == 3);
    drop(held.pop());
    assert!(operator.command(&["CLIENT", "UNPAUSE"]).unwrap().is_ok());
    for client in &mut held {
        assert!(client.receive().unwrap().is_ok());
    }
    assert_eq!(blocked(&mut operator), 0);
}

#[test]
fn before_the_topology_is_discovered_only_what_needs_it_waits() {
    let silent = Silent::at("127.0.0.1");
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "secret").unwrap();
    let url = format!("redis-cluster://{}", silent.address());
    let timeouts = ["--upstream-connect-timeout", "60s", "--upstream-request-timeout", "60s"];
    let secret = ["--password-file", secret.path().to_str().unwrap()];
    let daemon = Daemon::start(&[&["--upstream", &url][..], &timeouts, &secret].concat());
    let mut client = daemon.client();
    client.set_timeout(SOON).unwrap();
    for refused in [&["GET", "key"][..], &["SUBSCRIBE", "channel"], &["SELECT", "0"]] {
        assert!(client.command(refused).unwrap().text().starts_with("NOAUTH"), "{refused:?}");
    }
    assert!(client.command(&["AUTH", "secret"]).unwrap().is_ok());
    assert_eq!(client.command(&["ECHO", "here"]).unwrap().text(), "here");
    assert!(client.command(&["MULTI"]).unwrap().is_ok());
    client.send(&["GET", "key"]).unwrap();
    client.set_timeout(SHORT).unwrap();
    assert!(client.receive().is_err(), "nobody knows where it goes");
}
