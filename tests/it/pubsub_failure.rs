//! Subscriptions outlive connections, nodes and owners of slots; who does not read is dropped, and nobody
//! else; and every bound is reached.

use std::time::Duration;

use nearside::protocol::key::Slot;
use nearside::sandbox::sentinel::SERVICE;
use nearside::sandbox::{Cluster, ClusterShape, Reply, SandboxClient, Sentinel, Standalone};
use tokio::time::Instant;

use crate::pubsub::{assert_silent, confirm, info, subscribed, words};
use crate::support::daemon::{Daemon, upstream_url};
use crate::support::servers::{eventually, own_primaries, owner};

/// How long it may take until subscriptions stand again.
const SOON: Duration = Duration::from_secs(10);

#[test]
fn subscriptions_are_restored_when_their_connections_are_lost() {
    let cluster = own_primaries(3);
    let daemon = Daemon::before(&cluster);
    let names: Vec<String> = (0..60).map(|number| format!("lost:{number}")).collect();
    let mut subscriber = subscribed(&daemon, 3, &request("SUBSCRIBE", &names));
    confirm(&mut subscriber, &["PSUBSCRIBE", "pattern:*", "*:keyspace"]);
    confirm(&mut subscriber, &request("SSUBSCRIBE", &names[..20]));
    let all = names.len() as u64 + 2 + 20;
    for round in 1..=3 {
        for node in cluster.nodes() {
            node.server().command(&["CLIENT", "KILL", "TYPE", "pubsub"]).unwrap();
        }
        eventually("all are restored", SOON, || daemon.counter("pubsub_restored") == round * all);
        assert_eq!(daemon.counter("pubsub_losses"), round * 3);
        for name in &names {
            daemon.client().command(&["PUBLISH", name, "again"]).unwrap();
            assert_eq!(words(&subscriber.receive().unwrap()), ["message", name, "again"]);
        }
        daemon.client().command(&["SPUBLISH", &names[0], "again"]).unwrap();
        assert_eq!(words(&subscriber.receive().unwrap()), ["smessage", &names[0], "again"]);
        daemon.client().command(&["PUBLISH", "pattern:a", "again"]).unwrap();
        assert_eq!(words(&subscriber.receive().unwrap()), ["pmessage", "pattern:*", "pattern:a", "again"]);
    }
    for logged in ["pub/sub connection lost", "subscriptions restored"] {
        eventually(logged, SOON, || daemon.has_logged(logged));
    }
    assert_silent(&mut subscriber);
    daemon.assert_quiet();
}

#[test]
fn a_node_that_hangs_up_again_and_again_is_not_subscribed_to_without_pause() {
    let cluster = own_primaries(1);
    let began = Instant::now();
    let daemon = Daemon::start(&["--upstream", &upstream_url(&cluster), "--upstream-backoff-min", "200ms"]);
    let _subscriber = subscribed(&daemon, 3, &["SUBSCRIBE", "channel"]);
    while began.elapsed() < Duration::from_secs(2) {
        // It ends those that have subscribed, which greeted before.
        cluster.nodes()[0].server().command(&["CLIENT", "KILL", "TYPE", "pubsub"]).unwrap();
    }
    let losses = u128::from(daemon.counter("pubsub_losses"));
    let most = 1 + began.elapsed().as_millis() / 200;
    assert!((3..=most).contains(&losses), "{losses} losses in {:?}", began.elapsed());
}

