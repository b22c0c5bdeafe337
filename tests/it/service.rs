//! The daemon as a service: what its manager hears, what its command line says, and an upstream that comes
//! late.

use std::fs;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

use nearside::config::KEYS;
use nearside::sandbox::{Address, SandboxClient, Standalone};
use tokio::time::Instant;

use crate::support::daemon::{Daemon, run_to_end, upstream_url};
use crate::support::servers::{eventually, own_primaries, shared_cluster};

/// How late an error may come, and how long a node that is back may go unnoticed.
const LIMIT: Duration = Duration::from_secs(5);

/// What ends by itself, however wrong it is called.
fn nearside(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nearside")).args(arguments).output().unwrap()
}

/// Where systemd listens, in a directory that goes with the test.
fn systemd(directory: &Path) -> (UnixDatagram, PathBuf) {
    let path = directory.join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    (socket, path)
}

fn hear(systemd: &UnixDatagram) -> String {
    let mut heard = [0; 256];
    let length = systemd.recv(&mut heard).unwrap();
    String::from_utf8_lossy(&heard[..length]).trim_end().to_owned()
}

#[test]
fn systemd_hears_when_it_serves_and_when_it_stops() {
    let directory = tempfile::tempdir().unwrap();
    let (systemd, notify) = systemd(directory.path());
    let path = directory.path().join("nearside.sock");
    let listener = thread::spawn({
        let path = path.clone();
        move || {
            let state = hear(&systemd);
            // Whoever was waiting for READY connects at once.
            (state, UnixStream::connect(path).map(drop), systemd)
        }
    });
    let daemon = Daemon::start_in(
        &["--unix", path.to_str().unwrap(), "--upstream", &upstream_url(shared_cluster())],
        &[("NOTIFY_SOCKET", notify.as_path())],
    );
    let (state, connected, systemd) = listener.join().unwrap();
    assert_eq!(state, "READY=1");
    connected.unwrap();
    assert_eq!(hear(&systemd), "STATUS=serving");
    daemon.assert_quiet();
    daemon.stop();
    assert_eq!(hear(&systemd), "STOPPING=1");
    assert!(!path.exists(), "the path goes with the daemon");
}

/// What must hold in front of a node that is dead at first: commands fail in time and say why, and succeed
/// once the node is there.
fn comes_late(daemon: &Daemon, revive: impl FnOnce()) {
    let mut client = daemon.client();
    client.set_timeout(LIMIT * 2).unwrap();
    for request in [&["GET", "late"][..], &["SET", "late", "1"]] {
        let begun = Instant::now();
        let reply = client.command(request).unwrap();
        assert!(reply.is_error() && reply.text().starts_with("CLUSTERDOWN nearside: "), "{reply:?}");
        assert!(begun.elapsed() < LIMIT, "{request:?} took {:?}", begun.elapsed());
    }
    revive();
    eventually("a write succeeds", LIMIT * 2, || client.command(&["SET", "late", "2"]).unwrap().is_ok());
    assert_eq!(client.command(&["GET", "late"]).unwrap().text(), "2");
}

#[test]
fn a_cluster_that_comes_late_is_found() {
    let cluster = own_primaries(1);
    let node = cluster.nodes()[0].server();
    node.kill9().unwrap();
    let daemon = Daemon::start(&["--upstream", &upstream_url(&cluster)]);
    comes_late(&daemon, || node.restart().unwrap());
    daemon.assert_logged("WARN", "topology discovery failed");
    daemon.assert_logged("INFO", "topology discovered");
    daemon.assert_logged("INFO", "upstream connection established");
    daemon.stop();
}

#[test]
fn a_server_that_comes_late_is_found() {
    let standalone = Standalone::launch(&[]).unwrap();
    let server = standalone.server();
    server.kill9().unwrap();
    let daemon = Daemon::start(&["--upstream", &format!("redis://{}", server.address())]);
    comes_late(&daemon, || server.restart().unwrap());
    daemon.assert_logged("WARN", "upstream connection failed; retrying");
    daemon.assert_logged("INFO", "upstream connection established");
    daemon.stop();
}

#[test]
fn a_unix_path_left_behind_is_replaced_and_one_in_use_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nearside.sock");
    let upstream = upstream_url(shared_cluster());
    // Closing a Unix socket leaves its path.
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let daemon = Daemon::start(&["--unix", path.to_str().unwrap(), "--upstream", &upstream]);
    let mut client = SandboxClient::connect(&Address::Unix(path.clone())).unwrap();
    assert_eq!(client.command(&["PING"]).unwrap().text(), "PONG");

    let arguments = ["--listen", "127.0.0.1:0", "--unix", path.to_str().unwrap(), "--upstream", &upstream];
    let second = run_to_end(&arguments);
    assert_eq!(second.status.code(), Some(1));
    assert!(second.stderr.contains(path.to_str().unwrap()), "{}", second.stderr);
    assert!(second.stderr.contains("another process listens there"), "{}", second.stderr);
    assert_eq!(client.command(&["PING"]).unwrap().text(), "PONG", "the first one goes on");
    daemon.assert_quiet();
    daemon.stop();
}

#[test]
fn help_names_every_flag() {
    let help = nearside(&["serve", "--help"]);
    assert!(help.status.success() && help.stderr.is_empty(), "{help:?}");
    let text = String::from_utf8(help.stdout).unwrap();
    for key in KEYS {
        // A switch may stand alone: its value is optional.
        let named = ["<", "[<"].iter().any(|value| text.contains(&format!("--{} {value}", key.flag())));
        assert!(named, "no --{} in:\n{text}", key.flag());
    }
}

#[test]
fn every_fault_of_a_configuration_is_named_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nearside.toml");
    fs::write(&path, "upstream = \"redis://\"\nl1_szie = \"1mb\"\nworkers = 0\nlease = \"soon\"\n").unwrap();
    let output = nearside(&["serve", "--config", path.to_str().unwrap(), "--max-clients", "many"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    for (fault, place) in [
        ("upstream", ":1"),
        ("did you mean l1_size?", ":2"),
        ("workers", ":3"),
        ("lease", ":4"),
        ("many", "--max-clients"),
    ] {
        let named = text.lines().any(|line| line.contains(fault) && line.contains(place));
        assert!(named, "no {fault} at {place} in:\n{text}");
    }
}
