//! One of three nodes is stopped, killed, slow or trickles, while clients go on asking it: hits and writes at
//! the others.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use nearside::protocol::key::Slot;
use nearside::sandbox::client::encode;
use nearside::sandbox::{Cluster, ClusterShape};
use tokio::time::Instant;

use crate::figures::{print, ratio, shown};
use crate::probe::{Probe, Span};
use crate::support::daemon::Daemon;
use crate::support::relay::Relay;
use crate::support::servers::eventually;
use crate::support::slow_link::SlowLink;

/// Calm and fault take turns. Each is longer than the deadline of a command.
const TURNS: usize = 5;
const TURN: Duration = Duration::from_secs(6);

/// Clients that go on asking the node.
const ASKERS: usize = 4;

const PAUSE: Duration = Duration::from_micros(200);
const PAUSE_OF_ASKERS: Duration = Duration::from_millis(5);

/// Nobody takes the place of the node: the fault lasts for as long as it is meant to.
const NODE_TIMEOUT: Duration = Duration::from_secs(600);

/// Where a value begins to trickle.
const MARK: &str = "FROM-HERE-ON";

/// What is done to the node, and undone.
struct Fault<'a> {
    name: &'a str,
    begin: &'a dyn Fn(),
    end: &'a dyn Fn(),
}

pub(crate) fn measure() {
    let cluster = launch();
    let node = &cluster.nodes()[0];
    let (stop, go_on) =
        (|| node.server().stop_signal().unwrap(), || node.server().continue_signal().unwrap());
    beside(&cluster, &Fault { name: "stopped", begin: &stop, end: &go_on });
    let (kill, restart) = (|| node.server().kill9().unwrap(), || node.server().restart().unwrap());
    beside(&cluster, &Fault { name: "killed", begin: &kill, end: &restart });
    let relay = Relay::before(node);
    until_known(&cluster, relay.address());
    let (slow, quick) = (|| relay.delay(Duration::from_millis(50)), || relay.delay(Duration::ZERO));
    beside(&cluster, &Fault { name: "slow, each reply 100 ms later", begin: &slow, end: &quick });

    let cluster = launch();
    let link = SlowLink::before(&cluster.nodes()[0]);
    until_known(&cluster, link.address());
    let (trickle, quick) = (|| link.trickle_behind(MARK, Duration::from_millis(900)), || link.be_quick());
    beside(&cluster, &Fault { name: "trickling, a byte each 0.9 s", begin: &trickle, end: &quick });
}

fn launch() -> Cluster {
    let shape = ClusterShape { replicas_each: 0, node_timeout: NODE_TIMEOUT, ..ClusterShape::default() };
    Cluster::launch(&shape).unwrap()
}

/// Measures at the other nodes, while something happens to the first one and not.
fn beside(cluster: &Cluster, fault: &Fault<'_>) {
    let node = &cluster.nodes()[0];
    let owned = |key: &String| cluster.owner_of(Slot::of(key.as_bytes())).unwrap().id() == node.id();
    let (its, others): (Vec<String>, Vec<String>) =
        (0..300).map(|number| format!("key:{number}")).partition(owned);
    let value = format!("{0}{MARK}{0}", "x".repeat(1_000));
    for key in &its {
        node.server().command(&["SET", key, &value]).unwrap();
    }
    let seed = cluster.nodes()[1].server().address();
    let daemon = Daemon::start(&["--upstream", &format!("redis-cluster://{seed}")]);
    daemon.until_tracked(3);

    let (read, written) = others.split_at(others.len() / 2);
    let reads: Vec<Vec<u8>> = read.iter().map(|key| encode(&["GET", key])).collect();
    let writes: Vec<Vec<u8>> = written.iter().map(|key| encode(&["SET", key, "value"])).collect();
    let asked: Vec<Vec<u8>> = its.iter().map(|key| encode(&["GETRANGE", key, "0", "-1"])).collect();
    let probes =
        [Probe::start(daemon.address(), PAUSE, reads), Probe::start(daemon.address(), PAUSE, writes)];
    let askers: Vec<Probe> =
        (0..ASKERS).map(|_| Probe::start(daemon.address(), PAUSE_OF_ASKERS, asked.clone())).collect();
    let (mut calm, mut faulty) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        calm.push(one_turn());
        (fault.begin)();
        faulty.push(one_turn());
        (fault.end)();
        until_well(&daemon, &its[0]);
    }
    askers.into_iter().for_each(|asker| drop(asker.end()));
    for (who, probe) in ["a hit at the others", "a write at the others"].into_iter().zip(probes) {
        let answers = probe.end();
        let ((calm, _), (under, failed)) = (answers.windows(&calm), answers.windows(&faulty));
        let shown = |time| format!("p99 {}", shown(time));
        let failed = if failed > 0 { format!(", {failed} failed") } else { String::new() };
        let what = format!("one of three nodes is {}: {who}", fault.name);
        print(&what, shown(calm), shown(under) + &failed, &ratio(under, calm), "within 1.5");
    }
}

/// Waits until the others tell of the first node that it is at `address`.
fn until_known(cluster: &Cluster, address: SocketAddr) {
    let other = cluster.nodes()[1].server();
    eventually("the others know", Duration::from_secs(15), || {
        other.command(&["CLUSTER", "NODES"]).unwrap().text().contains(&format!("{address}@"))
    });
}

fn one_turn() -> Span {
    let began = Instant::now();
    thread::sleep(TURN);
    (began, Instant::now())
}

/// Waits until the node is asked again, and all is calm.
fn until_well(daemon: &Daemon, key: &str) {
    let mut client = daemon.client();
    while !client.command(&["SET", key, "value"]).is_ok_and(|reply| reply.is_ok()) {
        thread::sleep(Duration::from_millis(50));
        client = daemon.client();
    }
    daemon.until_tracked(3);
    thread::sleep(Duration::from_secs(1));
}
