//! Publish and subscribe: the same bytes as from a plain server, every message once, and one subscription
//! upstream.

use std::thread;
use std::time::Duration;

use nearside::sandbox::client::encode;
use nearside::sandbox::sentinel::SERVICE;
use nearside::sandbox::{Cluster, ClusterShape, Reply, SandboxClient, Sentinel, Standalone};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::daemon::{Daemon, upstream_url};
use crate::support::servers::{eventually, own_primaries, owner, shared_cluster};

/// How long what is published may be under way, and what is changed may take to show.
const SOON: Duration = Duration::from_secs(5);

/// For what must not come: long enough that it would have come by then.
const A_WHILE: Duration = Duration::from_millis(300);

/// Requests, and how many replies and pushes each brings.
type Script = &'static [(&'static str, usize)];

const RESP2: Script = &[
    ("UNSUBSCRIBE", 1),
    ("PUNSUBSCRIBE", 1),
    ("SUNSUBSCRIBE", 1),
    ("UNSUBSCRIBE never", 1),
    ("SUBSCRIBE", 1),
    ("SUBSCRIBE a", 1),
    ("SUBSCRIBE a b a c", 4),
    ("PSUBSCRIBE p* q*", 2),
    ("SSUBSCRIBE {s}1 {s}2", 2),
    ("PING", 1),
    ("PING text", 1),
    ("PING too many", 1),
    ("GET key", 1),
    ("CONFIG GET save", 1),
    ("CLIENT ID", 1),
    ("HELLO 3", 1),
    ("PUBLISH a message", 1),
    ("NOSUCHCOMMAND", 1),
    ("GET", 1),
    ("UNSUBSCRIBE b b never", 3),
    ("PUNSUBSCRIBE q*", 1),
    ("SUNSUBSCRIBE {s}1 {s}1", 2),
    ("UNSUBSCRIBE a c", 2),
    ("GET key", 1),
    ("SUNSUBSCRIBE", 1),
    ("PUNSUBSCRIBE", 1),
    ("PING", 1),
    ("ECHO free", 1),
    ("SUBSCRIBE a", 1),
    ("RESET", 1),
    ("ECHO free", 1),
    ("CLIENT REPLY SKIP", 0),
    ("SUBSCRIBE a", 1),
    ("PING", 1),
    ("UNSUBSCRIBE", 1),
    ("PUBSUB NUMPAT", 1),
    ("PUBSUB CHANNELS no*", 1),
    ("PUBSUB NUMSUB", 1),
    ("PUBSUB NUMSUB never ever", 1),
    ("PUBSUB SHARDCHANNELS no*", 1),
    ("PUBSUB SHARDNUMSUB never", 1),
    ("PUBSUB CHANNELS a b c", 1),
    ("PUBSUB NOSUCH", 1),
    ("PUBSUB NUMPAT a", 1),
    ("PUBLISH nobody listens", 1),
    ("SPUBLISH nobody listens", 1),
    ("PUBLISH nobody", 1),
    ("SUBSCRIBE last", 1),
    ("QUIT", 1),
];

const RESP3: Script = &[
    ("UNSUBSCRIBE", 1),
    ("PUNSUBSCRIBE", 1),
    ("SUNSUBSCRIBE", 1),
    ("SUBSCRIBE a b a", 3),
    ("PSUBSCRIBE p* q*", 2),
    ("SSUBSCRIBE {s}1 {s}2", 2),
    ("PING", 1),
    ("PING text", 1),
    ("ECHO beside", 1),
    ("SET pubsub:key value", 1),
    ("GET pubsub:key", 1),
    ("PUBSUB NUMPAT", 1),
    ("PUBSUB NUMSUB a b c", 1),
    ("PUBSUB SHARDNUMSUB {s}1", 1),
    ("PUBSUB CHANNELS a", 1),
    ("PUBSUB SHARDCHANNELS *1", 1),
    ("UNSUBSCRIBE b b never", 3),
    ("HELLO 2 SETNAME subscriber", 0),
];

