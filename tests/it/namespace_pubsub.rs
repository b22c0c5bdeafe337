//! Channels and notifications in namespaces: a client gets what a plain server would send it, with the names that
//! it knows, and nothing of other namespaces.

use std::collections::BTreeSet;

use nearside::sandbox::{Cluster, ClusterShape, SandboxClient, Standalone};

use crate::namespaces::{TwoNamespaces, ask};
use crate::pubsub::assert_silent;
use crate::support::daemon::upstream_url;

/// Who asks for something, what, and how many replies and pushes the subscriber gets then.
type Step = (Asker, &'static str, usize);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asker {
    Subscriber,
    Publisher,
}
use Asker::{Publisher, Subscriber};

const CHANNELS: &[Step] = &[
    (Subscriber, "SUBSCRIBE news other news", 3),
    (Subscriber, "PSUBSCRIBE n* {a}*", 2),
    (Subscriber, "SSUBSCRIBE {s}hard", 1),
    (Publisher, "PUBLISH news hello", 2),
    (Publisher, "PUBLISH {a}b hello", 1),
    (Publisher, "PUBLISH nothing {two}:x", 1),
    (Publisher, "SPUBLISH {s}hard one:x", 1),
    (Publisher, "PUBLISH unheard x", 0),
    (Publisher, "MULTI", 0),
    (Publisher, "PUBLISH other x", 0),
    (Publisher, "PUBLISH n x", 0),
    (Publisher, "EXEC", 2),
    (Publisher, "PUBSUB CHANNELS", 0),
    (Publisher, "PUBSUB CHANNELS n*", 0),
    (Publisher, "PUBSUB NUMSUB news unheard", 0),
    (Publisher, "PUBSUB NUMSUB", 0),
    (Publisher, "PUBSUB SHARDCHANNELS", 0),
    (Publisher, "PUBSUB SHARDCHANNELS x*", 0),
    (Publisher, "PUBSUB SHARDNUMSUB {s}hard none", 0),
    (Publisher, "PUBSUB NUMPAT", 0),
    (Publisher, "SELECT 3", 0),
    (Publisher, "PUBLISH news of-three", 2),
    (Subscriber, "UNSUBSCRIBE news never", 2),
    (Publisher, "PUBLISH news hello", 1),
    (Subscriber, "UNSUBSCRIBE", 1),
    (Subscriber, "UNSUBSCRIBE", 1),
    (Subscriber, "PUNSUBSCRIBE n* {a}*", 2),
    (Subscriber, "SUNSUBSCRIBE", 1),
    (Publisher, "PUBSUB NUMPAT", 0),
    (Publisher, "PUBLISH news hello", 0),
];

const NOTIFICATIONS: &[Step] = &[
    (Subscriber, "SUBSCRIBE __keyevent@0__:del __keyevent@3__:del __keyspace@3__:k __keyspace@99__:k", 4),
    (Publisher, "SET k v", 0),
    (Publisher, "DEL k", 1),
    (Publisher, "SELECT 3", 0),
    (Publisher, "SET k v", 1),
    (Publisher, "DEL k", 2),
    (Subscriber, "UNSUBSCRIBE __keyevent@3__:del", 1),
    (Publisher, "SET k v", 1),
    (Publisher, "DEL k", 1),
    (Subscriber, "UNSUBSCRIBE __keyspace@99__:k __keyspace@3__:k __keyevent@0__:del", 3),
    (Subscriber, "PSUBSCRIBE __keyspace@3__:a*", 1),
    (Publisher, "MSET a 1 ab 2 b 3", 2),
    (Subscriber, "PSUBSCRIBE __key*__:* __keyevent@*__:del __keyevent@3__:d*", 3),
    (Publisher, "SET a 2", 3),
    (Publisher, "DEL ab", 5),
    (Publisher, "SELECT 0", 0),
    (Publisher, "RPUSH ab 2", 2),
    (Publisher, "DEL ab", 3),
    (Subscriber, "PUNSUBSCRIBE __key*__:*", 1),
    (Subscriber, "PSUBSCRIBE *", 1),
    (Publisher, "SET ab 3", 2),
    (Publisher, "PUBLISH ordinary message", 1),
    (Subscriber, "PUNSUBSCRIBE * __keyevent@*__:del __keyevent@3__:d* __keyspace@3__:a*", 4),
    (Publisher, "SET ab 4", 0),
    (Publisher, "DEL ab", 0),
];

