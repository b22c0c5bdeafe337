//! The log is for whoever reads it: where nobody can or does, nothing else suffers.

use std::fs::{self, File};
use std::io::{PipeReader, Read, Write, pipe};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nearside::sandbox::{Address, SandboxClient, Standalone};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::scripted::ScriptedNode;
use crate::support::servers::{eventually, sandbox};

const SOON: Duration = Duration::from_secs(10);

/// More than any pipe holds.
const MORE_THAN_A_PIPE: usize = 2 << 20;

/// A nearside whose log goes where the test says, and which is reached over a Unix socket: its log does not
/// tell where.
struct Unheard {
    child: Child,
    path: PathBuf,
}

// === impl Unheard ===

impl Unheard {
    fn start(upstream: &Standalone, log: Stdio, more: &[&str]) -> Unheard {
        Unheard::before(upstream.server().address(), log, more)
    }

    fn before(upstream: SocketAddr, log: Stdio, more: &[&str]) -> Unheard {
        let path = sandbox().make_directory().unwrap().join("sock");
        let mut command = Command::new(env!("CARGO_BIN_EXE_nearside"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--unix", path.to_str().unwrap()]);
        command.args(["--upstream", &format!("redis://{upstream}")]).args(more);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        sandbox().started(child.id()).unwrap();
        let daemon = Unheard { child, path };
        eventually("it listens", SOON, || daemon.connect().is_some());
        daemon
    }

    fn connect(&self) -> Option<SandboxClient> {
        let mut client = SandboxClient::connect(&Address::Unix(self.path.clone())).ok()?;
        client.set_timeout(SOON).unwrap();
        client.command(&["PING"]).is_ok_and(|pong| pong.text() == "PONG").then_some(client)
    }

    fn client(&self) -> SandboxClient {
        self.connect().unwrap()
    }

    fn dropped(&self) -> u64 {
        let info = self.client().command(&["INFO", "nearside"]).unwrap().text();
        let count = info.lines().find_map(|line| line.strip_prefix("log_dropped:"));
        count.unwrap_or_else(|| panic!("no log_dropped in {info}")).trim().parse().unwrap()
    }

    fn stop(mut self) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let mut status = None;
        eventually("it ends on SIGTERM", SOON, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Unheard {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = sandbox().ended(self.child.id());
    }
}

/// A pipe that is full and that nobody reads as long as the reader is kept.
fn full_pipe() -> (PipeReader, Stdio) {
    let (reader, writer) = pipe().unwrap();
    let mut filler = writer.try_clone().unwrap();
    // Ends when the reader goes.
    thread::spawn(move || filler.write_all(&vec![b'.'; MORE_THAN_A_PIPE]));
    (reader, writer.into())
}

/// The daemon in front of a server that is restarted, which is told in the log by every part.
fn goes_on(log: Stdio) -> Unheard {
    let upstream = Standalone::launch(&[]).unwrap();
    let daemon = Unheard::start(&upstream, log, &["--log-level", "debug"]);
    for _ in 0..2 {
        let mut client = daemon.client();
        eventually("writes succeed", SOON, || client.command(&["SET", "key", "1"]).unwrap().is_ok());
        assert_eq!(client.command(&["GET", "key"]).unwrap().text(), "1");
        upstream.server().kill9().unwrap();
        upstream.server().restart().unwrap();
        eventually("reads succeed", SOON, || !client.command(&["GET", "key"]).unwrap().is_error());
    }
    daemon
}

#[test]
fn a_log_that_takes_nothing_is_counted_and_ends_nothing() {
    let daemon = goes_on(File::options().write(true).open("/dev/full").unwrap().into());
    assert!(daemon.dropped() > 0);
    let status = daemon.stop();
    assert!(status.success(), "{status:?}");
}

#[test]
fn a_log_whose_reader_has_gone_is_counted_and_ends_nothing() {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let daemon = goes_on(writer.into());
    assert!(daemon.dropped() > 0);
    let status = daemon.stop();
    assert!(status.success(), "{status:?}");
}

#[test]
fn a_log_that_nobody_reads_holds_nobody_up() {
    let (_reader, full) = full_pipe();
    let status = goes_on(full).stop();
    assert!(status.success(), "{status:?}");
}

#[test]
fn faults_that_nobody_can_be_told_have_their_exit_code() {
    for (arguments, code) in [
        (&["serve", "--workers", "0"][..], 2),
        (&["serve", "--upstream", "redis://h", "--listen", "192.0.2.1:1"][..], 1),
    ] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let status = Command::new(env!("CARGO_BIN_EXE_nearside"))
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(full)
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(code), "{arguments:?}");
    }
}

#[test]
fn log_queue_max() {
    let upstream = Standalone::launch(&[]).unwrap();
    let (mut reader, full) = full_pipe();
    let daemon = Unheard::start(&upstream, full, &["--log-queue-max", "8"]);
    let mut client = daemon.client();
    for _ in 0..30 {
        // Each is logged.
        assert!(client.command(&["CONFIG", "SET", "maxclients", "100"]).unwrap().is_ok());
    }
    // Eight are queued, and one is being written.
    assert!(daemon.dropped() >= 30 - 9, "{}", daemon.dropped());
    let (tell, told) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let (mut text, mut read) = (Vec::new(), [0; 4096]);
        while let Ok(length @ 1..) = reader.read(&mut read) {
            text.extend(&read[..length]);
            if String::from_utf8_lossy(&text).contains("lines of the log were dropped") {
                let _ = tell.send(());
                break;
            }
        }
        // What follows has a reader as well.
        while let Ok(1..) = reader.read(&mut read) {}
    });
    told.recv_timeout(SOON).expect("who reads again is told that something is missing");
    assert!(daemon.stop().success());
}