#[test]
fn confirmations_and_errors_are_those_of_redis() {
    let plain = Standalone::launch(&[]).unwrap();
    let cluster = own_primaries(3);
    let daemon = Daemon::before(&cluster);
    for (version, script) in [(2, RESP2), (3, RESP3)] {
        let (mut expected, mut client) = (plain.server().connect().unwrap(), daemon.client());
        for one in [&mut expected, &mut client] {
            one.hello(version).unwrap();
        }
        for (request, count) in script {
            let words: Vec<&str> = request.split(' ').collect();
            let ask = |client: &mut SandboxClient| -> Vec<String> {
                client.send(&words).unwrap();
                (0..*count).map(|_| client.receive_raw().unwrap().escape_ascii().to_string()).collect()
            };
            // A client's number is its own.
            if words[..] != ["CLIENT", "ID"] || version == 2 {
                assert_eq!(ask(&mut client), ask(&mut expected), "RESP{version}: {request}");
            }
        }
        if version == 2 {
            assert!(client.is_closed().unwrap());
        }
    }
    daemon.stop();
}

#[test]
fn a_pipeline_of_subscriptions_is_answered_in_order() {
    let plain = Standalone::launch(&[]).unwrap();
    let daemon = Daemon::before(shared_cluster());
    let requests = [
        "SET pubsub:order 1",
        "GET pubsub:order",
        "SUBSCRIBE pa pb",
        "PING",
        "UNSUBSCRIBE pa",
        "UNSUBSCRIBE",
        "GET pubsub:order",
    ];
    let said: Vec<String> = [plain.server().connect().unwrap(), daemon.client()]
        .into_iter()
        .map(|mut client| {
            for request in requests {
                client.send(&request.split(' ').collect::<Vec<_>>()).unwrap();
            }
            client.send(&["QUIT"]).unwrap();
            client.receive_rest().unwrap().escape_ascii().to_string()
        })
        .collect();
    assert_eq!(said[0], said[1]);
}

#[test]
fn many_changes_of_subscriptions_in_one_pipeline_are_answered_in_order() {
    const STEPS: usize = 400;
    let plain = Standalone::launch(&[]).unwrap();
    let daemon = Daemon::before(shared_cluster());
    for version in ["2", "3"] {
        let said: Vec<String> = [plain.server().connect().unwrap(), daemon.client()]
            .into_iter()
            .map(|mut client| {
                client.command(&["HELLO", version]).unwrap();
                let mut pipeline = Vec::new();
                for step in 0..STEPS {
                    // Names return, so that what is wanted, stands and is given up meets each other.
                    let name = format!("many:{}", step * 7 % 11);
                    let request = match step % 8 {
                        0 => vec!["SUBSCRIBE", &name, "many:0"],
                        1 => vec!["PING", &name],
                        2 => vec!["UNSUBSCRIBE", &name],
                        3 => vec!["PSUBSCRIBE", &name],
                        4 => vec!["INCR", "pubsub:many"],
                        5 if step % 3 == 0 => vec!["UNSUBSCRIBE", "many:0", &name],
                        5 => vec!["SSUBSCRIBE", &name],
                        6 => vec!["PUNSUBSCRIBE"],
                        _ => vec!["SUNSUBSCRIBE"],
                    };
                    pipeline.extend(encode(&request));
                }
                pipeline.extend(encode(&["DEL", "pubsub:many"]));
                pipeline.extend(encode(&["QUIT"]));
                client.send_raw(&pipeline).unwrap();
                client.receive_rest().unwrap().escape_ascii().to_string()
            })
            .collect();
        assert_eq!(said[0], said[1]);
    }
}

