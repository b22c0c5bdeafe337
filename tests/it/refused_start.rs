//! What cannot work is said at once: what, where, and with an exit code; an upstream that is away is no such thing.

use std::net::TcpListener;
use std::time::Duration;

use tokio::time::Instant;

use crate::support::daemon::{Daemon, run_to_end, upstream_url};
use crate::support::servers::shared_cluster;

/// How late the error of a request may come when nothing of the upstream can be reached.
const ERROR_LIMIT: Duration = Duration::from_secs(5);

#[test]
fn a_wrong_upstream_url_is_named() {
    for url in ["nonsense://somewhere:1", "redis-cluster://", "redis-cluster://host:notaport", "just words"] {
        let ended = run_to_end(&["--listen", "127.0.0.1:0", "--upstream", url]);
        assert!(!ended.status.success(), "{url}: {:?}", ended.status);
        assert!(ended.stderr.contains("upstream") && ended.stderr.contains(url), "{url}: {}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    }
}

#[test]
fn a_port_in_use_is_named() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap().to_string();
    let ended = run_to_end(&["--upstream", &upstream_url(shared_cluster()), "--listen", &address]);
    assert!(!ended.status.success(), "{:?}", ended.status);
    assert!(ended.stderr.contains(&address) && ended.stderr.contains("in use"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
}

#[test]
fn an_unreachable_upstream_is_an_error_in_time() {
    // Bound and let go: a port at which nobody listens.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let daemon = Daemon::start(&["--upstream", &format!("redis-cluster://{nobody}")]);
    let mut client = daemon.client();
    client.set_patience(ERROR_LIMIT * 2).unwrap();
    for request in [vec!["GET", "key"], vec!["SET", "key", "value"], vec!["MGET", "one", "two"]] {
        let begun = Instant::now();
        let reply = client.command(&request).unwrap();
        assert!(reply.is_error() && reply.text().contains(' '), "{request:?} gave {reply:?}");
        assert!(begun.elapsed() < ERROR_LIMIT, "{request:?} took {:?}", begun.elapsed());
    }
    assert_eq!(client.command(&["PING"]).unwrap().text(), "PONG");
    daemon.stop();
}
