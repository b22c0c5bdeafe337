//! Many clients at once are all served, over few upstream connections.

use std::sync::Barrier;
use std::thread;

use nearside::dev::{Client, Cluster, Node, Reply};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::daemon::{Daemon, upstream_url};
use crate::support::servers::own_primaries;

const THREADS: usize = 8;
const CLIENTS_EACH: usize = 125;

/// Between the daemon and one node, for each worker: the one that carries the data, and one for everything else.
const UPSTREAM_CONNECTIONS_MAX: usize = 2;

#[test]
fn a_thousand_clients_at_once_are_all_answered_over_few_upstream_connections() {
    let cluster = own_primaries(3);
    for workers in [1, 2] {
        let daemon =
            Daemon::start(&["--upstream", &upstream_url(&cluster), "--workers", &workers.to_string()]);
        raise_open_files();
        let barrier = Barrier::new(THREADS);
        let clients: Vec<Client> = thread::scope(|scope| {
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

/// Lets this process hold as many sockets as the system lets it; the usual limit is just above a thousand. The daemon,
/// which was started before, has to do with the usual limit.
fn raise_open_files() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

/// Connects all of a thread's clients before any asks, then asks with all before any reply is read.
fn connect_and_ask(daemon: &Daemon, barrier: &Barrier, thread: usize) -> Vec<Client> {
    barrier.wait();
    let mut clients: Vec<Client> = (0..CLIENTS_EACH).map(|_| daemon.client()).collect();
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
