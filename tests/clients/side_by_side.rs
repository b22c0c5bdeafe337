//! Applications side by side in two namespaces of one cluster, one pinned and one not: they use the same names
//! and channels, and do not meet.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nearside::sandbox::{Cluster, Reply};

use crate::harness::{Run, run_before};
use crate::node::node;
use crate::python::python;
use crate::support::daemon::{Daemon, upstream_url};
use crate::support::servers::{own_primaries, sandbox};

#[test]
fn applications_in_two_namespaces_of_one_cluster_do_not_meet() {
    let cluster = own_primaries(3);
    let is_over = AtomicBool::new(false);
    let names = thread::scope(|scope| {
        let names = scope.spawn(|| names_until(&is_over, &cluster));
        let runs = run_all(&cluster);
        is_over.store(true, Ordering::SeqCst);
        for (namespace, run) in runs {
            assert!(run.has_passed(), "in {namespace}: {}", run.describe());
        }
        names.join().unwrap()
    });
    let [shop, queues] = ["shop:", "{queues}"].map(|prefix| {
        let is_of = |name: &&String| name.starts_with(prefix);
        names.iter().filter(is_of).count()
    });
    assert!(shop > 0 && queues > 0, "keys of both were seen: {names:?}");
    assert_eq!(shop + queues, names.len(), "every key is of one of them: {names:?}");
}

/// Runs the same applications in both namespaces at the same time, and one that needs a pinned one.
fn run_all(cluster: &Cluster) -> Vec<(&'static str, Run)> {
    let socket = |name: &str| sandbox().make_directory().unwrap().join(name);
    let start = |namespace: &str, more: &[&str]| {
        let unix_socket = socket("nearside.sock");
        let upstream = upstream_url(cluster);
        let arguments =
            ["--upstream", &upstream, "--unix", unix_socket.to_str().unwrap(), "--namespace", namespace];
        let daemon = Daemon::start(&[&arguments[..], more].concat());
        daemon.until_tracked(3);
        (daemon, unix_socket)
    };
    let (shop, queues) = (start("shop", &[]), start("queues", &["--pin"]));
    thread::scope(|scope| {
        let in_shop =
            [python("flask_sessions.py"), node("socket_io.mjs")].map(|program| ("shop", &shop, program));
        let in_queues = [python("flask_sessions.py"), node("socket_io.mjs"), node("bullmq.mjs")];
        let in_queues = in_queues.map(|program| ("queues", &queues, program));
        let runs: Vec<_> = in_shop
            .into_iter()
            .chain(in_queues)
            .map(|(namespace, (daemon, unix_socket), mut program)| {
                (namespace, scope.spawn(move || run_before(daemon, unix_socket, &mut program)))
            })
            .collect();
        runs.into_iter().map(|(namespace, run)| (namespace, run.join().unwrap())).collect()
    })
}

/// The names of all keys that the servers had meanwhile.
fn names_until(is_over: &AtomicBool, cluster: &Cluster) -> BTreeSet<String> {
    let mut nodes: Vec<_> = cluster.nodes().iter().map(|node| node.server().connect().unwrap()).collect();
    let mut names = BTreeSet::new();
    while !is_over.load(Ordering::SeqCst) {
        for node in &mut nodes {
            let keys = node.command(&["KEYS", "*"]).unwrap();
            names.extend(keys.items().iter().map(Reply::text));
        }
        thread::sleep(Duration::from_millis(20));
    }
    names
}
