//! Facts about the daemon, for INFO, HELLO, CONFIG and CLIENT.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::cache::SharedCache;
use crate::clients::tracker::Tracker;
use crate::clock::Nanos;
use crate::memory::MemoryCeiling;
use crate::pubsub::Hub;
use crate::router::coherence::canary::Canary;
use crate::stats::Stats;
use crate::upstream::{ServerFacts, SharedUpstream};

/// Facts about the daemon that never change, and the parts whose state is reported.
#[derive(Debug)]
pub struct ServerReport {
    /// The counters of all workers.
    pub stats: Stats,
    /// Absent when L1 is off.
    pub cache: Option<Arc<SharedCache>>,
    /// The memory ceiling, and what holds how much.
    pub ceiling: Arc<MemoryCeiling>,
    /// The owners of slots, and the state of the connections.
    pub upstream: Arc<SharedUpstream>,
    /// The subscriptions of all clients.
    pub pubsub: Arc<Hub>,
    /// The clients with tracking on.
    pub tracker: Arc<Tracker>,
    /// How many workers there are.
    pub workers: usize,
    /// When the daemon began.
    pub started_at: Nanos,
    /// Forty hexadecimal digits that no other run has.
    pub run_id: String,
    /// The TCP addresses that it listens on.
    pub tcp: Vec<SocketAddr>,
    /// Whether clients of other machines are let in without a password.
    pub allow_remote: bool,
    /// Whether CONFIG SET of what belongs to the servers of a cluster goes to all primaries.
    pub forwards_config: bool,
    /// The Unix socket that it listens on, and its permission bits.
    pub unix: Option<(PathBuf, u32)>,
    /// The time between two topology requests; `negative_ttl` must not be less.
    pub topology_refresh_interval: Duration,
    /// The setting `lease`.
    pub lease: Duration,
    /// The canaries, if they are on.
    pub canary: Option<Arc<Canary>>,
}

/// The version that is reported until the upstream has reported its own.
const VERSION_UNTIL_KNOWN: &str = "7.0.0";

// === impl ServerReport ===

impl ServerReport {
    /// What the upstream's servers say they are.
    pub(super) fn server_facts(&self) -> ServerFacts {
        self.upstream.status.server().unwrap_or_else(|| ServerFacts {
            redis_version: VERSION_UNTIL_KNOWN.to_owned(),
            ..ServerFacts::default()
        })
    }

    /// Whether the upstream's servers are Valkey.
    pub(crate) fn is_valkey(&self) -> bool {
        self.server_facts().valkey_version.is_some()
    }

    /// The port of the first TCP address; 0 when there is none.
    pub(super) fn tcp_port(&self) -> u16 {
        self.tcp.first().map_or(0, SocketAddr::port)
    }
}