#[test]
fn messages_come_once_from_wherever_they_were_published() {
    let cluster = own_primaries(3);
    for workers in ["1", "2"] {
        let daemon = Daemon::start(&["--upstream", &upstream_url(&cluster), "--workers", workers]);
        for version in [2, 3] {
            let mut subscriber = subscribed(&daemon, version, &["SUBSCRIBE", "news", "sport"]);
            confirm(&mut subscriber, &["PSUBSCRIBE", "n*", "*"]);
            let mut direct: Vec<SandboxClient> =
                cluster.nodes().iter().map(|node| node.server().connect().unwrap()).collect();
            direct.push(daemon.client());
            for (number, publisher) in direct.iter_mut().enumerate() {
                let text = number.to_string();
                publisher.command(&["PUBLISH", "news", &text]).unwrap();
                let mut got: Vec<Vec<String>> =
                    (0..3).map(|_| words(&subscriber.receive().unwrap())).collect();
                got.sort();
                let expected = [
                    vec!["message", "news", &text],
                    vec!["pmessage", "*", "news", &text],
                    vec!["pmessage", "n*", "news", &text],
                ];
                assert_eq!(got, expected);
            }
            assert_silent(&mut subscriber);
        }
        daemon.assert_quiet();
        daemon.stop();
    }
}

#[test]
fn notifications_come_from_every_primary_once() {
    let shape = ClusterShape {
        primaries: 3,
        replicas_each: 1,
        extra_args: ["--notify-keyspace-events", "KEA"].map(str::to_owned).into(),
        ..ClusterShape::default()
    };
    let cluster = Cluster::launch(&shape).unwrap();
    let daemon = Daemon::before(&cluster);
    let mut events = subscribed(&daemon, 3, &["SUBSCRIBE", "__keyevent@0__:set"]);
    let mut keys = subscribed(&daemon, 3, &["PSUBSCRIBE", "__keyspace@0__:notify:*"]);
    let mut all = subscribed(&daemon, 3, &["PSUBSCRIBE", "*"]);
    let mut client = daemon.client();
    let names: Vec<String> = (0..30).map(|number| format!("notify:{number}")).collect();
    let owners = cluster.by_owner(&names).unwrap();
    assert!(owners.iter().all(|(_, keys)| !keys.is_empty()), "every primary has one");
    for name in &names {
        client.command(&["SET", name, "1"]).unwrap();
        assert_eq!(words(&events.receive().unwrap()), ["message", "__keyevent@0__:set", name]);
        let channel = format!("__keyspace@0__:{name}");
        assert_eq!(words(&keys.receive().unwrap()), ["pmessage", "__keyspace@0__:notify:*", &channel, "set"]);
        let mut both = [words(&all.receive().unwrap()), words(&all.receive().unwrap())];
        both.sort();
        assert_eq!(both[0], ["pmessage", "*", "__keyevent@0__:set", name]);
        assert_eq!(both[1], ["pmessage", "*", &channel, "set"]);
        // An ordinary message reaches every node, and is told once.
        client.command(&["PUBLISH", name, "ordinary"]).unwrap();
        assert_eq!(words(&all.receive().unwrap()), ["pmessage", "*", name, "ordinary"]);
    }
    for subscriber in [&mut events, &mut keys, &mut all] {
        assert_silent(subscriber);
    }
    daemon.assert_quiet();
}

