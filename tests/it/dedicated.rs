//! Connections of one session each: used again, bounded, and never handed on in doubt.

use std::thread;
use std::time::Duration;

use nearside::sandbox::{Reply, SandboxClient, Server, Standalone};

use crate::support::daemon::Daemon;
use crate::support::servers::{eventually, own_primaries};

/// How long anything here may take that is not told to take longer.
const SOON: Duration = Duration::from_secs(10);

fn bounded(bounds: &[&str]) -> (Standalone, Daemon) {
    let upstream = Standalone::launch(&[]).unwrap();
    let url = format!("redis://{}", upstream.server().address());
    let daemon = Daemon::start(&[&["--upstream", &url][..], bounds].concat());
    daemon.until_tracked(1);
    (upstream, daemon)
}

/// How many connections of the daemon the server has.
fn connections(server: &Server) -> usize {
    let list = server.command(&["CLIENT", "LIST"]).unwrap().text();
    // But for the one over which the topology is asked, which is at one node or another.
    let counts = |line: &&str| line.contains("name=nearside ") && !line.contains("cmd=cluster|slots ");
    list.lines().filter(counts).count()
}

/// So many clients wait, each for a list of its own.
fn waiters(daemon: &Daemon, count: usize) -> Vec<SandboxClient> {
    let mut clients: Vec<SandboxClient> = (0..count).map(|_| daemon.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(&["BLPOP", &format!("list:{number}"), "0"]).unwrap();
    }
    clients
}

fn wake(daemon: &Daemon, clients: &mut [SandboxClient]) {
    let mut waker = daemon.client();
    for (number, client) in clients.iter_mut().enumerate() {
        waker.command(&["RPUSH", &format!("list:{number}"), "element"]).unwrap();
        assert_eq!(client.receive().unwrap().items().len(), 2);
    }
}

#[test]
fn three_hundred_waits_take_few_connections() {
    let cluster = own_primaries(3);
    let daemon = Daemon::before(&cluster);
    let (mut client, mut waker) = (daemon.client(), daemon.client());
    for round in 0..300 {
        let list = format!("cycle:{}", round % 7);
        client.send(&["BLPOP", &list, "0"]).unwrap();
        waker.command(&["RPUSH", &list, "element"]).unwrap();
        assert_eq!(client.receive().unwrap().items().len(), 2);
    }
    let opened = daemon.counter("dedicated_opened");
    assert!(opened <= 3, "{opened}");
    assert_eq!(daemon.counter("dedicated_reused"), 300 - opened);
    assert_eq!(daemon.counter("dedicated_connections"), opened);
    let connections: usize = cluster.nodes().iter().map(|node| connections(node.server())).sum();
    assert_eq!(connections as u64, 3 + opened, "a lane each, and those");
}

#[test]
fn upstream_dedicated_max() {
    let (_upstream, daemon) = bounded(&["--upstream-dedicated-max", "3"]);
    let mut waiting = waiters(&daemon, 3);
    eventually("three wait", SOON, || daemon.counter("dedicated_connections") == 3);
    let mut fourth = daemon.client();
    let text = fourth.command(&["BLPOP", "list", "0"]).unwrap().text();
    assert!(text.contains("upstream_dedicated_max") && text.contains("was not executed"), "{text}");
    assert_eq!(daemon.counter("dedicated_refusals"), 1);
    wake(&daemon, &mut waiting);
    assert!(fourth.command(&["BLPOP", "list", "0.01"]).unwrap().is_nil(), "there is room again");
}

#[test]
fn upstream_dedicated_idle_max() {
    let (upstream, daemon) = bounded(&["--upstream-dedicated-idle-max", "2"]);
    let mut waiting = waiters(&daemon, 6);
    eventually("six wait", SOON, || connections(upstream.server()) == 1 + 6);
    wake(&daemon, &mut waiting);
    eventually("two are kept", SOON, || connections(upstream.server()) == 1 + 2);
    assert_eq!(daemon.counter("dedicated_connections"), 2);
}

#[test]
fn upstream_dedicated_idle_timeout() {
    let (upstream, daemon) = bounded(&["--upstream-dedicated-idle-timeout", "300ms"]);
    let mut waiting = waiters(&daemon, 2);
    eventually("two wait", SOON, || connections(upstream.server()) == 1 + 2);
    thread::sleep(Duration::from_secs(1));
    assert_eq!(connections(upstream.server()), 1 + 2, "those in use do not grow old");
    wake(&daemon, &mut waiting);
    eventually("they are closed", SOON, || connections(upstream.server()) == 1);
    assert_eq!(daemon.counter("dedicated_connections"), 0);
}

#[test]
fn one_that_the_server_closed_is_not_handed_out() {
    let (upstream, daemon) = bounded(&[]);
    let mut client = daemon.client();
    for round in 0..20 {
        assert!(client.command(&["BLPOP", "list", "0.01"]).unwrap().is_nil(), "round {round}");
        let list = upstream.server().command(&["CLIENT", "LIST"]).unwrap().text();
        let idle = list.lines().find(|line| line.contains("name=nearside ") && line.contains("cmd=blpop"));
        let id = idle.unwrap().split(' ').find_map(|field| field.strip_prefix("id=")).unwrap();
        let killed = upstream.server().command(&["CLIENT", "KILL", "ID", id]).unwrap();
        assert_eq!(killed, Reply::Integer(1));
    }
    assert_eq!(daemon.counter("dedicated_opened"), 20);
    assert_eq!(daemon.counter("dedicated_reused"), 0);
}

#[test]
fn those_to_a_node_that_left_are_closed() {
    let cluster = own_primaries(2);
    let daemon = Daemon::before(&cluster);
    let (from, to) = (&cluster.nodes()[0], &cluster.nodes()[1]);
    let list = (0..).map(|number| format!("list:{number}"));
    let list = list
        .into_iter()
        .find(|list| crate::support::servers::owner(&cluster, list.as_bytes()).id() == from.id());
    assert!(daemon.client().command(&["BLPOP", &list.unwrap(), "0.01"]).unwrap().is_nil());
    assert_eq!(connections(from.server()), 2);
    let slots: Vec<String> = (0..8_192).map(|slot: u16| slot.to_string()).collect();
    for node in [to, from] {
        for slots in slots.chunks(1_000) {
            let mut client = node.server().connect().unwrap();
            slots
                .iter()
                .for_each(|slot| client.send(&["CLUSTER", "SETSLOT", slot, "NODE", to.id()]).unwrap());
            slots.iter().for_each(|_| assert!(client.receive().unwrap().is_ok()));
        }
    }
    eventually("the daemon has left the node", Duration::from_secs(20), || connections(from.server()) == 0);
}
