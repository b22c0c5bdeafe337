//! The measured servers: a redis-server that holds the data itself, and nearside in front of a cluster.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use nearside::sandbox::{Address, Cluster, ClusterShape, SandboxClient, Standalone};
use tempfile::TempDir;

use crate::cpu;

/// One server that clients connect to, and what stands behind it.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    pid: u32,
    behind: Behind,
}

enum Behind {
    Nothing { _server: Standalone },
    Cluster { _daemon: Daemon, cluster: Cluster },
}

/// The nearside binary of this build. Ended when dropped.
struct Daemon {
    child: Child,
    _directory: TempDir,
}

/// Above the number of clients of any part, and the few that look on.
const CLIENTS_MAX: &str = "12000";

/// How often the log of a daemon that starts is looked at.
const START_POLLS_MAX: usize = 500;

/// Both servers, fresh.
pub(crate) fn both() -> [Target; 2] {
    [Target::redis(), Target::nearside()]
}

// === impl Target ===

impl Target {
    pub(crate) fn redis() -> Target {
        let server = Standalone::launch(&["--maxclients".to_owned(), CLIENTS_MAX.to_owned()]).unwrap();
        let (address, pid) = (server.server().address(), server.server().pid());
        Target { name: "redis-server", address, pid, behind: Behind::Nothing { _server: server } }
    }

    pub(crate) fn nearside() -> Target {
        let cluster = Cluster::launch(&ClusterShape { replicas_each: 0, ..ClusterShape::default() }).unwrap();
        let (daemon, address) = Daemon::start(&cluster);
        let pid = daemon.child.id();
        let target =
            Target { name: "nearside", address, pid, behind: Behind::Cluster { _daemon: daemon, cluster } };
        target.control().command(&["PING"]).unwrap();
        target
    }

    /// A blocking conversation with it.
    pub(crate) fn control(&self) -> SandboxClient {
        SandboxClient::connect(&Address::Tcp(self.address)).unwrap()
    }

    /// What its process holds in memory, in bytes.
    pub(crate) fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// The CPU time that it has used.
    pub(crate) fn cpu(&self) -> Duration {
        cpu::used_by(self.pid).unwrap()
    }

    /// The connections to all nodes behind it, if there are any: `CLIENT LIST` of each without the one that
    /// asks.
    pub(crate) fn upstream_connections(&self) -> Option<usize> {
        self.of_nodes(&["CLIENT", "LIST"], |list| list.lines().count() - 1)
    }

    /// The connections that all nodes behind it have accepted so far, without those that ask.
    pub(crate) fn upstream_accepted(&self) -> Option<usize> {
        self.of_nodes(&["INFO", "stats"], |info| {
            let field = info.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
            field.unwrap().trim().parse().unwrap()
        })
    }

    /// How many nodes stand behind it.
    pub(crate) fn nodes(&self) -> usize {
        if let Behind::Cluster { cluster, .. } = &self.behind { cluster.nodes().len() } else { 0 }
    }

    fn of_nodes(&self, question: &[&str], count: impl Fn(&str) -> usize) -> Option<usize> {
        let Behind::Cluster { cluster, .. } = &self.behind else { return None };
        let nodes = cluster.nodes().iter();
        Some(nodes.map(|node| count(&cluster.command(node, question).unwrap().text())).sum())
    }
}

// === impl Daemon ===

impl Daemon {
    fn start(cluster: &Cluster) -> (Daemon, SocketAddr) {
        let directory = tempfile::tempdir().unwrap();
        let log_path = directory.path().join("nearside.log");
        let child = Command::new(env!("CARGO_BIN_EXE_nearside"))
            .args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json", "--max-clients", CLIENTS_MAX])
            .args(["--upstream", &format!("redis-cluster://{}", cluster.addresses())])
            .stdin(Stdio::null())
            .stderr(File::create(&log_path).unwrap())
            .spawn()
            .unwrap();
        let daemon = Daemon { child, _directory: directory };
        for _ in 0..START_POLLS_MAX {
            let log = fs::read_to_string(&log_path).unwrap();
            if let Some(address) = log.lines().find_map(listening_address) {
                return (daemon, address);
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("nearside does not listen: {}", fs::read_to_string(&log_path).unwrap());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Neither can fail in a way that something could be done about: the process is ours and not yet
        // waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address in a JSON log line that says that nearside listens.
fn listening_address(line: &str) -> Option<SocketAddr> {
    line.contains(r#""message":"listening""#).then_some(())?;
    let (_, rest) = line.split_once(r#""address":""#)?;
    rest.split_once('"')?.0.parse().ok()
}
