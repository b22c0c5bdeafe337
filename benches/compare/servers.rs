//! The measured servers: each a process of its own on loopback, on the CPUs that are for it, ended when
//! dropped.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nearside::sandbox::directory::Sandbox;
use nearside::sandbox::{Address, SandboxClient};
use serde::Serialize;
use tokio::time::Instant;

use crate::ground::Ground;
use crate::launch;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Kind {
    Redis,
    Valkey,
    Nearside,
    /// nearside with two workers.
    TwoWorkers,
    FixedReply,
    Envoy,
    Twemproxy,
}

pub(crate) struct Server {
    pub(crate) kind: Kind,
    child: Child,
    sandbox: Arc<Sandbox>,
    directory: PathBuf,
    address: SocketAddr,
}

/// How long a server may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(20);
const START_POLL: Duration = Duration::from_millis(20);
/// A port that was free may be taken by somebody else before the server does.
const STARTS_MAX: usize = 3;

// === impl Kind ===

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Redis => "redis-server",
            Kind::Valkey => "Valkey",
            Kind::Nearside => "nearside",
            Kind::TwoWorkers => "nearside, two workers",
            Kind::FixedReply => "fixed reply",
            Kind::Envoy => "Envoy",
            Kind::Twemproxy => "twemproxy",
        }
    }

    /// Whether it stands in front of the server that has the keys.
    pub(crate) fn has_upstream(self) -> bool {
        matches!(self, Kind::Nearside | Kind::TwoWorkers | Kind::Envoy | Kind::Twemproxy)
    }

    pub(crate) fn is_nearside(self) -> bool {
        matches!(self, Kind::Nearside | Kind::TwoWorkers)
    }
}

// === impl Server ===

impl Server {
    /// Starts a server on these CPUs, and waits until it answers a GET: `origin` is behind those that have an
    /// upstream, `flags` are for nearside.
    pub(crate) fn start(
        ground: &Ground,
        kind: Kind,
        cpus: &str,
        origin: Option<&Server>,
        flags: &[&str],
    ) -> Server {
        for _ in 0..STARTS_MAX {
            let mut server = Server::launch(ground, kind, cpus, origin, flags);
            if server.wait_until_ready() {
                return server;
            }
            println!("{} ended at its start, once more: {}", kind.name(), server.log());
        }
        panic!("{} does not start", kind.name());
    }

    /// Starts a server and does not wait.
    pub(crate) fn launch(
        ground: &Ground,
        kind: Kind,
        cpus: &str,
        origin: Option<&Server>,
        flags: &[&str],
    ) -> Server {
        let directory = ground.sandbox.make_directory().unwrap();
        let address = launch::free_address();
        let origin = origin.map(Server::address);
        let mut command = launch::command(ground, kind, cpus, &directory, address, origin, flags);
        let log = fs::File::create(directory.join("log")).unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log).current_dir(&directory);
        let child = command.spawn().unwrap();
        ground.sandbox.started(child.id()).unwrap();
        Server { kind, child, sandbox: Arc::clone(&ground.sandbox), directory, address }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The path of its Unix socket, if it has one.
    pub(crate) fn unix(&self) -> PathBuf {
        launch::unix(&self.directory)
    }

    pub(crate) fn connect(&self) -> SandboxClient {
        SandboxClient::connect(&Address::Tcp(self.address)).unwrap()
    }

    /// A number in INFO of nearside.
    pub(crate) fn counter(&self, name: &str) -> f64 {
        let info = self.connect().command(&["INFO", "nearside"]).unwrap().text();
        let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.unwrap_or_else(|| panic!("INFO nearside has no {name}: {info}")).trim().parse().unwrap()
    }

    /// False when it has ended instead.
    fn wait_until_ready(&mut self) -> bool {
        let began = Instant::now();
        loop {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            if let Some(address) = launch::said_address(self.kind, &self.directory) {
                self.address = address;
            }
            if self.answers() {
                return true;
            }
            assert!(began.elapsed() < START_LIMIT, "{} does not answer: {}", self.kind.name(), self.log());
            thread::sleep(START_POLL);
        }
    }

    /// Whether a GET is answered, and nearside keeps what it reads.
    pub(crate) fn answers(&self) -> bool {
        let reply = SandboxClient::connect(&Address::Tcp(self.address))
            .and_then(|mut client| Ok((client.command(&["GET", "nobody"])?, client)));
        let Ok((reply, mut client)) = reply else { return false };
        if reply.is_error() {
            return false;
        }
        !self.kind.is_nearside()
            || client.command(&["INFO", "nearside"]).is_ok_and(|info| info.text().contains("state=tracked"))
    }

    fn log(&self) -> String {
        read_log(&self.directory)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // What fails here is left to the sandbox, which ends what it was told of.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = self.sandbox.ended(self.child.id());
    }
}

pub(crate) fn read_log(directory: &Path) -> String {
    fs::read_to_string(directory.join("log")).unwrap_or_default()
}
