//! The daemon as a service manager sees it: ready when it listens, patient with an upstream that comes later, in
//! order at the end.

use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nearside::dev::{Client, Standalone};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

use crate::support::daemon::{Daemon, run_to_end};
use crate::support::servers::{eventually, sandbox};

const LIMIT: Duration = Duration::from_secs(10);

/// Kills what it holds when a test fails before it ended it.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        let _ = sandbox().ended(self.0.id());
    }
}

#[test]
fn systemd_hears_that_it_is_ready_and_that_it_stops() {
    let directory = sandbox().make_directory().unwrap();
    let (notify, listen) = (directory.join("notify"), directory.join("nearside.sock"));
    let heard = UnixDatagram::bind(&notify).unwrap();
    heard.set_read_timeout(Some(LIMIT)).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_nearside"))
        .args(["serve", "--listen", "127.0.0.1:0", "--upstream", "redis://127.0.0.1:1", "--unix"])
        .arg(&listen)
        .env("NOTIFY_SOCKET", &notify)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut child = Killed(child);
    sandbox().started(child.0.id()).unwrap();
    assert!(hears(&heard, "READY=1"));
    // Ready means that it can be spoken to, whatever the upstream does.
    let mut client = Client::connect(&listen.to_str().unwrap().parse().unwrap()).unwrap();
    assert_eq!(client.command(&["PING"]).unwrap().text(), "PONG");
    kill_process(Pid::from_child(&child.0), Signal::TERM).unwrap();
    assert!(hears(&heard, "STOPPING=1"));
    assert!(child.0.wait().unwrap().success());
    assert!(!listen.exists(), "the path of the socket is still there");
}

fn hears(socket: &UnixDatagram, wanted: &str) -> bool {
    let mut message = [0; 256];
    std::iter::from_fn(|| socket.recv(&mut message).ok().map(|count| message[..count].to_vec()))
        .any(|message| String::from_utf8_lossy(&message).lines().any(|line| line == wanted))
}

#[test]
fn an_upstream_that_comes_later_is_found() {
    let server = Standalone::launch(&[]).unwrap();
    server.server().kill9().unwrap();
    let daemon = Daemon::start(&["--upstream", &format!("redis://{}", server.server().address())]);
    let mut client = daemon.client();
    let begun = Instant::now();
    let refused = client.command(&["SET", "later", "1"]).unwrap();
    assert!(refused.text().starts_with("CLUSTERDOWN nearside: node"), "{refused:?}");
    assert!(refused.text().contains("the command was not executed"), "{refused:?}");
    assert!(begun.elapsed() < Duration::from_secs(5));
    server.server().restart().unwrap();
    eventually("the upstream is found", LIMIT, || client.command(&["SET", "later", "2"]).unwrap().is_ok());
    assert_eq!(client.command(&["GET", "later"]).unwrap().text(), "2");
    daemon.stop();
}

#[test]
fn a_unix_path_is_taken_over_from_the_dead_only() {
    let path = sandbox().make_directory().unwrap().join("nearside.sock");
    let arguments = ["--upstream", "redis://127.0.0.1:1", "--unix", path.to_str().unwrap()];
    let first = Daemon::start(&arguments);
    let ended = run_to_end(&[&["--listen", "127.0.0.1:0"][..], &arguments].concat());
    assert!(!ended.status.success());
    assert!(ended.stderr.contains(path.to_str().unwrap()), "{}", ended.stderr);
    // Dropped is killed: the path stays behind.
    drop(first);
    assert!(path.exists());
    let second = Daemon::start(&arguments);
    let mut client = Client::connect(&path.to_str().unwrap().parse().unwrap()).unwrap();
    assert_eq!(client.command(&["PING"]).unwrap().text(), "PONG");
    second.stop();
}