#[test]
fn ordinary_messages_go_on_while_a_primary_is_dead_and_after_the_failover_all_do() {
    // The nodes are to call nobody failed by themselves.
    let shape = ClusterShape {
        node_timeout: Duration::from_secs(30),
        extra_args: ["--notify-keyspace-events", "KEA"].map(str::to_owned).into(),
        ..ClusterShape::default()
    };
    let cluster = Cluster::launch(&shape).unwrap();
    let daemon = Daemon::before(&cluster);
    let victim = cluster.primaries().unwrap()[0];
    let replica = cluster.replicas_of(victim).unwrap()[0];
    let name =
        (0..).map(|number| format!("dead:{number}")).find(|name| is_owner(&cluster, victim, name)).unwrap();
    let mut channel = subscribed(&daemon, 3, &["SUBSCRIBE", &name]);
    let mut shard = subscribed(&daemon, 3, &["SSUBSCRIBE", &name]);
    let mut notified = subscribed(&daemon, 3, &["PSUBSCRIBE", "__keyevent@0__:set"]);
    victim.server().kill9().unwrap();
    let mut publisher = daemon.client();
    eventually("another node brings them", SOON, || {
        published(&mut publisher, &mut channel, "PUBLISH", &name)
    });
    assert!(publisher.command(&["SPUBLISH", &name, "lost"]).unwrap().is_error());
    // Who wants a shard of a dead node is told; who wants a channel gets it.
    let mut late = daemon.client();
    let refused = late.command(&["SSUBSCRIBE", &name]).unwrap();
    assert!(refused.is_error() && refused.text().contains("unreachable"), "{refused:?}");
    confirm(&mut late, &["SUBSCRIBE", &name]);

    cluster.failover(replica).unwrap();
    eventually("the shard's messages come", SOON, || {
        published(&mut publisher, &mut shard, "SPUBLISH", &name)
    });
    eventually("the channel has one source again", SOON, || {
        let mut direct = replica.server().connect().unwrap();
        direct.command(&["PUBSUB", "NUMSUB", &name]).unwrap().items()[1] == Reply::Integer(1)
    });
    eventually("notifications of the new primary come", SOON, || {
        publisher.command(&["SET", &name, "1"]).unwrap();
        notified.set_timeout(Duration::from_millis(200)).unwrap();
        notified.receive().is_ok()
    });
    drain(&mut notified);
    publisher.command(&["SET", &name, "2"]).unwrap();
    assert_eq!(words(&notified.receive().unwrap()).last().unwrap(), &name);
    assert_silent(&mut notified);
    drain(&mut channel);
    publisher.command(&["PUBLISH", &name, "once"]).unwrap();
    assert_eq!(words(&channel.receive().unwrap()), ["message", &name, "once"]);
    assert_silent(&mut channel);
}

#[test]
fn subscriptions_follow_their_slots() {
    let cluster = own_primaries(3);
    let daemon = Daemon::before(&cluster);
    let slot = Slot::of(b"mover");
    let mut channel = subscribed(&daemon, 3, &["SUBSCRIBE", "{mover}1"]);
    let mut shard = subscribed(&daemon, 3, &["SSUBSCRIBE", "{mover}1", "{mover}2"]);
    let mut publisher = daemon.client();
    for _ in 0..3 {
        let from = cluster.owner_of(slot).unwrap().id();
        let to = cluster.nodes().iter().find(|node| node.id() != from).unwrap();
        cluster.migrate(slot, to).unwrap();
        eventually("they stand at the new owner", SOON, || {
            let mut direct = to.server().connect().unwrap();
            let counts = direct.command(&["PUBSUB", "SHARDNUMSUB", "{mover}1", "{mover}2"]).unwrap();
            let ordinary = direct.command(&["PUBSUB", "NUMSUB", "{mover}1"]).unwrap();
            counts.items()[1] == Reply::Integer(1)
                && counts.items()[3] == Reply::Integer(1)
                && ordinary.items()[1] == Reply::Integer(1)
        });
        eventually("and nowhere else", SOON, || {
            let count = |node: &nearside::sandbox::Node| {
                let mut direct = node.server().connect().unwrap();
                direct.command(&["PUBSUB", "NUMSUB", "{mover}1"]).unwrap().items()[1].integer().unwrap()
            };
            cluster.nodes().iter().map(count).sum::<i64>() == 1
        });
        eventually("the shard's messages come", SOON, || {
            published(&mut publisher, &mut shard, "SPUBLISH", "{mover}2")
        });
        publisher.command(&["PUBLISH", "{mover}1", "once"]).unwrap();
        assert_eq!(words(&channel.receive().unwrap()), ["message", "{mover}1", "once"]);
        assert_silent(&mut channel);
        drain(&mut shard);
    }
    assert!(daemon.counter("pubsub_restored") >= 9);
    daemon.client().command(&["PING"]).unwrap();
}

