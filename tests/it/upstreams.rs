//! Every kind of upstream, and what INFO says of it.

use std::fs;
use std::thread;
use std::time::Duration;

use nearside::sandbox::sentinel::SERVICE;
use nearside::sandbox::{Reply, SandboxClient, Sentinel, Standalone};
use tokio::time::Instant;

use crate::support::daemon::{Daemon, upstream_url};
use crate::support::servers::{eventually, own_primaries, shared_cluster};

/// How long an invalidation may be under way.
const DELIVERY: Duration = Duration::from_secs(2);

/// How long the daemon may take to notice what became of a node.
const NOTICE: Duration = Duration::from_secs(10);

#[test]
fn info_tells_of_one_standalone_master_of_the_upstreams_version() {
    let cluster = shared_cluster();
    let daemon = Daemon::before(cluster);
    daemon.until_tracked(3);
    let info = daemon.client().command(&["INFO"]).unwrap().text();
    let node = &cluster.nodes()[0];
    let upstream = cluster.command(node, &["INFO", "server"]).unwrap().text();
    let version = upstream.lines().find(|line| line.starts_with("redis_version:")).unwrap();
    for line in ["redis_mode:standalone", "cluster_enabled:0", "role:master", version] {
        assert!(info.lines().any(|own| own == line), "no {line} in {info}");
    }
    let addresses: Vec<String> = daemon.nodes().into_iter().map(|(address, _)| address).collect();
    for primary in cluster.primaries().unwrap() {
        assert!(addresses.contains(&primary.server().address().to_string()), "{addresses:?}");
    }
    daemon.assert_quiet();
}

#[test]
fn a_node_that_is_gone_is_lost_and_tracked_again_once_it_is_back() {
    let cluster = own_primaries(3);
    let daemon = Daemon::start(&["--upstream", &upstream_url(&cluster), "--heartbeat-interval", "200ms"]);
    daemon.until_tracked(3);
    let victim = cluster.nodes()[0].server();
    let address = victim.address().to_string();
    let state = |wanted: &str| {
        daemon.nodes().iter().find(|(node, _)| *node == address).is_some_and(|(_, state)| state == wanted)
    };
    victim.kill9().unwrap();
    eventually("the node is lost", NOTICE, || state("lost"));
    victim.restart().unwrap();
    eventually("the node is tracked again", NOTICE, || state("tracked"));
    cluster.wait_until_stable().unwrap();
    daemon.until_tracked(3);
}

#[test]
fn a_node_that_stays_away_is_logged_once_each_time() {
    let upstream = Standalone::launch(&[]).unwrap();
    let url = format!("redis://{}", upstream.server().address());
    let bounds = ["--upstream-backoff-min", "10ms", "--upstream-backoff-max", "20ms"];
    let daemon = Daemon::start(&[&["--upstream", &url][..], &bounds].concat());
    for times in 1..=2 {
        daemon.until_tracked(1);
        upstream.server().kill9().unwrap();
        eventually("it is logged", NOTICE, || daemon.times_logged("upstream connection failed") == times);
        // Long enough for many attempts.
        thread::sleep(Duration::from_millis(500));
        assert_eq!(daemon.times_logged("upstream connection failed"), times);
        upstream.server().restart().unwrap();
    }
}

#[test]
fn a_server_that_became_a_replica_is_connected_to_anew_now_and_then() {
    let (upstream, primary) = (Standalone::launch(&[]).unwrap(), Standalone::launch(&[]).unwrap());
    let server = upstream.server();
    let daemon = Daemon::start(&["--upstream", &format!("redis://{}", server.address())]);
    daemon.until_tracked(1);
    let mut client = daemon.client();
    assert!(client.command(&["SET", "key", "value"]).unwrap().is_ok());
    let (host, port) =
        (primary.server().address().ip().to_string(), primary.server().address().port().to_string());
    assert!(server.command(&["REPLICAOF", &host, &port]).unwrap().is_ok());
    let begun = Instant::now();
    let told = client.command(&["SET", "key", "value"]).unwrap().text();
    assert!(told.starts_with("READONLY"), "{told}");
    eventually("its name is resolved anew", NOTICE, || daemon.counter("upstream_losses") == 1);
    daemon.until_tracked(1);
    // Who has one server that takes no writes keeps the connection, whatever is written.
    for _ in 0..100 {
        let told = client.command(&["SET", "key", "value"]).unwrap().text();
        assert!(told.starts_with("READONLY"), "{told}");
    }
    let (losses, seconds) = (daemon.counter("upstream_losses"), begun.elapsed().as_secs());
    assert!(losses <= 1 + seconds / 5, "{losses} in {seconds} s");
    assert!(server.command(&["REPLICAOF", "NO", "ONE"]).unwrap().is_ok());
    assert!(client.command(&["SET", "key", "value"]).unwrap().is_ok());
}

