//! A message goes out behind what its client wrote before it, whatever way that takes.

use std::time::Duration;

use nearside::sandbox::client::encode;
use nearside::sandbox::{Reply, SandboxClient, Standalone};

use crate::support::daemon::Daemon;
use crate::support::slow_link::SlowLink;

/// For what must happen, on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// Large enough to go past the commands of others.
const LARGE: usize = 2_000_000;

/// A pipeline of one client: a large value and what tells of it.
fn pipeline(telling: &[&[&str]]) -> (Vec<u8>, usize) {
    let large = "v".repeat(LARGE);
    let set = encode(&["SET", "big", &large]);
    let told = telling.iter().map(|request| encode(request));
    (std::iter::once(set).chain(told).collect::<Vec<_>>().concat(), 1 + telling.len())
}

#[test]
fn whoever_hears_of_a_large_value_finds_it() {
    let server = Standalone::launch(&[]).unwrap();
    let link = SlowLink::to(server.server().address());
    let url = format!("redis://{}", link.address());
    let daemon = Daemon::start(&["--upstream", &url, "--upstream-request-timeout", "30s"]);
    daemon.until_tracked(1);
    link.limit(10_000_000);
    let connect = || {
        let client = server.server().connect().unwrap();
        client.set_timeout(LIMIT).unwrap();
        client
    };
    let telling: [(&str, &[&[&str]]); 5] = [
        ("SUBSCRIBE", &[&["PUBLISH", "told", "m"]]),
        ("SSUBSCRIBE", &[&["SPUBLISH", "told", "m"]]),
        ("SUBSCRIBE", &[&["MULTI"], &["PUBLISH", "told", "m"], &["EXEC"]]),
        ("SSUBSCRIBE", &[&["MULTI"], &["SPUBLISH", "told", "m"], &["EXEC"]]),
        ("SUBSCRIBE", &[&["SET", "small", "1"], &["PUBLISH", "told", "m"], &["SET", "small", "2"]]),
    ];
    let mut past_it = connect();
    // Before there is a side connection, and when there is one.
    for _ in 0..2 {
        for (subscribe, requests) in telling {
            past_it.command(&["DEL", "big"]).unwrap();
            let mut listener = connect();
            listener.command(&[subscribe, "told"]).unwrap();
            let (sent, replies) = pipeline(requests);
            let mut client: SandboxClient = daemon.client();
            client.set_timeout(LIMIT).unwrap();
            client.send_raw(&sent).unwrap();
            assert_eq!(listener.receive().unwrap().items()[2], Reply::bulk("m"));
            let length = past_it.command(&["STRLEN", "big"]).unwrap();
            assert_eq!(length, Reply::Integer(LARGE as i64), "{requests:?} overtook what it tells of");
            (0..replies).for_each(|_| assert!(!client.receive().unwrap().is_error()));
        }
    }
    assert!(daemon.counter("upstream_side_opened") > 0);
}
