//! The measured servers: each a process of its own on loopback with its files in one temporary directory,
//! started here and ended here, whatever happens in between.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::address::{Address, Transport};
use crate::control::Control;
use crate::workload::Replies;

const START_POLL: Duration = Duration::from_millis(20);
const START_POLLS_MAX: usize = 500;

/// What is compared. The order is the order of the table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Redis,
    Nearside,
    FixedReply,
}

pub(crate) struct Server {
    pub(crate) kind: Kind,
    process: Process,
    tcp: SocketAddr,
    unix: Address,
}

/// Ended when dropped, so a panic or an early return leaves nothing behind.
struct Process(Child);

// === impl Kind ===

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Redis => "redis-server",
            Kind::Nearside => "nearside",
            Kind::FixedReply => "fixed reply",
        }
    }

    pub(crate) fn replies(self) -> Replies {
        match self {
            Kind::Redis | Kind::Nearside => Replies::OfTheKey,
            Kind::FixedReply => Replies::Fixed,
        }
    }
}

// === impl Server ===

impl Server {
    /// `redis-server` from the PATH, keeping nothing on disk.
    pub(crate) fn start_redis(directory: &Path) -> io::Result<Server> {
        let unix_path = directory.join("redis.sock");
        let tcp = free_address()?;
        let mut command = Command::new("redis-server");
        command
            .args(["--bind", "127.0.0.1", "--port", &tcp.port().to_string()])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .arg("--unixsocket")
            .arg(&unix_path)
            .arg("--dir")
            .arg(directory)
            .stdout(Stdio::null());
        let mut server = Server {
            kind: Kind::Redis,
            process: Process::start(&mut command)?,
            tcp,
            unix: Address::Unix(unix_path),
        };
        server.process.wait_for(|| Control::connect(&Address::Tcp(tcp)).and_then(|c| c.ping()).ok())?;
        Ok(server)
    }

    /// The nearside binary of this build, as a user would start it, in front of `upstream`.
    pub(crate) fn start_nearside(directory: &Path, upstream: SocketAddr) -> io::Result<Server> {
        let unix_path = directory.join("nearside.sock");
        let log_path = directory.join("nearside.log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_nearside"));
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json", "--unix"])
            .arg(&unix_path)
            // Nothing is to go for room or because of its age while it is measured.
            .args(["--l1-size", "2gib", "--l1-ttl", "1h"])
            .args(["--upstream", &format!("redis://{upstream}")])
            .stderr(File::create(&log_path)?);
        let mut process = Process::start(&mut command)?;
        let tcp = process
            .wait_for(|| {
                let log = fs::read_to_string(&log_path).ok()?;
                unix_path.exists().then(|| log.lines().find_map(listening_address)).flatten()
            })
            .map_err(|error| {
                let log = fs::read_to_string(&log_path).unwrap_or_default();
                io::Error::other(format!("{error}; its log: {}", log.trim_end()))
            })?;
        Ok(Server { kind: Kind::Nearside, process, tcp, unix: Address::Unix(unix_path) })
    }

    /// This bench again, as the fixed-reply server.
    pub(crate) fn start_fixed_reply(directory: &Path) -> io::Result<Server> {
        let unix_path = directory.join("fixed_reply.sock");
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(crate::FIXED_REPLY_ARGUMENT).arg(&unix_path).stdout(Stdio::piped());
        let mut process = Process::start(&mut command)?;
        let stdout = process.0.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut said = String::new();
        BufReader::new(stdout).read_line(&mut said)?;
        let tcp = said.trim().parse().map_err(io::Error::other)?;
        Ok(Server { kind: Kind::FixedReply, process, tcp, unix: Address::Unix(unix_path) })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.0.id()
    }

    pub(crate) fn tcp(&self) -> SocketAddr {
        self.tcp
    }

    pub(crate) fn address(&self, transport: Transport) -> Address {
        match transport {
            Transport::Tcp => Address::Tcp(self.tcp),
            Transport::Unix => self.unix.clone(),
        }
    }

    /// How many lookups L1 has answered, from a server that has an L1.
    pub(crate) fn l1_hits(&self) -> io::Result<Option<u64>> {
        if self.kind != Kind::Nearside {
            return Ok(None);
        }
        let hits = Control::connect(&self.address(Transport::Tcp))?.info("nearside", "l1_hits")?;
        hits.parse().map(Some).map_err(io::Error::other)
    }
}

/// The TCP address in a JSON log line that says that nearside listens. A Unix path does not parse as one.
fn listening_address(line: &str) -> Option<SocketAddr> {
    line.contains(r#""message":"listening""#).then_some(())?;
    let (_, rest) = line.split_once(r#""address":""#)?;
    rest.split_once('"')?.0.parse().ok()
}

/// redis-server takes no port 0, so a free port is found by opening and closing it.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

// === impl Process ===

impl Process {
    fn start(command: &mut Command) -> io::Result<Process> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.stdin(Stdio::null()).spawn();
        child.map(Process).map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))
    }

    /// Waits until `ready` gives something, as long as the process runs.
    fn wait_for<T>(&mut self, ready: impl Fn() -> Option<T>) -> io::Result<T> {
        for _ in 0..START_POLLS_MAX {
            if let Some(found) = ready() {
                return Ok(found);
            }
            if let Some(status) = self.0.try_wait()? {
                return Err(io::Error::other(format!("ended at the start with {status}")));
            }
            thread::sleep(START_POLL);
        }
        Err(io::ErrorKind::TimedOut.into())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Neither can fail in a way that something could be done about: the process is ours and not yet
        // waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
