//! The real binary as a process: started as a service manager would, asked over its socket, judged by its
//! log.

use std::env;
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nearside::sandbox::{Address, Cluster, SandboxClient};
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::servers::{eventually, sandbox};

/// A running nearside. Dropping it kills it; [`stop`](Self::stop) is the orderly end.
pub(crate) struct Daemon {
    child: Child,
    address: Address,
    log: Arc<Mutex<Vec<Value>>>,
    log_reader: Option<JoinHandle<()>>,
}

/// How a run ended that was not meant to last.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stderr: String,
}

/// How long the daemon may take to listen, to answer, and to end when it is told to.
const LIMIT: Duration = Duration::from_secs(15);

/// The topology is asked for again and again, and so is who cannot be reached.
pub(crate) const OFTEN: [&str; 6] = [
    "--topology-refresh-interval",
    "50ms",
    "--topology-refresh-gap-min",
    "10ms",
    "--upstream-backoff-max",
    "100ms",
];

// === impl Daemon ===

impl Daemon {
    /// `nearside serve` with these arguments, on a port that the kernel gives; returns once it answers PING.
    pub(crate) fn start(arguments: &[&str]) -> Daemon {
        Daemon::start_in(arguments, &[])
    }

    /// The same, with these variables in its environment.
    pub(crate) fn start_in(arguments: &[&str], environment: &[(&str, &Path)]) -> Daemon {
        let mut command = command();
        command.args(["--listen", "127.0.0.1:0"]).args(arguments).envs(environment.iter().copied());
        Daemon::spawn(command)
    }

    /// The same where no file can be written: the kernel says so as it says that a disk is full.
    pub(crate) fn start_without_disk(arguments: &[&str]) -> Daemon {
        Daemon::start_after("trap '' XFSZ; ulimit -f 0", arguments)
    }

    /// The same where this file is `/etc/hosts`.
    pub(crate) fn start_with_hosts(hosts: &Path, arguments: &[&str]) -> Daemon {
        let mount = format!("mount --bind {} /etc/hosts", hosts.display());
        let inside = r#"; exec "$0" "$@"' "$0" "$@""#;
        Daemon::start_after(
            &format!("exec unshare --user --map-root-user --mount sh -c '{mount}{inside}"),
            arguments,
        )
    }

