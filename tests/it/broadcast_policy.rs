//! Policies with `tracking = "broadcast"`: what is kept because the server tells of every change below a
//! prefix, what the server remembers of it, and what happens when it does not tell any more.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nearside::protocol::key::Slot;
use nearside::sandbox::{Cluster, Node, Reply, SandboxClient};

use crate::support::daemon::{Daemon, upstream_url};
use crate::support::relay::Relay;
use crate::support::servers::{client_of_owner, eventually, own_primaries, owner, sandbox};

const SOON: Duration = Duration::from_secs(10);

const POLICY: &str = "[[policy]]\nprefix = 'all:'\ntracking = 'broadcast'\n";

/// A daemon that has these policies, before what `url` names, with the file that says so.
fn daemon(url: &str, policies: &str, arguments: &[&str]) -> (Daemon, std::path::PathBuf) {
    let path = sandbox().make_directory().unwrap().join("nearside.toml");
    write(&path, url, policies);
    (Daemon::start(&[&["--config", path.to_str().unwrap()], arguments].concat()), path)
}

fn write(path: &Path, url: &str, policies: &str) {
    fs::write(path, format!("upstream = {url:?}\n{policies}")).unwrap();
}

/// Waits until so many nodes are listened to.
fn until_listening(daemon: &Daemon, nodes: usize) {
    eventually("the nodes are listened to", SOON, || listening(daemon) == nodes);
}

fn listening(daemon: &Daemon) -> usize {
    let info = daemon.client().command(&["INFO", "nearside"]).unwrap().text();
    info.lines().filter(|line| line.starts_with("listener") && line.contains("state=tracked")).count()
}

/// A field of INFO stats of a node.
fn stat(cluster: &Cluster, node: &Node, name: &str) -> u64 {
    let info = cluster.command(node, &["INFO", "stats"]).unwrap().text();
    let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.unwrap().trim().parse().unwrap()
}

/// Whether a request is answered from memory, its first reply included in what may not be.
fn is_kept(daemon: &Daemon, client: &mut SandboxClient, request: &[&str]) -> bool {
    client.command(request).unwrap();
    let before = daemon.counter("l1_hits");
    client.command(request).unwrap();
    daemon.counter("l1_hits") > before
}

/// Some keys below the prefix, in different slots.
fn keys() -> Vec<String> {
    (0..20).map(|number| format!("all:{number}")).collect()
}

#[test]
fn what_is_told_of_anyway_is_kept_and_the_server_remembers_nothing() {
    let cluster = own_primaries(3);
    let (daemon, _) = daemon(&upstream_url(&cluster), POLICY, &[]);
    daemon.until_tracked(3);
    until_listening(&daemon, 3);
    let mut client = daemon.client();
    for key in keys() {
        client_of_owner(&cluster, key.as_bytes()).command(&["SET", &key, "1"]).unwrap();
    }
    for key in keys() {
        eventually("it is kept", SOON, || is_kept(&daemon, &mut client, &["GET", &key]));
    }
    let mget: Vec<String> = std::iter::once("MGET".to_owned()).chain(keys()).collect();
    let mget: Vec<&str> = mget.iter().map(String::as_str).collect();
    client.command(&["NEARSIDE", "FLUSH"]).unwrap();
    assert!(is_kept(&daemon, &mut client, &mget), "key by key");
    for node in cluster.nodes() {
        assert_eq!(stat(&cluster, node, "tracking_total_keys"), 0);
    }
    for key in keys() {
        client_of_owner(&cluster, key.as_bytes()).command(&["SET", &key, "2"]).unwrap();
        eventually("the change is heard of", SOON, || {
            client.command(&["GET", &key]).unwrap() == Reply::Bulk(b"2".to_vec())
        });
    }
    // What no policy names is tracked as ever.
    assert!(is_kept(&daemon, &mut client, &["GET", "other"]));
    assert_eq!(
        cluster.nodes().iter().map(|node| stat(&cluster, node, "tracking_total_keys")).sum::<u64>(),
        1
    );
    let explained = client.command(&["NEARSIDE", "EXPLAIN", "all:1"]).unwrap();
    assert!(format!("{explained:?}").contains("broadcast"), "{explained:?}");
    daemon.stop();
}

#[test]
fn a_script_that_writes_what_it_does_not_name_is_heard_out_before_it_is_answered() {
    let cluster = own_primaries(1);
    let (daemon, _) = daemon(&upstream_url(&cluster), POLICY, &[]);
    daemon.until_tracked(1);
    until_listening(&daemon, 1);
    let mut client = daemon.client();
    let other = "all:other";
    assert!(is_kept(&daemon, &mut client, &["GET", other]));
    for number in 0..500 {
        let number = number.to_string();
        let script = "return redis.call('SET', 'all:' .. ARGV[1], ARGV[2])";
        client.command(&["GET", "all:hidden"]).unwrap();
        assert!(client.command(&["EVAL", script, "0", "hidden", &number]).unwrap().is_ok());
        assert_eq!(
            client.command(&["GET", "all:hidden"]).unwrap(),
            Reply::Bulk(number.clone().into_bytes()),
            "I6"
        );
        let transaction = [&["MULTI"][..], &["EVAL", script, "1", "all:x", "hidden", "in"], &["EXEC"]];
        for request in transaction {
            client.command(request).unwrap();
        }
        assert_eq!(client.command(&["GET", "all:hidden"]).unwrap(), Reply::Bulk(b"in".to_vec()), "I6");
    }
    let before = daemon.counter("l1_hits");
    client.command(&["GET", other]).unwrap();
    assert_eq!(daemon.counter("l1_hits"), before + 1, "nothing else was dropped");
    daemon.stop();
}