#[test]
fn subscriptions_follow_a_failover_of_sentinels() {
    let sentinel = Sentinel::launch().unwrap();
    let addresses: Vec<String> = sentinel.sentinels().iter().map(|one| one.address().to_string()).collect();
    let url = format!("redis-sentinel://{}/{SERVICE}", addresses.join(","));
    let daemon = Daemon::start(&["--upstream", &url, "--heartbeat-interval", "200ms"]);
    let mut subscriber = subscribed(&daemon, 2, &["SUBSCRIBE", "followed"]);
    let [old, new] = sentinel.servers() else { panic!("not two servers") };
    old.kill9().unwrap();
    assert_eq!(sentinel.wait_for_failover(old.address()).unwrap(), new.address());
    let mut direct = new.connect().unwrap();
    eventually("it stands at the new primary", SOON, || {
        direct.command(&["PUBLISH", "followed", "there"]).unwrap() == Reply::Integer(1)
    });
    assert_eq!(words(&subscriber.receive().unwrap()), ["message", "followed", "there"]);
}

#[test]
fn a_hanging_node_is_noticed_and_its_channels_come_from_another() {
    let cluster = own_primaries(3);
    let daemon = Daemon::start(&[
        "--upstream",
        &upstream_url(&cluster),
        "--heartbeat-interval",
        "200ms",
        "--upstream-request-timeout",
        "1s",
    ]);
    let hanging = owner(&cluster, b"hung").server();
    let mut subscriber = subscribed(&daemon, 3, &["SUBSCRIBE", "hung"]);
    let other =
        cluster.nodes().iter().map(|node| node.server()).find(|server| server.address() != hanging.address());
    let mut publisher = other.unwrap().connect().unwrap();
    hanging.stop_signal().unwrap();
    eventually("another node brings them", SOON, || {
        published(&mut publisher, &mut subscriber, "PUBLISH", "hung")
    });
    hanging.continue_signal().unwrap();
    eventually("it comes back to the owner", SOON, || {
        let mut direct = hanging.connect().unwrap();
        direct.command(&["PUBSUB", "NUMSUB", "hung"]).unwrap().items()[1] == Reply::Integer(1)
    });
}

#[test]
fn pubsub_output_max() {
    let (upstream, daemon) = bounded(&["--pubsub-output-max", "1mb"]);
    for version in [2, 3] {
        let dropped = daemon.counter("clients_dropped");
        let _slow = subscribed(&daemon, version, &["SUBSCRIBE", "flood"]);
        let mut reader = subscribed(&daemon, 3, &["SUBSCRIBE", "flood"]);
        let mut publisher = upstream.server().connect().unwrap();
        let (payload, mut sent) = ("v".repeat(50_000), 0);
        eventually("pubsub_output_max drops it", SOON, || {
            publisher.command(&["PUBLISH", "flood", &payload]).unwrap();
            assert_eq!(words(&reader.receive().unwrap())[2].len(), payload.len());
            sent += 1;
            daemon.counter("clients_dropped") == dropped + 1
        });
        assert!(sent >= 20, "dropped after {sent} messages");
        // Others are not hurt, and one that only asks may have more waiting.
        eventually("only the reader is left", SOON, || info(&daemon, "pubsub_clients") == 1);
        publisher.command(&["PUBLISH", "flood", "on"]).unwrap();
        assert_eq!(words(&reader.receive().unwrap()), ["message", "flood", "on"]);
        drop(reader);
        eventually("nobody is left", SOON, || info(&daemon, "pubsub_clients") == 0);
    }
    upstream.server().command(&["SET", "large", &"v".repeat(3 << 20)]).unwrap();
    assert!(!daemon.client().command(&["GET", "large"]).unwrap().is_error());
}

