//! What is remembered for clients that cache is bounded.

use nearside::sandbox::{SandboxClient, Standalone};
use tokio::time::Instant;

use super::{Cacher, stale};
use crate::support::daemon::Daemon;

fn daemon(arguments: &[&str]) -> (Standalone, Daemon) {
    let upstream = Standalone::launch(&[]).unwrap();
    let url = format!("redis://{}", upstream.server().address());
    let daemon = Daemon::start(&[&["--upstream", &url], arguments].concat());
    daemon.until_tracked(1);
    (upstream, daemon)
}

#[test]
fn tracking_keys_max() {
    let (_upstream, daemon) = daemon(&["--tracking-keys-max", "10"]);
    let mut cacher = Cacher::new(daemon.client(), &[]);
    let mut kept = Vec::new();
    for number in 0..100 {
        let key = format!("key{number}");
        cacher.ask(&["GET", &key]);
        kept.push(stale(&[&key]));
        for push in cacher.pushed() {
            let at = kept.iter().position(|kept| *kept == push).unwrap();
            kept.remove(at);
        }
        assert!(kept.len() <= 10, "{} keys are kept", kept.len());
    }
    assert_eq!(kept.len(), 10);
}

#[test]
fn prefixes_of_one_client() {
    let (_upstream, daemon) = daemon(&[]);
    let mut client = daemon.client();
    let words = |count: usize| {
        let prefixes = (0..count).flat_map(|number| ["PREFIX".to_owned(), format!("{number:05}")]);
        ["CLIENT", "TRACKING", "ON", "BCAST"]
            .map(str::to_owned)
            .into_iter()
            .chain(prefixes)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        client.command(&words(1025)).unwrap().text(),
        "ERR nearside: a client can be told of 1024 prefixes at most"
    );
    assert!(client.command(&words(1024)).unwrap().is_ok());
}

#[test]
fn changes_of_prefixes_are_gathered() {
    let (upstream, daemon) = daemon(&[]);
    let connections = || {
        let info = upstream.server().command(&["INFO", "stats"]).unwrap().text();
        let line = info.lines().find_map(|line| line.strip_prefix("total_connections_received:")).unwrap();
        line.parse::<u128>().unwrap()
    };
    let mut clients: Vec<SandboxClient> = (0..50).map(|_| daemon.client()).collect();
    let (before, began) = (connections(), Instant::now());
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(&["CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", &format!("{number}:")]).unwrap();
    }
    for client in &mut clients {
        assert!(client.receive().unwrap().is_ok());
    }
    // One for each gap, one at its beginning, and the connection that asks for the number.
    let most = began.elapsed().as_millis() / 100 + 2;
    let made = connections() - before;
    assert!(made <= most, "{made} connections for 50 changes, where {most} may be");
}
