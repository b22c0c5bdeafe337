//! A worker of the daemon on the calling thread, a real server behind it, and clients over pairs of sockets:
//! all that a hit, a miss or a write goes through, without a listener and without a network.

use std::cell::Cell;
use std::ffi::OsString;
use std::future::pending;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nearside::config::{Config, Sources};
use nearside::daemon::shared::Shared;
use nearside::daemon::worker;
use nearside::net::listener::{ClientSocket, Permit};
use nearside::node::NodeId;
use nearside::sandbox::{Address, SandboxClient, Standalone};
use nearside::stats::Stats;
use nearside::upstream::topology::SlotMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::mpsc;

/// As in the daemon: `TURNS_PER_LOOK` of `daemon/worker.rs`.
const TURNS_PER_LOOK: u32 = 8;

/// What comes with time and not with operations stays out of the figures: no heartbeat, and nothing expires.
/// For the same reason the topology is asked for once.
const SETTINGS: [(&str, &str); 4] = [
    ("NEARSIDE_L1_SIZE", "256mb"),
    ("NEARSIDE_L1_TTL", "1h"),
    ("NEARSIDE_HEARTBEAT_INTERVAL", "9m"),
    ("NEARSIDE_LEASE", "10m"),
];

/// The worker. It works while [`Rig::runtime`] is in `block_on`.
pub(crate) struct Rig {
    pub(crate) runtime: LocalRuntime,
    /// What it counts.
    pub(crate) stats: Stats,
    pub(crate) house: Arc<Shared>,
    door: mpsc::UnboundedSender<(ClientSocket, Permit)>,
    server: Standalone,
}

// === impl Rig ===

impl Rig {
    /// Starts both. `way` is told where the server is and says where the way to it begins; all clients are in
    /// `namespace`, if there is one. All rigs have the same hashes.
    pub(crate) fn start(way: impl FnOnce(&Path) -> PathBuf, namespace: Option<&str>) -> Rig {
        // All chance of the daemon is drawn from here.
        fastrand::seed(1);
        let server = Standalone::launch(&[]).unwrap();
        let path = way(server.unix_socket()).display().to_string();
        let upstream = ("NEARSIDE_UPSTREAM", &*format!("redis+unix://{path}"));
        let namespace = namespace.map(|name| ("NEARSIDE_NAMESPACE", name));
        let environment = SETTINGS.into_iter().chain([upstream]).chain(namespace);
        let environment = environment.map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let sources = Sources { environment: environment.collect(), ..Sources::default() };
        let config = Config::load(&sources).unwrap_or_else(|faults| panic!("{faults:?}"));

        let mut builder = Builder::new_current_thread();
        builder.enable_all().event_interval(TURNS_PER_LOOK);
        let runtime = builder.build_local(LocalOptions::default()).unwrap();
        let house = Arc::new(Shared::new(&config, &[]));
        #[expect(clippy::disallowed_methods, reason = "the permits bound it, as in the daemon")]
        let (door, handed_over) = mpsc::unbounded_channel();
        let (worker, topology) = (house.clone(), house.clone());
        runtime.spawn_local(worker::work(worker, 0, handed_over));
        let owner = NodeId::new(path);
        runtime.spawn_local(async move {
            let answered = Cell::new(false);
            let ask = async || match answered.replace(true) {
                false => Ok(SlotMap::of_one(owner.clone())),
                true => pending().await,
            };
            topology.keep_topology_by(ask).await;
        });
        let rig = Rig { runtime, stats: house.stats.clone(), house, door, server };
        rig.settle();
        rig
    }

    /// Waits until the upstream connection is tracked, so that replies are kept.
    fn settle(&self) {
        let client = self.connect();
        client.set_nonblocking(true).unwrap();
        self.runtime.block_on(async {
            let mut client = tokio::net::UnixStream::from_std(client).unwrap();
            while self.stats.total("l1_fills") == 0 {
                client.write_all(b"*2\r\n$3\r\nGET\r\n$1\r\n-\r\n").await.unwrap();
                client.read_exact(&mut [0; 5]).await.unwrap();
            }
        });
    }

    /// A new client's end of its connection; it blocks.
    pub(crate) fn connect(&self) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        let permit = self.house.admission.admit().unwrap();
        self.door.send((ClientSocket { stream: theirs.into(), address: None }, permit)).unwrap();
        ours
    }

    /// Has the server itself carry out these commands.
    pub(crate) fn prepare(&self, commands: &[Vec<u8>]) {
        let mut client = SandboxClient::connect(&Address::from(self.server.unix_socket())).unwrap();
        for command in commands {
            client.send_raw(command).unwrap();
            let reply = client.receive_raw().unwrap();
            assert!(!reply.starts_with(b"-"), "{}", reply.escape_ascii());
        }
    }
}