#[test]
fn pubsub_subscriptions_max() {
    let (_upstream, daemon) = bounded(&["--pubsub-subscriptions-max", "4"]);
    let mut client = subscribed(&daemon, 3, &["SUBSCRIBE", "a", "b"]);
    confirm(&mut client, &["PSUBSCRIBE", "c*"]);
    let refused = client.command(&["SSUBSCRIBE", "d", "e"]).unwrap();
    assert!(refused.text().contains("pubsub_subscriptions_max"), "{refused:?}");
    // What it has already does not count twice.
    confirm(&mut client, &["SUBSCRIBE", "a", "d", "d", "b"]);
    confirm(&mut client, &["UNSUBSCRIBE", "a"]);
    confirm(&mut client, &["SUBSCRIBE", "e"]);
    confirm(&mut subscribed(&daemon, 2, &["SUBSCRIBE", "x", "y"]), &["SUBSCRIBE", "z"]);
}

#[test]
fn pubsub_names_max() {
    let (_upstream, daemon) = bounded(&["--pubsub-names-max", "3"]);
    let mut first = subscribed(&daemon, 3, &["SUBSCRIBE", "a", "b"]);
    let mut second = subscribed(&daemon, 3, &["SUBSCRIBE", "a", "b", "c"]);
    let refused = second.command(&["SUBSCRIBE", "d"]).unwrap();
    assert!(refused.text().contains("pubsub_names_max"), "{refused:?}");
    confirm(&mut second, &["UNSUBSCRIBE", "c"]);
    confirm(&mut first, &["PSUBSCRIBE", "d"]);
    assert_eq!((info(&daemon, "pubsub_channels"), info(&daemon, "pubsub_patterns")), (2, 1));
}

#[test]
fn a_subscription_that_is_not_confirmed_in_time_is_an_error() {
    let (upstream, daemon) =
        bounded(&["--upstream-request-timeout", "500ms", "--upstream-connect-timeout", "10s"]);
    let mut client = subscribed(&daemon, 3, &["SUBSCRIBE", "before"]);
    upstream.server().stop_signal().unwrap();
    let late = client.command(&["SUBSCRIBE", "late"]).unwrap();
    assert!(late.text().contains("upstream_request_timeout"), "{late:?}");
    upstream.server().continue_signal().unwrap();
    eventually("it can be had again", SOON, || {
        client.send(&["SUBSCRIBE", "late"]).unwrap();
        !client.receive().unwrap().is_error()
    });
}

/// One server, and a daemon in front of it that was told these bounds.
fn bounded(bounds: &[&str]) -> (Standalone, Daemon) {
    let upstream = Standalone::launch(&[]).unwrap();
    let url = format!("redis://{}", upstream.server().address());
    let daemon = Daemon::start(&[&["--upstream", &url][..], bounds].concat());
    daemon.until_tracked(1);
    (upstream, daemon)
}

fn request<'a>(command: &'a str, names: &'a [String]) -> Vec<&'a str> {
    [command].into_iter().chain(names.iter().map(String::as_str)).collect()
}

fn is_owner(cluster: &Cluster, node: &nearside::sandbox::Node, name: &str) -> bool {
    owner(cluster, name.as_bytes()).id() == node.id()
}

/// Whether a message that is published now comes in.
fn published(
    publisher: &mut SandboxClient,
    subscriber: &mut SandboxClient,
    command: &str,
    channel: &str,
) -> bool {
    let _ = publisher.command(&[command, channel, "text"]).unwrap();
    subscriber.set_timeout(Duration::from_millis(200)).unwrap();
    let came = subscriber.receive().is_ok();
    subscriber.set_timeout(Duration::from_secs(5)).unwrap();
    came
}

/// Takes what has come in so far.
fn drain(client: &mut SandboxClient) {
    client.set_timeout(Duration::from_millis(300)).unwrap();
    while client.receive().is_ok() {}
    client.set_timeout(Duration::from_secs(5)).unwrap();
}
