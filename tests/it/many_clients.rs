//! Many clients at once are all served, over few upstream connections.

use std::fs;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use nearside::sandbox::{Cluster, Node, Reply, SandboxClient};
use rustix::process::{Resource, Rlimit, getrlimit, prlimit, setrlimit};

use crate::support::daemon::{Daemon, upstream_url};
use crate::support::servers::{eventually, own_primaries};

const SOON: Duration = Duration::from_secs(10);

const THREADS: usize = 8;
const CLIENTS_EACH: usize = 125;

/// Between the daemon and one node, for each worker: the one that carries the data, and one for everything
/// else.
const UPSTREAM_CONNECTIONS_MAX: usize = 2;

#[test]
fn a_thousand_clients_at_once_are_all_answered_over_few_upstream_connections() {
    let cluster = own_primaries(3);
    for workers in [1, 2] {
        let daemon =
            Daemon::start(&["--upstream", &upstream_url(&cluster), "--workers", &workers.to_string()]);
        raise_open_files();
        let barrier = Barrier::new(THREADS);
        let clients: Vec<SandboxClient> = thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|number| {
                    scope.spawn({
                        let (daemon, barrier) = (&daemon, &barrier);
                        move || connect_and_ask(daemon, barrier, number)
                    })
                })
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(clients.len(), THREADS * CLIENTS_EACH);
        for node in cluster.nodes() {
            let connections = connections_to(&cluster, node);
            assert!(
                connections <= UPSTREAM_CONNECTIONS_MAX * workers,
                "{connections} with {workers} workers"
            );
            assert!(connections > 0, "nothing is connected to {}", node.server().address());
        }
        drop(clients);
        daemon.assert_quiet();
        daemon.stop();
    }
}

/// Lets this process hold as many sockets as the system lets it; the usual limit is just above a thousand.
/// The daemon, which was started before, has to do with the usual limit.
fn raise_open_files() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

/// Connects all of a thread's clients before any asks, then asks with all before any reply is read.
fn connect_and_ask(daemon: &Daemon, barrier: &Barrier, thread: usize) -> Vec<SandboxClient> {
    barrier.wait();
    let mut clients: Vec<SandboxClient> = (0..CLIENTS_EACH).map(|_| daemon.client()).collect();
    let name = |number: usize| format!("many:{thread}:{number}");
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(&["SET", &name(number), &name(number)]).unwrap();
        client.send(&["GET", &name(number)]).unwrap();
    }
    for (number, client) in clients.iter_mut().enumerate() {
        assert!(client.receive().unwrap().is_ok());
        assert_eq!(client.receive().unwrap(), Reply::bulk(name(number)));
    }
    clients
}

/// How many connections `node` has, without the one that asks.
fn connections_to(cluster: &Cluster, node: &Node) -> usize {
    let list = cluster.command(node, &["CLIENT", "LIST"]).unwrap().text();
    list.lines().count() - 1
}

#[test]
fn too_few_file_descriptors_lower_max_clients() {
    let cluster = own_primaries(1);
    let url = upstream_url(&cluster);
    // What is left behind the reserve of 160, and a fourth of that for dedicated connections.
    let daemon = Daemon::start_after("ulimit -Sn 100; ulimit -Hn 200", &["--upstream", &url]);
    daemon.assert_logged("WARN", "max_clients is lowered: 200 files may be open, and 14256 are wanted");
    let mut client = daemon.client();
    let mut say = |request: &[&str]| client.command(request).unwrap();
    assert_eq!(say(&["CONFIG", "GET", "maxclients"]).items()[1].text(), "30");
    assert_eq!(say(&["CONFIG", "GET", "nearside-max-clients"]).items()[1].text(), "30");
    assert_eq!(
        say(&["CONFIG", "SET", "maxclients", "31"]).text(),
        "ERR CONFIG SET failed (possibly related to argument 'maxclients') - The operating system is not able to \
         handle the specified number of clients, try with 30"
    );
    assert!(say(&["CONFIG", "SET", "maxclients", "30"]).is_ok());
    let others: Vec<SandboxClient> = (0..60).map(|_| daemon.client()).collect();
    let refused = others.into_iter().map(|mut other| other.command(&["PING"]));
    let refused = refused.filter(|reply| !reply.as_ref().is_ok_and(|pong| pong.text() == "PONG")).count();
    assert_eq!(refused, 60 - 29, "all others are told, and none waits");
    assert_eq!(daemon.counter_by(&mut client, "accept_failures"), 0);
    daemon.stop();

    // What few clients can use of the dedicated connections is enough.
    let daemon =
        Daemon::start_after("ulimit -Sn 100; ulimit -Hn 400", &["--upstream", &url, "--max-clients", "100"]);
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).unwrap();
    let open_files = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    assert_eq!(open_files.split_whitespace().next(), Some("400"), "the limit is raised");
    daemon.assert_quiet();
    daemon.stop();
}

#[test]
fn clients_wait_while_no_file_descriptor_is_left() {
    let cluster = own_primaries(1);
    let daemon = Daemon::before(&cluster);
    let mut client = daemon.client();
    assert_eq!(client.command(&["PING"]).unwrap().text(), "PONG");
    let own = getrlimit(Resource::Nofile);
    let limit = |current| prlimit(Some(daemon.pid()), Resource::Nofile, Rlimit { current, ..own }).unwrap();
    limit(Some(0));
    let mut other = daemon.client();
    other.send(&["PING"]).unwrap();
    eventually("it is counted", SOON, || daemon.counter_by(&mut client, "accept_failures") > 1);
    daemon.assert_logged(
        "WARN",
        "cannot accept clients; trying again: this process has no file descriptor left",
    );
    limit(own.maximum);
    assert_eq!(other.receive().unwrap().text(), "PONG", "there is room again");
    daemon.stop();
}