#[test]
fn a_storm_of_messages_comes_in_order() {
    const EACH: usize = 3_000;
    let cluster = own_primaries(3);
    let daemon = Daemon::start(&["--upstream", &upstream_url(&cluster), "--workers", "2"]);
    let channels = ["storm:a", "storm:b", "storm:c", "storm:d"];
    let mut one = subscribed(&daemon, 3, &[&["SUBSCRIBE"], &channels[..]].concat());
    let mut pattern = subscribed(&daemon, 2, &["PSUBSCRIBE", "storm:*"]);
    thread::scope(|scope| {
        for channel in channels {
            let daemon = &daemon;
            scope.spawn(move || {
                let mut publisher = daemon.client();
                for number in 0..EACH {
                    publisher.send(&["PUBLISH", channel, &number.to_string()]).unwrap();
                }
                for _ in 0..EACH {
                    assert_eq!(publisher.receive().unwrap(), Reply::Integer(2));
                }
            });
        }
        for (subscriber, skip) in [(&mut one, 1), (&mut pattern, 2)] {
            scope.spawn(move || {
                let mut next = [0; 4];
                for _ in 0..4 * EACH {
                    let said = words(&subscriber.receive().unwrap());
                    let channel = channels.iter().position(|channel| *channel == said[skip]).unwrap();
                    assert_eq!(said[skip + 1], next[channel].to_string(), "{}", channels[channel]);
                    next[channel] += 1;
                }
            });
        }
    });
    assert_eq!(daemon.counter("pubsub_messages"), 8 * EACH as u64);
}

#[test]
fn nothing_that_is_published_after_the_confirmation_is_missed() {
    let cluster = own_primaries(3);
    let daemon = Daemon::before(&cluster);
    let mut publishers: Vec<SandboxClient> =
        cluster.nodes().iter().map(|node| node.server().connect().unwrap()).collect();
    let mut client = daemon.client();
    for round in 0..300 {
        let channel = format!("after:{}", round % 7);
        confirm(&mut client, &["SUBSCRIBE", &channel]);
        let text = round.to_string();
        publishers[round % 3].command(&["PUBLISH", &channel, &text]).unwrap();
        assert_eq!(words(&client.receive().unwrap()), ["message", &channel, &text]);
        confirm(&mut client, &["UNSUBSCRIBE", &channel]);
    }
}

#[test]
fn what_is_published_behind_an_unconfirmed_subscription_is_heard() {
    let daemon = Daemon::before(shared_cluster());
    let mut publisher = daemon.client();
    for round in 0..100 {
        let channel = format!("behind:{round}");
        let mut subscriber = daemon.client();
        subscriber.send(&["SUBSCRIBE", &channel]).unwrap();
        // The daemon has read it: from here on a plain server would deliver.
        let listed = || daemon.client().command(&["CLIENT", "LIST", "TYPE", "PUBSUB"]).unwrap().text();
        eventually("the subscription is begun", SOON, || listed().contains("sub=1 "));
        if round % 2 == 0 {
            publisher.command(&["MULTI"]).unwrap();
            publisher.command(&["PUBLISH", &channel, "hello"]).unwrap();
            publisher.command(&["EXEC"]).unwrap();
        } else {
            assert_eq!(publisher.command(&["PUBLISH", &channel, "hello"]).unwrap(), Reply::Integer(1));
        }
        assert_eq!(words(&subscriber.receive().unwrap()), ["subscribe", &channel, "1"]);
        assert_eq!(words(&subscriber.receive().unwrap()), ["message", &channel, "hello"]);
        confirm(&mut subscriber, &["UNSUBSCRIBE", &channel]);
    }
}

#[test]
fn messages_of_shards_come_from_wherever_they_live() {
    let cluster = own_primaries(3);
    let daemon = Daemon::before(&cluster);
    let channels: Vec<String> = (0..20).map(|number| format!("shard:{number}")).collect();
    let request: Vec<&str> = ["SSUBSCRIBE"].into_iter().chain(channels.iter().map(String::as_str)).collect();
    let mut subscriber = subscribed(&daemon, 3, &request);
    for channel in &channels {
        let mut direct = owner(&cluster, channel.as_bytes()).server().connect().unwrap();
        assert_eq!(direct.command(&["SPUBLISH", channel, "direct"]).unwrap(), Reply::Integer(1));
        assert_eq!(words(&subscriber.receive().unwrap()), ["smessage", channel, "direct"]);
        assert_eq!(daemon.client().command(&["SPUBLISH", channel, "ours"]).unwrap(), Reply::Integer(1));
        assert_eq!(words(&subscriber.receive().unwrap()), ["smessage", channel, "ours"]);
    }
    let listed = daemon.client().command(&["PUBSUB", "SHARDCHANNELS", "shard:*"]).unwrap();
    assert_eq!(listed.items().len(), channels.len());
    assert_silent(&mut subscriber);
}

