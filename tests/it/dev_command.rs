//! `nearside dev` as a process: it shows the main job, can be talked to, and leaves nothing however it ends.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nearside::sandbox::{Address, SandboxClient};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::support::servers::{eventually, sandbox};

/// How long the cluster may take to form, and everything to end.
const SHOW_LIMIT: Duration = Duration::from_secs(60);
const END_LIMIT: Duration = Duration::from_secs(15);

/// A running `nearside dev` that has shown everything, with a temporary directory of its own.
struct Demonstration {
    child: Child,
    temporary: TempDir,
    text: String,
    nearside: SocketAddr,
    nodes: Vec<SocketAddr>,
}

// === impl Demonstration ===

impl Demonstration {
    fn start() -> Demonstration {
        Demonstration::with(&[])
    }

    fn with(flags: &[&str]) -> Demonstration {
        let temporary = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_nearside"))
            .args(["dev", "--listen", "127.0.0.1:0"])
            .args(flags)
            .env("TMPDIR", temporary.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        sandbox().started(child.id()).unwrap();
        let text = read_until_shown(child.stdout.take().unwrap());
        let port = text.lines().find_map(|line| line.split_once("-p ")?.1.split(' ').next()?.parse().ok());
        let nearside = SocketAddr::from(([127, 0, 0, 1], port.unwrap()));
        let nodes = addresses(&text, "primaries:").chain(addresses(&text, "replicas:")).collect();
        Demonstration { child, temporary, text, nearside, nodes }
    }

    /// Ends it by `signal`, and insists that nothing is left.
    fn end(mut self, signal: Signal) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        let mut status = None;
        eventually("the demonstration ends", END_LIMIT, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        sandbox().ended(self.child.id()).unwrap();
        eventually("all servers are gone", END_LIMIT, || {
            self.nodes.iter().chain([&self.nearside]).all(|address| TcpStream::connect(address).is_err())
        });
        eventually("the temporary directory is empty", END_LIMIT, || is_empty(self.temporary.path()));
        status.unwrap()
    }
}

/// Everything up to the last line of the demonstration.
fn read_until_shown(stdout: impl Read + Send + 'static) -> String {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let mut text = String::new();
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            text.push_str(&line);
            text.push('\n');
            if line.starts_with("replicas:") {
                break;
            }
        }
        tell.send(text)
    });
    told.recv_timeout(SHOW_LIMIT).unwrap()
}

fn addresses<'a>(text: &'a str, role: &str) -> impl Iterator<Item = SocketAddr> + use<'a> {
    let line = text.lines().find_map(|line| line.strip_prefix(role)).unwrap_or_default();
    line.split_whitespace().map(|address| address.parse().unwrap())
}

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).unwrap().next().is_none()
}

#[test]
fn it_shows_the_steps_and_can_be_talked_to_and_ends_cleanly() {
    let shown = Demonstration::start();
    let steps = [
        "1. first read",
        "2. same read again",
        "3. somebody else writes",
        "4. invalidation",
        "5. read again",
    ];
    let mut rest = &shown.text[..];
    for step in steps {
        rest = rest.split_once(step).unwrap_or_else(|| panic!("no {step:?} in order in:\n{}", shown.text)).1;
    }
    assert!(rest.contains("redis-cli -h 127.0.0.1 -p"), "{}", shown.text);
    assert_eq!(shown.nodes.len(), 6, "{}", shown.text);
    assert!(!is_empty(shown.temporary.path()));

    let mut client = SandboxClient::connect(&Address::Tcp(shown.nearside)).unwrap();
    for number in 0..20 {
        let (key, value) = (format!("key:{number}"), number.to_string());
        assert!(client.command(&["SET", &key, &value]).unwrap().is_ok());
        assert_eq!(client.command(&["GET", &key]).unwrap().text(), value);
    }
    let status = shown.end(Signal::INT);
    assert!(status.success(), "{status:?}");
}

#[test]
fn killed_it_leaves_nothing() {
    Demonstration::start().end(Signal::KILL);
}

#[test]
fn it_shows_a_pinned_namespace() {
    let shown = Demonstration::with(&["--namespace", "app", "--pin"]);
    assert!(shown.text.contains("Its name there is {app}:nearside:greeting"), "{}", shown.text);
    let mut client = SandboxClient::connect(&Address::Tcp(shown.nearside)).unwrap();
    assert!(client.command(&["MSETNX", "a", "1", "b", "2"]).unwrap().integer() == Some(1));
    assert!(client.command(&["RENAME", "a", "b"]).unwrap().is_ok(), "the keys lie in one slot");
    assert!(shown.end(Signal::TERM).success());
}
