//! A node that is far away is reached, one that is silent holds nobody up for longer than is said, and so do
//! name servers.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use nearside::sandbox::Standalone;
use tokio::time::Instant;

use crate::support::daemon::Daemon;
use crate::support::relay::Relay;
use crate::support::servers::{eventually, own_primaries, sandbox};
use crate::support::silent::Silent;

/// Far more than a step of connecting may take, or all of them.
const LIMIT: Duration = Duration::from_secs(15);

/// What a daemon waits for that is to wait for nothing else.
const LONG: &str = "60s";

/// Threads that look up names, as docs/limits.md says.
const LOOKUPS_MAX: u64 = 8;

#[test]
fn one_server_far_away_is_reached_with_the_defaults() {
    let upstream = Standalone::launch(&[]).unwrap();
    let relay = Relay::to(TcpListener::bind("127.0.0.1:0").unwrap(), upstream.server().address());
    // So far away that a whole connection took longer than the deadline for each of its steps is now.
    relay.delay(Duration::from_millis(600));
    let daemon = Daemon::start(&["--upstream", &format!("redis://{}", relay.address())]);
    assert!(daemon.client().command(&["SET", "key", "value"]).unwrap().is_ok());
    daemon.until_tracked(1);
    daemon.stop();
}

#[test]
fn a_cluster_far_away_is_reached_with_the_defaults() {
    let cluster = own_primaries(3);
    let relays: Vec<Relay> = cluster.nodes().iter().map(Relay::before).collect();
    relays.iter().for_each(|relay| relay.be_far_away(Duration::from_millis(400)));
    let seeds: Vec<String> = relays.iter().map(|relay| relay.address().to_string()).collect();
    let daemon = Daemon::start(&["--upstream", &format!("redis-cluster://{}", seeds.join(","))]);
    let mut client = daemon.client();
    // One key at least for each node.
    for number in 0..20 {
        let key = format!("key:{number}");
        eventually("it is there", LIMIT, || client.command(&["SET", &key, "value"]).unwrap().is_ok());
    }
    daemon.until_tracked(3);
    assert_eq!(daemon.counter("upstream_losses"), 0, "no connection was given up because it is far away");
    daemon.stop();
}

#[test]
fn a_name_whose_first_address_is_silent_is_reached_by_the_second() {
    let upstream = Standalone::launch(&[]).unwrap();
    // The system's resolver names the one first that most resembles its own.
    let silent = Silent::at("127.0.0.1");
    let port = silent.address().port();
    let relay = Relay::to(TcpListener::bind(("127.0.0.2", port)).unwrap(), upstream.server().address());
    let directory = sandbox().path().join("two-addresses");
    fs::write(&directory, "127.0.0.1 redis.test\n127.0.0.2 redis.test\n").unwrap();
    let url = format!("redis://redis.test:{port}");
    let daemon =
        Daemon::start_with_hosts(&directory, &["--upstream", &url, "--upstream-connect-timeout", LONG]);
    let began = Instant::now();
    let mut client = daemon.client();
    assert!(client.command(&["SET", "key", "value"]).unwrap().is_ok());
    // Every kind of connection: one that waits has one of its own, and so has one that subscribes.
    assert_eq!(client.command(&["LPUSH", "list", "element"]).unwrap().integer(), Some(1));
    assert!(!client.command(&["BLPOP", "list", "0"]).unwrap().is_nil());
    client.send(&["SUBSCRIBE", "channel"]).unwrap();
    client.receive().unwrap();
    assert!(began.elapsed() < LIMIT, "{:?}", began.elapsed());
    drop(relay);
    daemon.stop();
}

#[test]
fn silent_name_servers_hold_a_few_threads_and_nobody_else() {
    let hosts = silent_hosts("no-hosts");
    let arguments =
        ["--upstream", "redis://redis.test:6379", "--upstream-connect-timeout", "300ms", "--workers", "4"];
    let daemon = Daemon::start_with_hosts(&hosts, &arguments);
    let mut client = daemon.client();
    for _ in 0..5 {
        let text = client.command(&["GET", "key"]).unwrap().text();
        let cause =
            "the name \"redis.test\" was not looked up within 300 ms, as upstream_connect_timeout says";
        assert!(text.starts_with("CLUSTERDOWN") && text.contains(cause), "{text}");
        assert_eq!(client.command(&["PING"]).unwrap().text(), "PONG");
    }
    assert_eq!(daemon.counter("upstream_lookups"), 1, "all wait for the same name");
    assert_eq!(lookup_threads(&daemon), 1);
    // It ends although the thread does not.
    daemon.stop();
}

