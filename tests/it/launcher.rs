//! The launcher of throwaway servers itself: clusters form, change owners, and leave nothing behind.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nearside::protocol::key::Slot;
use nearside::sandbox::directory::Sandbox;
use nearside::sandbox::{Cluster, ClusterShape, Reply, Sentinel, Server, Standalone};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

use crate::support::servers::eventually;

#[test]
fn a_cluster_forms_quickly_and_moves_slots_and_fails_over() {
    let begun = Instant::now();
    let cluster = Cluster::launch(&ClusterShape::default()).unwrap();
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(8), "forming the cluster took {took:?}");
    assert_eq!(cluster.primaries().unwrap().len(), 3);
    assert_eq!(cluster.replicas().unwrap().len(), 3);

    let slot = Slot::of(b"tag");
    let from = cluster.owner_of(slot).unwrap();
    for number in 0..250 {
        cluster.command(from, &["SET", &format!("{{tag}}{number}"), "value"]).unwrap();
    }
    let to = cluster.primaries().unwrap().into_iter().find(|node| node.id() != from.id()).unwrap();
    let migration = cluster.begin_migration(slot, to).unwrap();
    assert_eq!(migration.move_keys(10).unwrap(), 10);
    migration.finish().unwrap();
    cluster.wait_until_stable().unwrap();
    assert_eq!(cluster.owner_of(slot).unwrap().id(), to.id());
    assert_eq!(cluster.command(to, &["GET", "{tag}249"]).unwrap(), Reply::bulk("value"));

    let replica = cluster.replicas_of(to).unwrap()[0];
    to.server().kill9().unwrap();
    cluster.failover(replica).unwrap();
    assert_eq!(cluster.owner_of(slot).unwrap().id(), replica.id());
    to.server().restart().unwrap();
    cluster.wait_until_stable().unwrap();
    assert_eq!(cluster.replicas_of(replica).unwrap()[0].id(), to.id());
}

#[test]
fn a_suspended_server_is_silent_and_resumes() {
    let standalone = Standalone::launch(&[]).unwrap();
    let mut client = standalone.server().connect().unwrap();
    client.set_timeout(Duration::from_millis(200)).unwrap();
    standalone.server().stop_signal().unwrap();
    client.command(&["PING"]).unwrap_err();
    standalone.server().continue_signal().unwrap();
    standalone.server().command(&["PING"]).unwrap();
    assert!(standalone.unix_socket().exists());
}

#[test]
fn sentinels_fail_over() {
    let sentinel = Sentinel::launch().unwrap();
    let old = sentinel.primary_address().unwrap();
    assert_eq!(old, sentinel.servers()[0].address());
    sentinel.servers()[0].kill9().unwrap();
    assert_eq!(sentinel.wait_for_failover(old).unwrap(), sentinel.servers()[1].address());
}

#[test]
fn a_server_that_does_not_start_says_why() {
    let error = Standalone::launch(&["--no-such-option".to_owned(), "1".to_owned()]).unwrap_err().to_string();
    assert!(error.contains("did not start") && error.contains("no-such-option"), "{error}");
}

#[test]
fn dropping_leaves_nothing() {
    let sandbox = Arc::new(Sandbox::new().unwrap());
    let directory = sandbox.path().to_owned();
    let server = Server::launch(&sandbox, &[]).unwrap();
    let pid = server.pid();
    drop(server);
    drop(sandbox);
    assert!(!directory.exists());
    assert!(!is_alive(pid));
}

/// Set for the process that `leaves_nothing_when_it_dies_of` starts: this test binary again, with this test
/// alone.
const IS_CHILD: &str = "NEARSIDE_TEST_IS_CHILD";

#[test]
fn a_killed_process_leaves_nothing() {
    if env::var_os(IS_CHILD).is_some() {
        launch_and_wait();
    }
    leaves_nothing_when_it_dies_of(Signal::KILL);
    leaves_nothing_when_it_dies_of(Signal::INT);
}

fn launch_and_wait() -> ! {
    let sandbox = Arc::new(Sandbox::new().unwrap());
    let running = Server::launch(&sandbox, &[]).unwrap();
    let suspended = Server::launch(&sandbox, &[]).unwrap();
    suspended.stop_signal().unwrap();
    println!("\nlaunched {} {} {}", running.pid(), suspended.pid(), sandbox.path().display());
    loop {
        thread::park();
    }
}

fn leaves_nothing_when_it_dies_of(signal: Signal) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "launcher::a_killed_process_leaves_nothing", "--nocapture"])
        .env(IS_CHILD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let launched = lines.map_while(Result::ok).find(|line| line.starts_with("launched ")).unwrap();
    let words: Vec<&str> = launched.split(' ').collect();
    let pids = [words[1].parse().unwrap(), words[2].parse().unwrap()];
    let directory = Path::new(words[3]);
    assert!(pids.into_iter().all(is_alive) && directory.exists());

    kill_process(Pid::from_child(&child), signal).unwrap();
    child.wait().unwrap();
    eventually("servers and directory are gone", Duration::from_secs(5), || {
        !pids.into_iter().any(is_alive) && !directory.exists()
    });
}

/// Whether the process runs; one that has ended and waits to be collected does not.
fn is_alive(pid: u32) -> bool {
    let Ok(status) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    !status.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z')
}