#[test]
fn a_thousand_subscribers_are_one_upstream_and_all_are_counted() {
    const SUBSCRIBERS: usize = 1_000;
    let cluster = own_primaries(3);
    let daemon = Daemon::start(&["--upstream", &upstream_url(&cluster), "--workers", "2"]);
    // The usual limit on open files is just above a thousand.
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    // One for each worker and node, and the one over which the topology is asked.
    let connections = 2 * 3 + 1;
    eventually("all workers are connected", SOON, || daemon.counter("upstream_connections") == connections);
    let mut subscribers: Vec<SandboxClient> = (0..SUBSCRIBERS).map(|_| daemon.client()).collect();
    for subscriber in &mut subscribers {
        subscriber.send(&["SUBSCRIBE", "crowd"]).unwrap();
    }
    for subscriber in &mut subscribers {
        assert_eq!(words(&subscriber.receive().unwrap()), ["subscribe", "crowd", "1"]);
    }
    // One more, that is no client of ours.
    let node = owner(&cluster, b"crowd");
    let mut other = node.server().connect().unwrap();
    other.command(&["SUBSCRIBE", "crowd"]).unwrap();
    let upstream: i64 =
        cluster.nodes().iter().map(|node| numsub(&mut node.server().connect().unwrap())).sum();
    assert_eq!(upstream, 2, "one is ours");
    assert_eq!(daemon.counter("upstream_connections"), connections + 1);

    let mut client = daemon.client();
    assert_eq!(client.command(&["PUBLISH", "crowd", "hello"]).unwrap(), Reply::Integer(1_001));
    assert_eq!(numsub(&mut client), 1_001);
    for subscriber in &mut subscribers {
        assert_eq!(words(&subscriber.receive().unwrap()), ["message", "crowd", "hello"]);
    }
    assert_eq!(info(&daemon, "pubsub_clients"), SUBSCRIBERS as u64);
    assert_eq!(info(&daemon, "pubsub_channels"), 1);

    drop(subscribers);
    eventually("nobody of ours is counted", SOON, || numsub(&mut client) == 1);
    eventually("it is given up upstream", SOON, || numsub(&mut node.server().connect().unwrap()) == 1);
    eventually("the connection is given up", SOON, || daemon.counter("upstream_connections") == connections);
    assert_eq!((info(&daemon, "pubsub_clients"), info(&daemon, "pubsub_channels")), (0, 0));
}

#[test]
fn receivers_and_subscriptions_are_counted_as_by_one_server() {
    let cluster = own_primaries(3);
    let daemon = Daemon::before(&cluster);
    let mut client = daemon.client();
    let _channels = [2, 3].map(|version| subscribed(&daemon, version, &["SUBSCRIBE", "counted", "other"]));
    let _patterns =
        [2, 3].map(|version| subscribed(&daemon, version, &["PSUBSCRIBE", "count*", "*ed", "x*"]));
    assert_eq!(client.command(&["PUBLISH", "counted", "1"]).unwrap(), Reply::Integer(6));
    assert_eq!(client.command(&["PUBLISH", "other", "1"]).unwrap(), Reply::Integer(2));
    assert_eq!(client.command(&["PUBLISH", "nobody", "1"]).unwrap(), Reply::Integer(0));
    assert_eq!(client.command(&["PUBSUB", "NUMPAT"]).unwrap(), Reply::Integer(3));
    let mut names = words(&client.command(&["PUBSUB", "CHANNELS"]).unwrap());
    names.sort();
    assert_eq!(names, ["counted", "other"]);
    assert_eq!(words(&client.command(&["PUBSUB", "CHANNELS", "c*"]).unwrap()), ["counted"]);
    let counts = client.command(&["PUBSUB", "NUMSUB", "counted", "nobody", "other"]).unwrap();
    assert_eq!(words(&counts), ["counted", "2", "nobody", "0", "other", "2"]);
    // What others are subscribed to is seen, too.
    let mut other = owner(&cluster, b"foreign").server().connect().unwrap();
    other.command(&["SUBSCRIBE", "foreign"]).unwrap();
    assert_eq!(words(&client.command(&["PUBSUB", "CHANNELS", "for*"]).unwrap()), ["foreign"]);
    assert_eq!(client.command(&["PUBLISH", "foreign", "1"]).unwrap(), Reply::Integer(1));
}

