//! Requests on very many channels are worked on in slices; their clients see nothing of that.

use std::time::Duration;

use nearside::sandbox::client::encode;
use nearside::sandbox::{Reply, SandboxClient};

use crate::support::daemon::{Daemon, upstream_url};
use crate::support::servers::{eventually, own_primaries};

/// More than are looked at in some slices.
const MANY: usize = 1_500;

const LIMIT: Duration = Duration::from_secs(15);

fn request(name: &str, count: usize) -> Vec<u8> {
    let names = (0..count).map(|number| format!("channel:{number}"));
    encode(&std::iter::once(name.to_owned()).chain(names).collect::<Vec<_>>())
}

/// The name and the number of each confirmation.
fn confirmed(client: &mut SandboxClient, what: &str, count: usize) -> Vec<(String, i64)> {
    let confirmation = |_| {
        let reply = client.receive().unwrap();
        assert_eq!(reply.items()[0], Reply::bulk(what), "{reply:?}");
        (reply.items()[1].text(), reply.items()[2].integer().unwrap())
    };
    (0..count).map(confirmation).collect()
}

#[test]
fn many_channels_are_confirmed_and_ended_in_order_with_what_comes_behind_them() {
    let cluster = own_primaries(3);
    let daemon = Daemon::before(&cluster);
    for version in [2, 3] {
        let mut client = daemon.client();
        client.hello(version).unwrap();
        let names = |number: usize| format!("channel:{number}");
        // Some twice, in another slice; and what is asked behind it sees all of it.
        let twice = [request("SUBSCRIBE", MANY), request("SUBSCRIBE", MANY), encode(&["PING"])].concat();
        client.send_raw(&twice).unwrap();
        let rising: Vec<_> = (0..MANY).map(|number| (names(number), number as i64 + 1)).collect();
        assert_eq!(confirmed(&mut client, "subscribe", MANY), rising);
        let again: Vec<_> = (0..MANY).map(|number| (names(number), MANY as i64)).collect();
        assert_eq!(confirmed(&mut client, "subscribe", MANY), again);
        assert!(!client.receive().unwrap().is_error());
        let last = names(MANY - 1);
        assert_eq!(daemon.client().command(&["PUBLISH", &last, "m"]).unwrap().integer(), Some(1));
        assert_eq!(client.receive().unwrap().items()[2], Reply::bulk("m"));
        client.send_raw(&[encode(&["UNSUBSCRIBE"]), encode(&["PING", "behind"])].concat()).unwrap();
        let ended = confirmed(&mut client, "unsubscribe", MANY);
        let falling: Vec<i64> = (0..MANY as i64).rev().collect();
        assert_eq!(ended.iter().map(|(_, left)| *left).collect::<Vec<_>>(), falling);
        assert_eq!(client.receive().unwrap(), Reply::bulk("behind"));
        assert_eq!(daemon.client().command(&["PUBLISH", &last, "m"]).unwrap().integer(), Some(0));
    }
}

#[test]
fn nothing_is_left_of_many_channels_that_are_too_many_or_whose_client_is_gone() {
    let cluster = own_primaries(1);
    let max = (MANY - 1).to_string();
    let daemon = Daemon::start(&["--upstream", &upstream_url(&cluster), "--pubsub-subscriptions-max", &max]);
    let none = |what: &str| {
        eventually(what, LIMIT, || {
            daemon.client().command(&["INFO", "stats"]).unwrap().text().contains("pubsub_channels:0")
        });
    };
    let mut client = daemon.client();
    client.send_raw(&request("SUBSCRIBE", MANY)).unwrap();
    let refused = client.receive().unwrap().text();
    assert!(refused.contains("pubsub_subscriptions_max"), "{refused}");
    none("a request that is too large is taken back as a whole");
    assert_eq!(client.command(&["ECHO", "no longer subscribed"]).unwrap().text(), "no longer subscribed");

    client.send_raw(&[request("SUBSCRIBE", MANY - 1), encode(&["RESET"])].concat()).unwrap();
    confirmed(&mut client, "subscribe", MANY - 1);
    assert_eq!(client.receive().unwrap().text(), "RESET");
    none("RESET ends them");

    client.send_raw(&request("SUBSCRIBE", MANY - 1)).unwrap();
    confirmed(&mut client, "subscribe", MANY - 1);
    drop(client);
    none("a client that is gone has none");

    for _ in 0..10 {
        // Gone before all of it was looked at.
        daemon.client().send_raw(&request("SUBSCRIBE", MANY - 1)).unwrap();
    }
    none("a client that was gone soon has none");
}
