//! What one client may take of what all share: who takes more waits, or is refused, and the others have theirs.

use std::thread;
use std::time::Duration;

use nearside::dev::{Client, Reply, Standalone};

use crate::support::daemon::Daemon;
use crate::support::servers::eventually;

/// How long anything here may take.
const SOON: Duration = Duration::from_secs(10);

fn bounded(bounds: &[&str]) -> (Standalone, Daemon) {
    let upstream = Standalone::launch(&[]).unwrap();
    let url = format!("redis://{}", upstream.server().address());
    let daemon = Daemon::start(&[&["--upstream", &url][..], bounds].concat());
    daemon.until_tracked(1);
    (upstream, daemon)
}

fn writes(client: &mut Client, count: usize, value: &[u8]) {
    for number in 0..count {
        client.send(&[&b"SET"[..], format!("large:{number}").as_bytes(), value]).unwrap();
    }
}

#[test]
fn client_in_flight_bytes_max() {
    let bounds = ["--client-in-flight-bytes-max", "1mb", "--upstream-in-flight-bytes-max", "8mb"];
    let (upstream, daemon) = bounded(&bounds);
    let (mut greedy, mut other) = (daemon.client(), daemon.client());
    upstream.server().stop_signal().unwrap();
    // What the kernels of both ends hold is not in the daemon's hands: it is sent by a thread of its own.
    let value = vec![b'v'; 256 * 1024];
    thread::scope(|scope| {
        let sending = scope.spawn(|| {
            writes(&mut greedy, 100, &value);
            (0..100).filter(|_| greedy.receive().unwrap().is_ok()).count()
        });
        eventually("it has to wait", SOON, || daemon.counter("client_in_flight_waits") > 0);
        other.send(&[&b"SET"[..], b"other", &value]).unwrap();
        upstream.server().continue_signal().unwrap();
        assert!(other.receive().unwrap().is_ok(), "there is room for others");
        assert_eq!(sending.join().unwrap(), 100, "who waits is not refused");
    });
    assert_eq!(daemon.counter("upstream_refusals"), 0);
}

#[test]
fn one_request_beyond_client_in_flight_bytes_max_is_taken() {
    let (_upstream, daemon) = bounded(&["--client-in-flight-bytes-max", "1kb"]);
    let (mut client, value) = (daemon.client(), vec![b'v'; 100_000]);
    writes(&mut client, 10, &value);
    client.send(&["GET", "large:9"]).unwrap();
    (0..10).for_each(|_| assert!(client.receive().unwrap().is_ok()));
    assert_eq!(client.receive().unwrap(), Reply::bulk(&value));
}

#[test]
fn pubsub_patterns_max() {
    let (_upstream, daemon) = bounded(&["--pubsub-patterns-max", "2"]);
    let mut client = daemon.client();
    for name in ["a*", "b*", "a*"] {
        assert_eq!(client.command(&["PSUBSCRIBE", name]).unwrap().items().len(), 3);
    }
    let refused = client.command(&["PSUBSCRIBE", "c*"]).unwrap().text();
    assert_eq!(refused, "ERR nearside: a client may have 2 patterns (pubsub_patterns_max)");
    assert_eq!(client.command(&["SUBSCRIBE", "channel"]).unwrap().items().len(), 3);
    assert_eq!(daemon.client().command(&["PUBLISH", "another", "message"]).unwrap().integer(), Some(1));
}
