//! Who has left, in whichever way, is not counted any more by the time that it is known: as on one server.

use nearside::sandbox::{Reply, SandboxClient, Standalone};

use crate::pubsub::words;
use crate::support::daemon::{Daemon, upstream_url};
use crate::support::servers::own_primaries;

/// How often each way is gone.
const TIMES: usize = 30;

/// A way to leave; when it returns, the client has been told.
type Way = fn(SandboxClient, &str, &mut SandboxClient);

const WAYS: [(&str, Way); 4] = [
    ("UNSUBSCRIBE", |mut subscriber, _, _| {
        subscriber.command(&["UNSUBSCRIBE"]).unwrap();
        subscriber.command(&["PUNSUBSCRIBE"]).unwrap();
    }),
    ("RESET", |mut subscriber, _, _| assert_eq!(subscriber.command(&["RESET"]).unwrap().text(), "RESET")),
    ("QUIT", |mut subscriber, _, _| {
        subscriber.send(&["QUIT"]).unwrap();
        assert_eq!(subscriber.receive_rest().unwrap(), b"+OK\r\n");
    }),
    ("CLIENT KILL", |mut subscriber, id, other| {
        assert_eq!(other.command(&["CLIENT", "KILL", "ID", id]).unwrap(), Reply::Integer(1));
        assert_eq!(subscriber.receive_rest().unwrap(), b"");
    }),
];

/// Leaves in all ways, and asks at once who is there.
fn leave(connect: impl Fn() -> SandboxClient) {
    let mut other = connect();
    for number in 0..TIMES {
        for (name, way) in WAYS {
            let mut subscriber = connect();
            let id = subscriber.command(&["CLIENT", "ID"]).unwrap().integer().unwrap().to_string();
            let channel = format!("left:{name}:{number}");
            subscriber.command(&["SUBSCRIBE", &channel]).unwrap();
            // Its own: in a cluster a message may reach who subscribed after it was published, over the bus.
            subscriber.command(&["PSUBSCRIBE", &format!("{channel}*")]).unwrap();
            assert_eq!(
                other.command(&["PUBLISH", &channel, "heard"]).unwrap(),
                Reply::Integer(2),
                "{channel}"
            );
            subscriber.receive().unwrap();
            subscriber.receive().unwrap();
            way(subscriber, &id, &mut other);
            let mut counts = [
                other.command(&["PUBLISH", &channel, "unheard"]).unwrap(),
                other.command(&["PUBSUB", "NUMPAT"]).unwrap(),
            ];
            assert_eq!(counts, [Reply::Integer(0), Reply::Integer(0)], "{channel}");
            counts[0] = other.command(&["PUBSUB", "NUMSUB", &channel]).unwrap();
            assert_eq!(words(&counts[0]), [&channel, "0"]);
            assert_eq!(
                words(&other.command(&["PUBSUB", "CHANNELS"]).unwrap()),
                Vec::<String>::new(),
                "{channel}"
            );
        }
    }
}

#[test]
fn of_a_plain_server() {
    let server = Standalone::launch(&[]).unwrap();
    leave(|| server.server().connect().unwrap());
}

#[test]
fn in_front_of_one_server() {
    let server = Standalone::launch(&[]).unwrap();
    let daemon = Daemon::start(&["--upstream", &format!("redis://{}", server.server().address())]);
    leave(|| daemon.client());
}

#[test]
fn in_front_of_a_cluster_and_in_a_namespace_of_it() {
    let cluster = own_primaries(3);
    let daemon = Daemon::before(&cluster);
    leave(|| daemon.client());
    let daemon =
        Daemon::start(&["--upstream", &upstream_url(&cluster), "--namespace", "app", "--workers", "2"]);
    leave(|| daemon.client());
}