/// What a terminal would take for a title, a colour and a bell.
const CONTROL: [&str; 3] = ["\x1b]0;", "\x1b[31m", "\x07"];

/// What looks like a line of a log.
const FORGED: &str = "2026-01-01T00:00:00Z ERROR nearside: forged";

fn log_file() -> (PathBuf, Stdio) {
    let path = sandbox().make_directory().unwrap().join("log");
    let file = File::create(&path).unwrap();
    (path, file.into())
}

fn assert_unforged(path: &Path) {
    let log = fs::read_to_string(path).unwrap();
    assert!(!log.lines().any(|line| line.starts_with(FORGED)), "{log}");
    for control in CONTROL {
        assert!(!log.contains(control), "{control:?} is in {log:?}");
    }
}

#[test]
fn nothing_that_a_client_says_forges_a_line_of_the_log() {
    let upstream = Standalone::launch(&[]).unwrap();
    let (path, log) = log_file();
    let daemon = Unheard::start(&upstream, log, &["--log-level", "trace", "--shadow-verify", "1"]);
    let evil = format!("x\r\n{FORGED}{}", CONTROL.concat());
    let requests: [&[&str]; 9] = [
        &["GET", &evil],
        &["SET", &evil, &evil],
        &[&evil, "a"],
        &["HELLO", "3", "SETNAME", &evil],
        &["HELLO", "3", "AUTH", &evil, &evil],
        &["EVAL", &evil, "0"],
        &["CONFIG", "SET", &evil, &evil],
        &["SUBSCRIBE", &evil],
        &["NEARSIDE", "FLUSH", &evil],
    ];
    for request in requests {
        daemon.client().command(request).unwrap();
    }
    daemon.client().command(&["GET", &evil]).unwrap();
    daemon.client().send_raw(format!("{evil}\r\n").as_bytes()).unwrap();
    assert!(daemon.stop().success());
    assert_unforged(&path);
}

#[test]
fn nothing_that_a_server_says_forges_a_line_of_the_log() {
    let evil = format!("-ERR evil {FORGED}{}\r\n", CONTROL.concat());
    let node = ScriptedNode::start("a", move |request, stream| {
        let is_greeting = request[0] == "HELLO";
        if is_greeting {
            stream.write_all(evil.as_bytes())?;
        }
        Ok(is_greeting)
    });
    let (path, log) = log_file();
    let daemon = Unheard::before(node.address(), log, &["--log-level", "trace"]);
    assert!(daemon.client().command(&["GET", "key"]).unwrap().text().contains("ERR evil"));
    assert!(daemon.stop().success());
    assert!(fs::read_to_string(&path).unwrap().contains("ERR evil"));
    assert_unforged(&path);
}