#[test]
fn silent_name_servers_hold_no_more_threads_than_there_may_be() {
    let hosts = silent_hosts("no-hosts-for-many");
    let names: Vec<String> = (0..4 * LOOKUPS_MAX).map(|number| format!("redis-{number}.test:6379")).collect();
    let url = format!("redis-cluster://{}", names.join(","));
    let arguments = ["--upstream", &url, "--upstream-connect-timeout", "300ms", "--workers", "2"];
    let daemon = Daemon::start_with_hosts(&hosts, &arguments);
    let mut client = daemon.client();
    eventually("all of them are held", LIMIT, || lookup_threads(&daemon) == LOOKUPS_MAX);
    for _ in 0..20 {
        assert!(client.command(&["GET", "key"]).unwrap().is_error());
        assert_eq!(client.command(&["PING"]).unwrap().text(), "PONG");
        assert_eq!(daemon.counter("upstream_lookups"), LOOKUPS_MAX);
        assert_eq!(lookup_threads(&daemon), LOOKUPS_MAX);
        thread::sleep(Duration::from_millis(100));
    }
    daemon.stop();
}

/// A file that keeps whoever reads it waiting for ever: as with name servers that say nothing, but without a
/// server.
fn silent_hosts(name: &str) -> PathBuf {
    let hosts = sandbox().path().join(name);
    let made = std::process::Command::new("mkfifo").arg(&hosts).status().unwrap();
    assert!(made.success());
    hosts
}

/// How many threads of the daemon wait for the system's resolver.
fn lookup_threads(daemon: &Daemon) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{}/task", daemon.pid().as_raw_nonzero())).unwrap();
    let names = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default());
    names.filter(|name| name.trim() == "dns").count() as u64
}

#[test]
fn commands_wait_for_a_connection_no_longer_than_for_a_reply() {
    let silent = Silent::at("127.0.0.1");
    let url = format!("redis://{}", silent.address());
    let arguments =
        ["--upstream", &url, "--upstream-connect-timeout", LONG, "--upstream-request-timeout", "300ms"];
    let daemon = Daemon::start(&arguments);
    let mut client = daemon.client();
    for _ in 0..2 {
        let began = Instant::now();
        let text = client.command(&["SET", "key", "value"]).unwrap().text();
        let cause = "no connection within the 300 ms of upstream_request_timeout";
        assert!(text.starts_with("CLUSTERDOWN") && text.contains(cause), "{text}");
        assert!(text.ends_with("the command was not executed"), "{text}");
        assert!(began.elapsed() < LIMIT, "{:?}", began.elapsed());
    }
    assert_eq!(daemon.counter("upstream_timeouts"), 2);
    daemon.stop();
}

/// A node that is 400 ms away is asked 400 ms sooner.
#[test]
fn the_map_is_asked_for_in_the_flight_of_the_greeting() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis-cluster://{}", listener.local_addr().unwrap());
    let daemon = Daemon::start(&["--upstream", &url, "--upstream-connect-timeout", LONG]);
    let (mut asked, _) = listener.accept().unwrap();
    asked.set_read_timeout(Some(LIMIT)).unwrap();
    // Nothing is answered, and yet all of this comes.
    let (mut heard, mut buffer) = (String::new(), [0; 1024]);
    while !heard.contains("SLOTS") {
        let count = asked.read(&mut buffer).unwrap();
        assert!(count > 0, "{heard:?}");
        heard += &String::from_utf8_lossy(&buffer[..count]);
    }
    assert!(heard.starts_with("*") && heard.contains("HELLO"), "{heard:?}");
    drop(asked);
    daemon.stop();
}