/// Notifications that a client makes up. In front of a cluster each node reports them.
const MADE_UP: &[Step] = &[
    (Subscriber, "PSUBSCRIBE __keyspace@3__:a* __key*__:*", 2),
    (Subscriber, "SUBSCRIBE __keyevent@0__:made", 1),
    (Publisher, "PUBLISH __keyspace@3__:a x", 2),
    (Publisher, "PUBLISH __keyevent@0__:made up", 2),
    (Subscriber, "UNSUBSCRIBE", 1),
    (Subscriber, "PUNSUBSCRIBE __key*__:* __keyspace@3__:a*", 2),
];

const NOISE: &[&str] =
    &["SET k 1", "DEL k", "SET ab 1", "DEL ab", "PUBLISH news noise", "SPUBLISH {s}hard noise"];

/// Replies and pushes, sorted: notifications of one command come in no order that counts.
fn receive(client: &mut SandboxClient, count: usize, request: &str) -> BTreeSet<String> {
    let mut received = BTreeSet::new();
    for _ in 0..count {
        let push = client.receive_raw();
        let push = push.unwrap_or_else(|error| panic!("{request}: {error} after {received:?}, of {count}"));
        received.insert(push.escape_ascii().to_string());
    }
    received
}

/// Takes the steps in a namespace and with a plain server. `noise` is a client of another namespace, which
/// publishes too if `messages`.
fn compare(
    steps: &[Step],
    version: u8,
    sides: [[SandboxClient; 2]; 2],
    mut noise: SandboxClient,
    messages: bool,
) {
    let [mut plain, mut own] = sides;
    for [subscriber, _] in [&mut plain, &mut own] {
        subscriber.hello(version).unwrap();
    }
    for (asker, request, count) in steps {
        let mut said = [&mut plain, &mut own].map(|[subscriber, publisher]| {
            let mut reply = match asker {
                Subscriber => {
                    subscriber.send(&request.split(' ').collect::<Vec<_>>()).unwrap();
                    String::new()
                }
                Publisher => ask(publisher, request),
            };
            if *request == "EXEC" {
                // The node of a transaction does not count the subscribers of others.
                reply.clear();
            }
            (reply, receive(subscriber, *count, request))
        });
        if *request == "PUBSUB CHANNELS" {
            // In no order that counts.
            said.iter_mut().for_each(|(reply, _)| {
                let mut names: Vec<String> = reply.split("\\r\\n").map(str::to_owned).collect();
                names.sort();
                *reply = names.join(" ");
            });
        }
        let [wanted, got] = said;
        assert_eq!(got, wanted, "{request} in RESP{version}");
        for request in NOISE.iter().filter(|request| messages || !request.contains("PUBLISH")) {
            ask(&mut noise, request);
        }
    }
    assert_silent(&mut own[0]);
}

fn notified(plain: &Standalone, upstream: &str, channels: &str, conversations: &[&[Step]]) {
    let both = TwoNamespaces::before(upstream, channels);
    for version in [2, 3] {
        for steps in conversations {
            let plain = || [plain.server().connect().unwrap(), plain.server().connect().unwrap()];
            let messages = channels == "own";
            compare(steps, version, [plain(), [both.one(), both.one()]], both.two(), messages);
            compare(steps, version, [plain(), [both.two(), both.two()]], both.one(), messages);
        }
    }
}

fn plain() -> Standalone {
    Standalone::launch(&["--notify-keyspace-events", "KEA"].map(str::to_owned)).unwrap()
}

#[test]
fn channels_and_notifications_of_a_cluster_are_those_of_a_plain_server() {
    let shape = ClusterShape {
        primaries: 3,
        replicas_each: 0,
        extra_args: ["--notify-keyspace-events", "KEA"].map(str::to_owned).into(),
        ..ClusterShape::default()
    };
    let cluster = Cluster::launch(&shape).unwrap();
    notified(&plain(), &upstream_url(&cluster), "own", &[CHANNELS, NOTIFICATIONS]);
    notified(&plain(), &upstream_url(&cluster), "shared", &[CHANNELS, NOTIFICATIONS]);
}

#[test]
fn channels_and_notifications_of_one_server_are_those_of_a_plain_one() {
    let upstream = plain();
    let url = format!("redis://{}/5", upstream.server().address());
    notified(&plain(), &url, "own", &[CHANNELS, NOTIFICATIONS, MADE_UP]);
    notified(&plain(), &url, "shared", &[CHANNELS, NOTIFICATIONS]);
}