#[test]
fn a_user_who_may_not_track_gets_everything_but_l1() {
    let upstream = Standalone::launch(&[]).unwrap();
    let acl = ["ACL", "SETUSER", "app", "on", ">se@cret", "~*", "&*", "+@all", "-client|tracking"];
    upstream.server().command(&acl).unwrap();
    let address = upstream.server().address();
    let file = upstream.server().directory().join("password");
    fs::write(&file, "se@cret\n").unwrap();
    let by_url = vec!["--upstream".to_owned(), format!("redis://app:se%40cret@{address}")];
    let by_file = ["--upstream", &format!("redis://{address}"), "--upstream-username", "app"];
    let by_file = [&by_file[..], &["--upstream-password-file", file.to_str().unwrap()]].concat();
    let by_file: Vec<String> = by_file.into_iter().map(str::to_owned).collect();
    for arguments in [by_url, by_file] {
        let daemon = Daemon::start(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let (mut client, mut direct) = (daemon.client(), upstream.server().connect().unwrap());
        for round in 0..20 {
            let value = round.to_string();
            assert!(client.command(&["SET", "key", &value]).unwrap().is_ok());
            assert_eq!(client.command(&["GET", "key"]).unwrap(), Reply::bulk(&value));
            assert!(direct.command(&["SET", "key", "direct"]).unwrap().is_ok());
            // Nothing is kept, so nothing can be stale, not for a moment.
            assert_eq!(client.command(&["GET", "key"]).unwrap(), Reply::bulk("direct"));
            assert_eq!(client.command(&["MGET", "key"]).unwrap().items(), [Reply::bulk("direct")]);
        }
        assert_eq!((daemon.counter("l1_hits"), daemon.counter("l1_fills")), (0, 0));
        assert_eq!(daemon.nodes(), [(address.to_string(), "lost".to_owned())]);
        eventually("it is logged", NOTICE, || {
            daemon.has_logged("CLIENT TRACKING refused by the node: L1 is off for it")
        });
        daemon.stop();
    }
}

#[test]
fn a_wrong_password_is_told_to_who_asks() {
    let upstream = Standalone::launch(&["--requirepass".to_owned(), "secret".to_owned()]).unwrap();
    let daemon = Daemon::start(&["--upstream", &format!("redis://:wrong@{}", upstream.server().address())]);
    let text = daemon.client().command(&["GET", "key"]).unwrap().text();
    assert!(text.contains("WRONGPASS"), "{text}");
    assert!(!text.contains("wrong@"), "{text}");
}

#[test]
fn a_unix_socket_upstream_is_cached_and_kept_true() {
    let upstream = Standalone::launch(&[]).unwrap();
    let daemon =
        Daemon::start(&["--upstream", &format!("redis+unix://{}", upstream.unix_socket().display())]);
    daemon.until_tracked(1);
    assert_cached_and_kept_true(&daemon, &mut upstream.server().connect().unwrap());
    assert_eq!(daemon.nodes()[0].0, upstream.unix_socket().display().to_string());
    daemon.assert_quiet();
    daemon.stop();
}

#[test]
fn a_sentinel_upstream_is_followed_through_a_failover_and_never_stale() {
    let sentinel = Sentinel::launch().unwrap();
    let addresses: Vec<String> = sentinel.sentinels().iter().map(|one| one.address().to_string()).collect();
    let url = format!("redis-sentinel://{}/{SERVICE}", addresses.join(","));
    let daemon = Daemon::start(&["--upstream", &url, "--heartbeat-interval", "200ms"]);
    daemon.until_tracked(1);
    let [old, new] = sentinel.servers() else { panic!("not two servers") };
    let mut direct = old.connect().unwrap();
    assert_cached_and_kept_true(&daemon, &mut direct);
    let mut client = daemon.client();
    direct.command(&["SET", "key", "before"]).unwrap();
    assert_eq!(direct.command(&["WAIT", "1", "5000"]).unwrap(), Reply::Integer(1));
    eventually("it is read", DELIVERY, || reads(&mut client, "before"));

    old.kill9().unwrap();
    assert_eq!(sentinel.wait_for_failover(old.address()).unwrap(), new.address());
    // The sentinels' word comes before the deed.
    eventually("the replica takes writes", NOTICE, || new.command(&["SET", "key", "after"]).is_ok());
    eventually("what the new primary has is read", NOTICE, || reads(&mut client, "after"));
    for _ in 0..200 {
        let reply = client.command(&["GET", "key"]).unwrap();
        assert!(reply == Reply::bulk("after") || reply.is_error(), "it went back: {reply:?}");
    }
    daemon.until_tracked(1);
    assert_eq!(daemon.nodes()[0].0, new.address().to_string());
    assert_cached_and_kept_true(&daemon, &mut new.connect().unwrap());

    // What was the primary comes back with what it had, and nobody reads that.
    old.restart().unwrap();
    for _ in 0..50 {
        assert!(reads(&mut client, "49"));
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Reads come from memory, and what changes on the server is soon seen.
fn assert_cached_and_kept_true(daemon: &Daemon, direct: &mut SandboxClient) {
    let (mut client, hits) = (daemon.client(), daemon.counter("l1_hits"));
    for round in 0..50 {
        let value = round.to_string();
        assert!(direct.command(&["SET", "key", &value]).unwrap().is_ok());
        eventually("the new value is read", DELIVERY, || reads(&mut client, &value));
        assert!(reads(&mut client, &value), "it went back");
    }
    assert!(daemon.counter("l1_hits") - hits >= 40, "L1 was hardly used");
}

fn reads(client: &mut SandboxClient, value: &str) -> bool {
    client.command(&["GET", "key"]).unwrap() == Reply::bulk(value)
}
