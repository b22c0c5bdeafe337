//! What cannot work is said at once: what, where, and with an exit code; an upstream that is away is no such
//! thing.

use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use crate::support::daemon::{Daemon, run_to_end, upstream_url};
use crate::support::servers::{sandbox, shared_cluster};

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
    client.set_timeout(ERROR_LIMIT * 2).unwrap();
    for request in [vec!["GET", "key"], vec!["SET", "key", "value"], vec!["MGET", "one", "two"]] {
        let begun = Instant::now();
        let reply = client.command(&request).unwrap();
        assert!(reply.is_error() && reply.text().contains(' '), "{request:?} gave {reply:?}");
        assert!(begun.elapsed() < ERROR_LIMIT, "{request:?} took {:?}", begun.elapsed());
    }
    assert_eq!(client.command(&["PING"]).unwrap().text(), "PONG");
    daemon.stop();
}

#[test]
fn files_that_cannot_be_what_they_are_for_are_named() {
    let directory = sandbox().make_directory().unwrap();
    let at = |name: &str| directory.join(name).to_str().unwrap().to_owned();
    fs::create_dir(at("directory")).unwrap();
    assert!(Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
    let _listener = UnixListener::bind(at("socket")).unwrap();
    let config = format!("upstream = 'redis://h'\n{}", "# a comment\n".repeat((16 << 20) / 12));
    fs::write(at("long.toml"), config).unwrap();
    fs::write(at("long"), "x".repeat((64 << 10) + 1)).unwrap();
    let warm = "a regular file is wanted, and there is";
    for (flag, file, message) in [
        ("--warm-file", "directory", &*format!("{warm} a directory")),
        ("--warm-file", "pipe", &format!("{warm} a pipe")),
        ("--warm-file", "socket", &format!("{warm} a socket")),
        ("--config", "long.toml", "cannot read the configuration file: it has more than 16777216 bytes"),
        ("--password-file", "long", "cannot read the file: it has more than 65536 bytes"),
        ("--upstream-password-file", "long", "cannot read the file: it has more than 65536 bytes"),
    ] {
        let ended = run_to_end(&["--listen", "127.0.0.1:0", "--upstream", "redis://h", flag, &at(file)]);
        assert_eq!(ended.status.code(), Some(2), "{file}: {}", ended.stderr);
        assert!(ended.stderr.contains(&at(file)) && ended.stderr.contains(message), "{}", ended.stderr);
    }
}

#[test]
fn a_secret_may_come_through_a_pipe() {
    let pipe = sandbox().make_directory().unwrap().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let writer = thread::spawn({
        let pipe = pipe.clone();
        move || fs::write(pipe, "secret\n")
    });
    let url = upstream_url(shared_cluster());
    let daemon = Daemon::start(&["--upstream", &url, "--password-file", pipe.to_str().unwrap()]);
    writer.join().unwrap().unwrap();
    let mut client = daemon.client();
    assert!(client.command(&["AUTH", "secret"]).unwrap().is_ok());
    daemon.stop();
}
