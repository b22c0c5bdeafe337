//! A node that dies or hangs hurts what needs that node, and nothing else.

use std::thread;
use std::time::Duration;

use nearside::protocol::key::Slot;
use nearside::sandbox::{Cluster, ClusterShape, DevError, Reply, SandboxClient, Server};
use tokio::time::Instant;

use crate::support::daemon::{Daemon, upstream_url};
use crate::support::servers::eventually;

/// How long the daemon is told to wait for the reply of a node.
const REQUEST_TIMEOUT: &str = "1s";

/// How late the error for a key of a dead or hanging node may come: that, and the time it takes to notice.
const ERROR_LIMIT: Duration = Duration::from_secs(6);

/// How late answers of the healthy nodes may come, all but one in a hundred: earlier than if any had waited
/// for the other.
const HEALTHY_P99: Duration = Duration::from_millis(500);

#[test]
fn a_killed_primary_hurts_only_its_keys() {
    hurt_one_primary(Server::kill9);
}

#[test]
fn a_suspended_primary_hurts_only_its_keys() {
    hurt_one_primary(Server::stop_signal);
}

#[test]
fn a_dead_replica_disturbs_nothing() {
    let cluster = Cluster::launch(&ClusterShape::default()).unwrap();
    let daemon = Daemon::before(&cluster);
    let keys: Vec<String> = (0..100).map(|number| format!("replica:{number}")).collect();
    let mut client = daemon.client();
    write(&mut client, &keys);
    cluster.replicas().unwrap()[0].server().kill9().unwrap();
    // Past the time after which the cluster itself calls the replica failed.
    let deadline = Instant::now() + Duration::from_secs(4);
    while Instant::now() < deadline {
        assert_healthy(&mut client, &keys);
    }
    daemon.assert_quiet();
    daemon.stop();
}

fn hurt_one_primary(hurt: fn(&Server) -> Result<(), DevError>) {
    // The nodes are to call nobody failed by themselves: with a slot uncovered they would all refuse to
    // serve.
    let node_timeout = Duration::from_secs(30);
    let cluster = Cluster::launch(&ClusterShape { node_timeout, ..ClusterShape::default() }).unwrap();
    let arguments = ["--upstream", &upstream_url(&cluster), "--upstream-request-timeout", REQUEST_TIMEOUT];
    let daemon = Daemon::start(&arguments);
    let victim = cluster.primaries().unwrap()[0];
    let replica = cluster.replicas_of(victim).unwrap()[0];
    let keys = (0..150).map(|number| format!("failure:{number}"));
    let (hurt_keys, healthy_keys): (Vec<String>, Vec<String>) =
        keys.partition(|key| cluster.owner_of(Slot::of(key.as_bytes())).unwrap().id() == victim.id());
    assert!(hurt_keys.len() >= 20 && healthy_keys.len() >= 20);
    let mut client = daemon.client();
    write(&mut client, &hurt_keys);
    write(&mut client, &healthy_keys);
    wait_for_replica(victim.server(), &hurt_keys[0]);

    hurt(victim.server()).unwrap();
    thread::scope(|scope| {
        let failing = scope.spawn(|| assert_clear_errors(daemon.client(), &hurt_keys[..3]));
        while !failing.is_finished() {
            assert_healthy(&mut client, &healthy_keys);
        }
        failing.join().unwrap();
    });
    assert_healthy(&mut client, &healthy_keys);

    cluster.failover(replica).unwrap();
    let mut all = hurt_keys;
    all.extend(healthy_keys);
    eventually("all keys are served after the failover", Duration::from_secs(10), || {
        all.iter().all(|key| client.command(&["GET", key]).unwrap() == Reply::bulk(key))
    });
    write(&mut client, &all);
    assert_healthy(&mut client, &all);
    daemon.stop();
}

/// Each key has itself as its value.
fn write(client: &mut SandboxClient, keys: &[String]) {
    for key in keys {
        let reply = client.command(&["SET", key, key]).unwrap();
        assert!(reply.is_ok(), "SET {key} gave {reply:?}");
    }
}

/// What was written to `primary` so far is on its replica too: WAIT counts for a connection that wrote.
fn wait_for_replica(primary: &Server, key: &str) {
    let mut direct = primary.connect().unwrap();
    direct.command(&["SET", key, key]).unwrap();
    assert_eq!(direct.command(&["WAIT", "1", "5000"]).unwrap(), Reply::Integer(1));
}

/// Reads and writes are right, and fast for all but one in a hundred.
fn assert_healthy(client: &mut SandboxClient, keys: &[String]) {
    let mut took: Vec<Duration> = Vec::new();
    for key in keys {
        for request in [vec!["SET", key, key], vec!["GET", key], vec!["STRLEN", key]] {
            let begun = Instant::now();
            let reply = client.command(&request).unwrap();
            took.push(begun.elapsed());
            assert!(!reply.is_error(), "{request:?} gave {reply:?}");
            assert!(request[0] != "GET" || reply == Reply::bulk(key), "{request:?} gave {reply:?}");
        }
    }
    took.sort();
    let p99 = took[(took.len() - 1) * 99 / 100];
    assert!(p99 < HEALTHY_P99, "p99 of healthy keys was {p99:?}, the worst {:?}", took.last());
}

/// Reads and writes of a node that is gone fail in time, in words.
fn assert_clear_errors(mut client: SandboxClient, keys: &[String]) {
    client.set_timeout(ERROR_LIMIT * 2).unwrap();
    for key in keys {
        for request in [vec!["GET", key], vec!["SET", key, key]] {
            let begun = Instant::now();
            let reply = client.command(&request).unwrap();
            let took = begun.elapsed();
            assert!(reply.is_error(), "{request:?} gave {reply:?}");
            assert!(took < ERROR_LIMIT, "{request:?} took {took:?}");
            assert!(reply.text().contains(' '), "the error says nothing: {reply:?}");
        }
    }
}
