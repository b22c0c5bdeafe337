//! MONITOR: every command of every client, in the form of Redis, and nothing that is secret.

use std::time::Duration;

use nearside::sandbox::{Address, SandboxClient, Standalone};

use crate::support::daemon::{Daemon, upstream_url};
use crate::support::servers::{eventually, sandbox, shared_cluster};

/// What is sent to be seen. The same to Redis and to the daemon.
const SENT: &[&[&[u8]]] = &[
    &[b"set", b"{monitor}a", b"x\xff\n\r\t\"\\\x07\x08 \x00"],
    &[b"nosuch", b"x"],
    &[b"get"],
    &[b"GeT", b"{monitor}a"],
    &[b"GeT", b"{monitor}a"],
    &[b"MGET", b"{monitor}a", b"{monitor}b"],
    &[b"auth", b"secret"],
    &[b"auth", b"default", b"secret"],
    &[b"hello", b"3", b"AUTH", b"default", b"secret", b"setname", b"bob"],
    &[b"hello", b"2"],
    &[b"client", b"list"],
    &[b"client", b"getname"],
    &[b"config", b"get", b"save"],
    &[b"slowlog", b"len"],
    &[b"info", b"server"],
    &[b"debug", b"nothing"],
    &[b"select", b"5"],
    &[b"multi"],
    &[b"set", b"{monitor}a", b"1"],
    &[b"client", b"list"],
    &[b"ping"],
    &[b"exec"],
    &[b"multi"],
    &[b"get", b"a", b"b"],
    &[b"set", b"{monitor}a", b"1"],
    &[b"exec"],
    &[b"eval", b"return 1", b"0"],
    &[b"blpop", b"{monitor}none", b"0.01"],
    &[b"subscribe", b"x"],
    &[b"unsubscribe", b"x"],
    &[b"ping"],
    &[b"quit"],
];

/// A client that follows all commands.
fn monitor(address: &Address) -> SandboxClient {
    let mut client = SandboxClient::connect(address).unwrap();
    assert!(client.command(&["MONITOR"]).unwrap().is_ok());
    client
}

/// What a monitor is shown of `SENT`, without times and addresses.
fn seen(address: &Address) -> Vec<String> {
    let mut monitor = monitor(address);
    let mut client = SandboxClient::connect(address).unwrap();
    for request in SENT {
        client.command(request).unwrap();
    }
    let mut lines = Vec::new();
    loop {
        let line = monitor.receive().unwrap().text();
        let (head, command) = line.split_once("] ").unwrap();
        let (time, from) = head.split_once(" [0 ").unwrap();
        let (seconds, micros) = time.split_once('.').unwrap();
        assert!(seconds.parse::<u64>().unwrap() > 1_500_000_000 && micros.len() == 6, "{time}");
        match address {
            Address::Tcp(_) => assert!(from.starts_with("127.0.0.1:"), "{from}"),
            Address::Unix(path) => assert_eq!(from, format!("unix:{}", path.display())),
        }
        let last = command == "\"quit\"";
        lines.push(command.to_owned());
        if last {
            return lines;
        }
    }
}

#[test]
fn commands_are_shown_as_redis_shows_them() {
    let plain = Standalone::launch(&["--databases", "1"].map(str::to_owned)).unwrap();
    let expected = seen(&Address::Tcp(plain.server().address()));
    assert!(expected.iter().all(|line| !line.contains("secret")) && expected.len() > 8, "{expected:?}");
    let unix = sandbox().make_directory().unwrap().join("nearside.sock");
    let url = upstream_url(shared_cluster());
    for workers in ["1", "3"] {
        let options = ["--upstream", &url, "--workers", workers, "--unix", unix.to_str().unwrap()];
        let daemon = Daemon::start(&options);
        daemon.until_tracked(3);
        // HELLO and GET of a value in memory are among them: what L1 answers is shown as well.
        for address in [daemon.address().clone(), Address::Unix(unix.clone())] {
            let hits = daemon.counter("l1_hits");
            assert_eq!(seen(&address), expected, "{address}");
            assert!(daemon.counter("l1_hits") > hits);
        }
        daemon.stop();
    }
}

#[test]
fn a_monitor_that_reads_nothing_is_dropped_and_nobody_waits_for_it() {
    let url = upstream_url(shared_cluster());
    let daemon = Daemon::start(&["--upstream", &url, "--client-output-max", "1mb"]);
    let mut monitor = monitor(daemon.address());
    let mut client = daemon.client();
    let long = "v".repeat(100_000);
    let mut said = 0;
    eventually("client_output_max drops the monitor", Duration::from_secs(10), || {
        assert_eq!(client.command(&["ECHO", &long]).unwrap().text().len(), long.len());
        said += 1;
        daemon.counter("clients_dropped") == 1
    });
    assert!(said > 10, "only {said} lines fit");
    assert!(!monitor.receive_rest().unwrap().is_empty());
    // Nobody is monitoring any more, and another one may.
    let mut another = self::monitor(daemon.address());
    client.command(&["ECHO", "x"]).unwrap();
    assert!(another.receive().unwrap().text().ends_with("\"ECHO\" \"x\""));
}

#[test]
fn a_monitor_leaves_by_reset_and_is_marked_meanwhile() {
    let daemon = Daemon::before(shared_cluster());
    let mut monitor = monitor(daemon.address());
    let mut client = daemon.client();
    // What is administration is not shown.
    let flagged =
        |client: &mut SandboxClient| client.command(&["CLIENT", "LIST", "FLAGS", "O"]).unwrap().text();
    assert_eq!(flagged(&mut client).lines().count(), 1);
    monitor.send(&["RESET"]).unwrap();
    assert_eq!(monitor.receive().unwrap().text(), "RESET");
    assert_eq!(flagged(&mut client), "");
    client.command(&["PING"]).unwrap();
    assert_eq!(monitor.command(&["ECHO", "mine"]).unwrap().text(), "mine", "nothing is shown any more");
}
