//! Settings that no other test needs do what the page of the configuration says.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use nearside::sandbox::{Node, Standalone};
use rustix::process::{Signal, kill_process};

use crate::support::daemon::Daemon;
use crate::support::servers::{eventually, own_primaries};

const SOON: Duration = Duration::from_secs(15);

#[test]
fn listen_backlog() {
    const BACKLOG: usize = 8;
    let upstream = Standalone::launch(&[]).unwrap();
    let url = format!("redis://{}", upstream.server().address());
    let daemon = Daemon::start(&["--upstream", &url, "--listen-backlog", &BACKLOG.to_string()]);
    let address: SocketAddr = daemon.address().to_string().parse().unwrap();
    // Nobody is accepted any more: the kernel takes in so many, and one or two for itself.
    kill_process(daemon.pid(), Signal::STOP).unwrap();
    // It may still run for a moment, and accept.
    let status = format!("/proc/{}/status", daemon.pid().as_raw_nonzero());
    eventually("it stands still", SOON, || {
        std::fs::read_to_string(&status).unwrap().lines().any(|line| line.starts_with("State:\tT"))
    });
    let connect = |_| TcpStream::connect_timeout(&address, Duration::from_millis(500)).ok();
    let waiting: Vec<TcpStream> = (0..4 * BACKLOG).map_while(connect).collect();
    kill_process(daemon.pid(), Signal::CONT).unwrap();
    assert!((BACKLOG..=BACKLOG + 3).contains(&waiting.len()), "{} wait", waiting.len());
    drop(waiting);
    eventually("the daemon is there", SOON, || {
        daemon.client().command(&["PING"]).is_ok_and(|pong| pong.text() == "PONG")
    });
    daemon.stop();
}

/// How often a node was asked who owns what.
fn times_asked(node: &Node) -> u64 {
    let stats = node.server().command(&["INFO", "commandstats"]).unwrap().text();
    let of_slots = stats.lines().find_map(|line| line.strip_prefix("cmdstat_cluster|slots:calls="));
    of_slots.map_or(0, |rest| rest.split(',').next().unwrap().parse().unwrap())
}

#[test]
fn topology_source() {
    let cluster = own_primaries(2);
    let [named, other] = cluster.nodes() else { panic!("two nodes") };
    let url = format!("redis-cluster://{}", named.server().address());
    let often = ["--topology-refresh-interval", "20ms", "--topology-refresh-gap-min", "10ms"];
    let ask = |source: &str, is_enough: &dyn Fn() -> bool| {
        let flags = [["--upstream", &url, "--topology-source", source].as_slice(), &often].concat();
        let daemon = Daemon::start(&flags);
        daemon.until_tracked(2);
        eventually(source, SOON, is_enough);
        daemon.stop();
    };
    let (of_named, of_other) = (times_asked(named), times_asked(other));
    ask("configured", &|| times_asked(named) > of_named + 60);
    assert_eq!(times_asked(other), of_other, "the host of upstream alone");
    ask("nodes", &|| times_asked(other) > of_other);
}