#[test]
fn who_has_unsubscribed_is_not_counted_any_more() {
    let cluster = own_primaries(3);
    let daemon = Daemon::before(&cluster);
    let (mut subscriber, mut publisher) = (daemon.client(), daemon.client());
    for number in 0..300 {
        let (channel, pattern) = (format!("left:{number}"), format!("left:{number}*"));
        subscriber.command(&["SUBSCRIBE", &channel]).unwrap();
        subscriber.command(&["PSUBSCRIBE", &pattern]).unwrap();
        assert_eq!(publisher.command(&["PUBLISH", &channel, "heard"]).unwrap(), Reply::Integer(2));
        subscriber.receive().unwrap();
        subscriber.receive().unwrap();
        subscriber.command(&["UNSUBSCRIBE", &channel]).unwrap();
        subscriber.command(&["PUNSUBSCRIBE"]).unwrap();
        assert_eq!(publisher.command(&["PUBLISH", &channel, "unheard"]).unwrap(), Reply::Integer(0));
        assert_eq!(publisher.command(&["PUBSUB", "NUMPAT"]).unwrap(), Reply::Integer(0));
    }
}

#[test]
fn commands_and_messages_share_a_session_of_resp3() {
    let daemon = Daemon::before(shared_cluster());
    let mut client = subscribed(&daemon, 3, &["SUBSCRIBE", "beside"]);
    let (mut replies, mut messages) = (0, 0);
    for number in 0..500 {
        client.send(&["SET", "pubsub:beside", &number.to_string()]).unwrap();
        client.send(&["PUBLISH", "beside", &number.to_string()]).unwrap();
        client.send(&["GET", "pubsub:beside"]).unwrap();
    }
    while replies < 1_500 || messages < 500 {
        match client.receive().unwrap() {
            push @ Reply::Push(_) => {
                assert_eq!(words(&push), ["message", "beside", &messages.to_string()]);
                messages += 1;
            }
            reply => {
                match replies % 3 {
                    0 => assert!(reply.is_ok()),
                    1 => assert_eq!(reply, Reply::Integer(1)),
                    _ => assert_eq!(reply, Reply::bulk((replies / 3).to_string())),
                }
                replies += 1;
            }
        }
    }
    // Back to RESP2, where hardly anything may be asked while subscribed.
    assert!(!client.hello(2).unwrap().is_error());
    assert!(client.command(&["GET", "key"]).unwrap().text().starts_with("ERR Can't execute 'get'"));
    daemon.client().command(&["PUBLISH", "beside", "two"]).unwrap();
    assert!(matches!(client.receive().unwrap(), Reply::Array(_)));
    assert!(!client.command(&["RESET"]).unwrap().is_error());
    assert_eq!(daemon.client().command(&["PUBLISH", "beside", "three"]).unwrap(), Reply::Integer(0));
    assert_silent(&mut client);
}

