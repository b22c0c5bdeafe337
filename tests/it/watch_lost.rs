//! What is watched on a connection that is lost counts as changed: EXEC answers null and carries out nothing,
//! as COMPATIBILITY.md says.

use std::time::Duration;

use nearside::sandbox::{Reply, SandboxClient, Standalone};

use crate::support::daemon::Daemon;
use crate::support::relay::Relay;
use crate::support::servers::{eventually, own_primaries};

const SOON: Duration = Duration::from_secs(30);

fn say(client: &mut SandboxClient, request: &str) -> Reply {
    client.command(&request.split(' ').collect::<Vec<_>>()).unwrap()
}

/// Ends all connections of clients but the one that says so; there was at least one.
fn cut(direct: &mut SandboxClient) {
    let killed = say(direct, "CLIENT KILL TYPE normal SKIPME yes");
    assert!(killed.integer().is_some_and(|killed| killed > 0), "{killed:?}");
}

#[test]
fn exec_answers_null_wherever_the_connection_was_lost_before_it() {
    let upstream = Standalone::launch(&[]).unwrap();
    let daemon = Daemon::start(&["--upstream", &format!("redis://{}", upstream.server().address())]);
    let (mut client, mut direct) = (daemon.client(), upstream.server().connect().unwrap());
    let stories: [(&str, &[&str]); 6] = [
        ("right after WATCH", &["WATCH key", "cut", "MULTI", "SET key mine", "EXEC"]),
        ("before what is queued", &["WATCH key", "MULTI", "cut", "SET key mine", "EXEC"]),
        ("right before EXEC", &["WATCH key", "MULTI", "SET key mine", "cut", "EXEC"]),
        ("before a second WATCH", &["WATCH key", "cut", "WATCH key", "MULTI", "SET key mine", "EXEC"]),
        ("with nothing queued", &["WATCH key", "MULTI", "cut", "EXEC"]),
        ("after a read", &["WATCH key", "GET key", "cut", "MULTI", "SET key mine", "GET key", "EXEC"]),
    ];
    for version in [2, 3] {
        client.hello(version).unwrap();
        for (when, story) in stories {
            say(&mut direct, "SET key theirs");
            let mut last = None;
            for step in story {
                match *step {
                    "cut" => cut(&mut direct),
                    request => last = Some(say(&mut client, request)),
                }
                assert!(!last.as_ref().is_some_and(Reply::is_error), "{when}, {step}: {last:?}");
            }
            assert!(last.as_ref().is_some_and(Reply::is_nil), "{when}: {last:?}");
            assert_eq!(say(&mut direct, "GET key").text(), "theirs", "{when}: nothing was carried out");
        }
        // And the next transaction is as any.
        eventually("the daemon is connected again", SOON, || !say(&mut client, "SET key theirs").is_error());
        for request in ["WATCH key", "MULTI", "SET key mine"] {
            assert!(!say(&mut client, request).is_error(), "{request}");
        }
        assert_eq!(say(&mut client, "EXEC").items().len(), 1);
        assert_eq!(say(&mut direct, "GET key").text(), "mine");
    }
    daemon.stop();
}

#[test]
fn a_transaction_whose_reply_was_lost_is_an_error_and_not_null() {
    let cluster = own_primaries(1);
    let relay = Relay::before(&cluster.nodes()[0]);
    let daemon = Daemon::start(&["--upstream", &format!("redis-cluster://{}", relay.address())]);
    daemon.until_tracked(1);
    let mut client = daemon.client();
    for request in ["WATCH key", "MULTI", "SET key mine"] {
        assert!(!say(&mut client, request).is_error(), "{request}");
    }
    relay.lose_reply_to(b"EXEC");
    let said = say(&mut client, "EXEC").text();
    assert!(said.contains("may or may not have been executed"), "{said}");
    let mut direct = cluster.nodes()[0].server().connect().unwrap();
    assert_eq!(say(&mut direct, "GET key").text(), "mine", "here it was");
    daemon.stop();
}
