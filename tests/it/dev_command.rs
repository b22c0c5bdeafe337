//! `nearside dev` as a user runs it: it shows the main job, serves, and leaves nothing behind.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nearside::dev::Client;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::servers::eventually;

const LIMIT: Duration = Duration::from_secs(20);

/// What it said up to the last line of the demonstration.
struct Shown {
    child: Child,
    text: String,
}

fn start() -> Shown {
    let mut child = Command::new(env!("CARGO_BIN_EXE_nearside"))
        .args(["dev", "--listen", "127.0.0.1:0"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut text = String::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
        text.push_str(&line);
        text.push('\n');
        if line.starts_with("replicas:") {
            break;
        }
    }
    Shown { child, text }
}

impl Shown {
    /// The ports of all servers that it started.
    fn servers(&self) -> Vec<String> {
        let lines =
            self.text.lines().filter(|line| line.starts_with("primaries:") || line.starts_with("replicas:"));
        lines.flat_map(|line| line.split_whitespace().skip(1)).map(str::to_owned).collect()
    }

    fn address(&self) -> String {
        let line = self.text.lines().find(|line| line.starts_with("Try it:")).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let after = |flag: &str| words[words.iter().position(|word| *word == flag).unwrap() + 1];
        format!("{}:{}", after("-h"), after("-p"))
    }

    fn end(mut self, signal: Signal) -> bool {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        let status = self.child.wait().unwrap();
        for server in self.servers() {
            eventually("every server is gone", LIMIT, || std::net::TcpStream::connect(&server).is_err());
        }
        status.success()
    }
}

#[test]
fn it_shows_the_main_job_and_serves_until_interrupted() {
    let shown = start();
    for step in
        ["1. first read", "2. same read again", "3. somebody else writes", "4. invalidation", "5. read again"]
    {
        assert!(shown.text.contains(step), "no {step:?} in:\n{}", shown.text);
    }
    assert_eq!(shown.servers().len(), 6, "{}", shown.text);
    let mut client = Client::connect(&shown.address().parse().unwrap()).unwrap();
    assert!(client.command(&["SET", "dev:key", "1"]).unwrap().is_ok());
    assert_eq!(client.command(&["GET", "dev:key"]).unwrap().text(), "1");
    assert!(shown.end(Signal::INT), "an interrupt is the ordinary end");
}

#[test]
fn a_crash_leaves_no_server_behind() {
    assert!(!start().end(Signal::KILL));
}