#[test]
fn one_server_a_unix_socket_and_sentinels_bring_messages_too() {
    let standalone = Standalone::launch(&[]).unwrap();
    let sentinel = Sentinel::launch().unwrap();
    let sentinels: Vec<String> = sentinel.sentinels().iter().map(|one| one.address().to_string()).collect();
    let urls = [
        (format!("redis://{}", standalone.server().address()), standalone.server()),
        (format!("redis+unix://{}", standalone.unix_socket().display()), standalone.server()),
        (format!("redis-sentinel://{}/{}", sentinels.join(","), SERVICE), &sentinel.servers()[0]),
    ];
    for (url, server) in urls {
        let daemon = Daemon::start(&["--upstream", &url]);
        let mut subscriber = subscribed(&daemon, 3, &["SUBSCRIBE", "one"]);
        confirm(&mut subscriber, &["PSUBSCRIBE", "*"]);
        confirm(&mut subscriber, &["SSUBSCRIBE", "two", "three"]);
        assert_eq!(server.command(&["PUBLISH", "one", "text"]).unwrap(), Reply::Integer(2), "{url}");
        let mut got = [words(&subscriber.receive().unwrap()), words(&subscriber.receive().unwrap())];
        got.sort();
        assert_eq!(got, [vec!["message", "one", "text"], vec!["pmessage", "*", "one", "text"]]);
        assert_eq!(daemon.client().command(&["SPUBLISH", "two", "text"]).unwrap(), Reply::Integer(1));
        assert_eq!(words(&subscriber.receive().unwrap()), ["smessage", "two", "text"]);
        daemon.assert_quiet();
    }
}

#[test]
fn a_user_who_may_not_subscribe_is_told_the_servers_error() {
    let upstream = Standalone::launch(&[]).unwrap();
    let acl = ["ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all", "resetchannels", "&open:*"];
    upstream.server().command(&acl).unwrap();
    let daemon =
        Daemon::start(&["--upstream", &format!("redis://app:secret@{}", upstream.server().address())]);
    let mut client = daemon.client();
    let reply = client.command(&["SUBSCRIBE", "closed"]).unwrap();
    assert!(reply.text().starts_with("NOPERM"), "{reply:?}");
    confirm(&mut client, &["SUBSCRIBE", "open:a"]);
    assert_eq!(info(&daemon, "pubsub_channels"), 1);
}

/// A client that speaks this version and is subscribed by this request.
pub(crate) fn subscribed(daemon: &Daemon, version: u8, request: &[&str]) -> SandboxClient {
    let mut client = daemon.client();
    client.hello(version).unwrap();
    confirm(&mut client, request);
    client
}

/// Sends a request that is confirmed once for each of its names.
pub(crate) fn confirm(client: &mut SandboxClient, request: &[&str]) {
    client.send(request).unwrap();
    for name in &request[1..] {
        let said = words(&client.receive().unwrap());
        assert_eq!(said[..2], [&request[0].to_lowercase(), *name]);
    }
}

/// The elements of a reply or push as texts.
pub(crate) fn words(reply: &Reply) -> Vec<String> {
    let word = |item: &Reply| item.integer().map_or_else(|| item.text(), |number| number.to_string());
    assert!(!reply.is_error(), "{reply:?}");
    reply.items().iter().map(word).collect()
}

/// Nothing comes.
pub(crate) fn assert_silent(client: &mut SandboxClient) {
    client.set_timeout(A_WHILE).unwrap();
    let said = client.receive();
    assert!(said.is_err(), "{said:?}");
    client.set_timeout(SOON).unwrap();
}

/// A number from any section of INFO.
pub(crate) fn info(daemon: &Daemon, name: &str) -> u64 {
    let info = daemon.client().command(&["INFO"]).unwrap().text();
    let digits = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    digits.unwrap_or_else(|| panic!("no {name} in {info}")).trim().parse().unwrap()
}

fn numsub(client: &mut SandboxClient) -> i64 {
    client.command(&["PUBSUB", "NUMSUB", "crowd"]).unwrap().items()[1].integer().unwrap()
}