    /// The same from a shell that has carried out `preparation`.
    pub(crate) fn start_after(preparation: &str, arguments: &[&str]) -> Daemon {
        let script = format!(r#"{preparation}; exec "$0" "$@""#);
        let mut command = Command::new("sh");
        command.arg("-c").arg(&script).arg(program()).args(["serve", "--log-format", "json"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.args(["--listen", "127.0.0.1:0"]).args(arguments);
        Daemon::spawn(command)
    }

    fn spawn(mut command: Command) -> Daemon {
        let mut child = command.spawn().unwrap();
        sandbox().started(child.id()).unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (tell_address, told_address) = mpsc::sync_channel(8);
        let stderr = child.stderr.take().unwrap();
        let log_reader = Some(thread::spawn({
            let log = Arc::clone(&log);
            move || read_log(stderr, &log, &tell_address)
        }));
        let Ok(address) = told_address.recv_timeout(4 * LIMIT) else {
            let _ = child.kill();
            panic!("nearside did not listen; its log: {:#?}", log.lock());
        };
        let daemon = Daemon { child, address, log, log_reader };
        eventually("nearside answers PING", LIMIT, || {
            SandboxClient::connect(&daemon.address)
                .and_then(|mut client| client.command(&["PING"]))
                .is_ok_and(|pong| pong.text() == "PONG" || pong.text().starts_with("NOAUTH"))
        });
        daemon
    }

    /// One in front of `cluster`, with everything else as it comes.
    pub(crate) fn before(cluster: &Cluster) -> Daemon {
        Daemon::start(&["--upstream", &upstream_url(cluster)])
    }

    /// Where it listens: the first address that it logged.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// The process.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// A new client that speaks RESP2.
    pub(crate) fn client(&self) -> SandboxClient {
        SandboxClient::connect(&self.address).unwrap()
    }

    /// A number from INFO's section Nearside.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        self.counter_by(&mut self.client(), name)
    }

    /// The same, asked by a client that is there already.
    pub(crate) fn counter_by(&self, client: &mut SandboxClient, name: &str) -> u64 {
        let info = client.command(&["INFO", "nearside"]).unwrap().text();
        let digits = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        digits.unwrap_or_else(|| panic!("no {name} in {info}")).trim().parse().unwrap()
    }

    /// The nodes of the upstream and their coherence states, as INFO tells them.
    pub(crate) fn nodes(&self) -> Vec<(String, String)> {
        let info = self.client().command(&["INFO", "nearside"]).unwrap().text();
        let lines = info.lines().filter(|line| line.starts_with("node"));
        let states = lines.filter_map(|line| line.split_once("address=")?.1.split_once(",state="));
        let state = |rest: &str| rest.split_once(',').map_or(rest, |(state, _)| state).to_owned();
        states.map(|(address, rest)| (address.to_owned(), state(rest))).collect()
    }

    /// Waits until reads from so many nodes are tracked, and so kept.
    pub(crate) fn until_tracked(&self, nodes: usize) {
        eventually("all nodes are tracked", LIMIT, || {
            let states = self.nodes();
            states.len() == nodes && states.iter().all(|(_, state)| state == "tracked")
        });
    }

    /// Whether a line of the log has this message.
    pub(crate) fn has_logged(&self, message: &str) -> bool {
        let log = self.log.lock();
        log.iter().any(|line| line.get("fields").unwrap_or(line)["message"] == message)
    }

    /// All of the log.
    pub(crate) fn log_text(&self) -> String {
        format!("{:?}", self.log.lock())
    }

    /// The most memory that it ever held, as the kernel writes it: `12345 kB`.
    pub(crate) fn peak_memory(&self) -> String {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim().to_owned()
    }

    /// Fails if the log has a line that asks an operator to act.
    pub(crate) fn assert_quiet(&self) {
        self.assert_quiet_but(&[]);
    }

    /// The same, but for lines whose messages begin like one of these.
    pub(crate) fn assert_quiet_but(&self, expected: &[&str]) {
        let log = self.log.lock();
        let is_expected = |line: &Value| {
            let message = line["message"].as_str().unwrap_or_default();
            expected.iter().any(|beginning| message.starts_with(beginning))
        };
        let is_loud = |line: &&Value| line["level"] == "WARN" || line["level"] == "ERROR";
        let loud: Vec<&Value> = log.iter().filter(is_loud).filter(|line| !is_expected(line)).collect();
        assert!(loud.is_empty(), "unexpected in the log: {loud:#?}");
    }

    /// Fails unless the log has a line of this level whose message begins so, or soon has: it is written by a
    /// thread of its own.
    pub(crate) fn assert_logged(&self, level: &str, message: &str) {
        let is_it = |line: &Value| {
            line["level"] == level && line["message"].as_str().is_some_and(|text| text.starts_with(message))
        };
        eventually(&format!("{level} {message:?} is in the log"), LIMIT, || {
            self.log.lock().iter().any(is_it)
        });
    }

    /// Has it read its configuration again, as a service manager does.
    pub(crate) fn reload(&self) {
        kill_process(Pid::from_child(&self.child), Signal::HUP).unwrap();
    }

    /// How many lines of the log have a message that begins so.
    pub(crate) fn times_logged(&self, message: &str) -> usize {
        let log = self.log.lock();
        let is_it = |line: &&Value| line["message"].as_str().is_some_and(|text| text.starts_with(message));
        log.iter().filter(is_it).count()
    }

    /// Fails unless the log has so many lines whose message begins so, or soon has, and no more.
    pub(crate) fn assert_times_logged(&self, message: &str, times: usize) {
        eventually(message, LIMIT, || self.times_logged(message) >= times);
        assert_eq!(self.times_logged(message), times, "{message}");
    }

    /// What the last line of the log whose message begins so says of `field`. Waits for the line.
    pub(crate) fn logged_field(&self, message: &str, field: &str) -> String {
        let mut value = None;
        eventually(&format!("{message:?} with {field} is in the log"), LIMIT, || {
            let log = self.log.lock();
            let fields = log.iter().rev().map(|line| line.get("fields").unwrap_or(line));
            let mut found = fields
                .filter(|fields| fields["message"].as_str().is_some_and(|text| text.starts_with(message)));
            value = found.next().and_then(|fields| fields[field].as_str()).map(str::to_owned);
            value.is_some()
        });
        value.unwrap()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Ends it as a service manager does, and insists on a clean exit.
    pub(crate) fn stop(self) {
        self.signal(Signal::TERM);
        self.until_ended();
    }

    /// Waits until it has ended, as it was told to, and insists on a clean exit.
    pub(crate) fn until_ended(mut self) {
        let mut status = None;
        eventually("nearside ends", LIMIT, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert!(status.unwrap().success(), "{status:?}; its log: {:#?}", self.log.lock());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = sandbox().ended(self.child.id());
        if let Some(reader) = self.log_reader.take() {
            let _ = reader.join();
        }
        if thread::panicking() {
            println!("the log of nearside: {:#?}", self.log.lock());
        }
    }
}

/// The URL of `cluster` as an upstream.
pub(crate) fn upstream_url(cluster: &Cluster) -> String {
    format!("redis-cluster://{}", cluster.addresses())
}

/// Runs `nearside serve` with arguments that must make it give up, and returns how it did.
pub(crate) fn run_to_end(arguments: &[&str]) -> Ended {
    let mut child = command().args(arguments).spawn().unwrap();
    sandbox().started(child.id()).unwrap();
    let mut status = None;
    eventually("nearside gives up", LIMIT, || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    sandbox().ended(child.id()).unwrap();
    Ended { status: status.unwrap(), stderr: std::io::read_to_string(child.stderr.take().unwrap()).unwrap() }
}

/// The daemon's binary: the one that was built for the tests, unless NEARSIDE_TEST_DAEMON names another, as
/// `make musl` does.
fn program() -> OsString {
    env::var_os("NEARSIDE_TEST_DAEMON").unwrap_or_else(|| env!("CARGO_BIN_EXE_nearside").into())
}

fn command() -> Command {
    let mut command = Command::new(program());
    command.args(["serve", "--log-format", "json"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// Keeps every line; a line that is not JSON (a panic) is kept as an error, so that it cannot hide.
fn read_log(from: ChildStderr, log: &Mutex<Vec<Value>>, tell_address: &mpsc::SyncSender<Address>) {
    for line in BufReader::new(from).lines().map_while(Result::ok) {
        let event: Value = serde_json::from_str(&line)
            .unwrap_or_else(|_| serde_json::json!({ "level": "ERROR", "line": line }));
        let fields = event.get("fields").unwrap_or(&event);
        if fields["message"] == "listening"
            && let Some(address) = fields["address"].as_str()
        {
            let Ok(address) = address.parse();
            // The first one is what counts; nobody listens for the others.
            let _ = tell_address.try_send(address);
        }
        log.lock().push(event);
    }
}