#[test]
fn what_depends_on_a_lost_or_silent_connection_is_not_served() {
    let cluster = own_primaries(1);
    let relay = Relay::before(&cluster.nodes()[0]);
    let url = format!("redis-cluster://{}", relay.address());
    let (daemon, _) = daemon(&url, POLICY, &[]);
    daemon.until_tracked(1);
    until_listening(&daemon, 1);
    let mut client = daemon.client();
    eventually("it is kept", SOON, || is_kept(&daemon, &mut client, &["GET", "all:1"]));
    // Of the daemon's connections only the one that listens is ended, by the server.
    for number in 0..20 {
        let value = number.to_string();
        let node = &cluster.nodes()[0];
        let list = cluster.command(node, &["CLIENT", "LIST"]).unwrap().text();
        let listener = list.lines().find(|line| line.contains("flags=tB"));
        if let Some(id) = listener.and_then(|line| line.strip_prefix("id=")) {
            let id = id.split(' ').next().unwrap();
            cluster.command(node, &["CLIENT", "KILL", "ID", id]).unwrap();
        }
        cluster.command(node, &["SET", "all:1", &value]).unwrap();
        eventually("it is not served any more", Duration::from_secs(1), || {
            client.command(&["GET", "all:1"]).unwrap() == Reply::Bulk(value.clone().into_bytes())
        });
    }
    until_listening(&daemon, 1);
    eventually("it is kept again", SOON, || is_kept(&daemon, &mut client, &["GET", "all:1"]));
    relay.pause();
    eventually("nothing is served over a silent connection", Duration::from_secs(3), || {
        listening(&daemon) == 0
    });
    relay.resume();
    until_listening(&daemon, 1);
    daemon.stop();
}

#[test]
fn a_client_that_caches_is_told_of_what_it_read_from_l1() {
    let cluster = own_primaries(1);
    let (daemon, _) = daemon(&upstream_url(&cluster), POLICY, &[]);
    daemon.until_tracked(1);
    until_listening(&daemon, 1);
    let mut plain = daemon.client();
    eventually("it is kept", SOON, || is_kept(&daemon, &mut plain, &["GET", "all:1"]));
    let mut caching = daemon.client();
    caching.command(&["HELLO", "3"]).unwrap();
    caching.command(&["CLIENT", "TRACKING", "ON"]).unwrap();
    let before = daemon.counter("l1_hits");
    caching.command(&["GET", "all:1"]).unwrap();
    assert_eq!(daemon.counter("l1_hits"), before + 1, "nobody asks the server for it");
    client_of_owner(&cluster, b"all:1").command(&["SET", "all:1", "new"]).unwrap();
    let push = caching.receive().unwrap();
    assert!(format!("{push:?}").contains("invalidate"), "{push:?}");
    assert_eq!(caching.command(&["GET", "all:1"]).unwrap(), Reply::Bulk(b"new".to_vec()));
    daemon.stop();
}

#[test]
fn a_slot_that_moves_is_served_from_where_it_is() {
    let cluster = own_primaries(2);
    let (daemon, _) = daemon(&upstream_url(&cluster), POLICY, &[]);
    daemon.until_tracked(2);
    until_listening(&daemon, 2);
    let mut client = daemon.client();
    client.command(&["SET", "all:1", "here"]).unwrap();
    eventually("it is kept", SOON, || is_kept(&daemon, &mut client, &["GET", "all:1"]));
    let from = owner(&cluster, b"all:1").id().to_owned();
    let to = cluster.nodes().iter().find(|node| node.id() != from).unwrap();
    cluster.migrate(Slot::of(b"all:1"), to).unwrap();
    cluster.command(to, &["SET", "all:1", "there"]).unwrap();
    eventually("the new owner is asked", SOON, || {
        client.command(&["GET", "all:1"]).unwrap() == Reply::Bulk(b"there".to_vec())
    });
    eventually("it is kept again", SOON, || is_kept(&daemon, &mut client, &["GET", "all:1"]));
    daemon.stop();
}

#[test]
fn policies_that_come_and_go_take_the_connections_along() {
    let cluster = own_primaries(1);
    let url = upstream_url(&cluster);
    let (daemon, path) = daemon(&url, "", &[]);
    daemon.until_tracked(1);
    let mut client = daemon.client();
    assert_eq!(listening(&daemon), 0);
    write(&path, &url, POLICY);
    daemon.reload();
    until_listening(&daemon, 1);
    eventually("it is kept", SOON, || is_kept(&daemon, &mut client, &["GET", "all:1"]));
    assert_eq!(stat(&cluster, &cluster.nodes()[0], "tracking_total_keys"), 0);
    write(&path, &url, "");
    daemon.reload();
    eventually("nobody is listened to", SOON, || {
        let list = cluster.command(&cluster.nodes()[0], &["CLIENT", "LIST"]).unwrap().text();
        !list.contains("flags=tB") && listening(&daemon) == 0
    });
    eventually("it is kept in the usual way", SOON, || is_kept(&daemon, &mut client, &["GET", "all:1"]));
    assert_eq!(stat(&cluster, &cluster.nodes()[0], "tracking_total_keys"), 1);
    daemon.stop();
}
