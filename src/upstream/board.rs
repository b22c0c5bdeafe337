//! How the upstream connections of all workers stand, for whoever reports it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::Nanos;
use crate::node::{Epoch, NodeId};

/// The coherence state of a node: whether L1 serves what was read from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Coherence {
    /// Tracking is confirmed: L1 serves.
    Tracked,
    /// Connected, or about to be, and not confirmed yet.
    CatchingUp,
    /// Not connected, silent, or not tracking: L1 does not serve.
    Lost,
}

/// How one connection stands.
#[derive(Clone, Debug)]
pub(super) enum Link {
    /// On the way.
    Connecting,
    /// Connected; with an epoch when tracking was confirmed.
    Up(Option<Epoch>),
    /// Connected to a node that does not track, or with L1 off.
    Untracked,
    /// Not connected.
    Down,
}

/// What the server says it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerFacts {
    /// `redis_version` of its INFO.
    pub redis_version: String,
    /// `server_name`, which Valkey has.
    pub server_name: Option<String>,
    /// `valkey_version`, which Valkey has.
    pub valkey_version: Option<String>,
    /// `run_id`: another one each time that the process starts.
    pub run_id: Arc<str>,
}

/// The connections, by node and worker.
#[derive(Debug, Default)]
pub struct Board {
    links: Mutex<BTreeMap<(NodeId, usize), Link>>,
    servers: Mutex<BTreeMap<NodeId, ServerFacts>>,
    /// Whether the connection over which the topology is asked stands.
    control: AtomicBool,
    /// How many connections stand that do nothing but subscribe.
    feeds: AtomicUsize,
}

// === impl Board ===

impl Board {
    pub(super) fn post(&self, node: &NodeId, worker: usize, link: Link) {
        lock(&self.links).insert((node.clone(), worker), link);
    }

    pub(super) fn remove(&self, node: &NodeId, worker: usize) {
        let mut links = lock(&self.links);
        links.remove(&(node.clone(), worker));
        if !links.keys().any(|(linked, _)| linked == node) {
            lock(&self.servers).remove(node);
        }
    }

    pub(super) fn post_control(&self, connected: bool) {
        self.control.store(connected, Ordering::Relaxed);
    }

    /// A connection that does nothing but subscribe has come, or is gone.
    pub(super) fn post_feed(&self, connected: bool) {
        if connected {
            self.feeds.fetch_add(1, Ordering::Relaxed);
        } else {
            self.feeds.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Takes the facts about `node` from the text of its `INFO server`.
    pub(super) fn post_server(&self, node: &NodeId, info: &str) {
        let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        if let Some(redis_version) = field("redis_version:") {
            let facts = ServerFacts {
                redis_version,
                server_name: field("server_name:"),
                valkey_version: field("valkey_version:"),
                run_id: field("run_id:").unwrap_or_default().into(),
            };
            lock(&self.servers).insert(node.clone(), facts);
        }
    }

    /// What the upstream's servers say they are, once one was reached.
    pub fn server(&self) -> Option<ServerFacts> {
        lock(&self.servers).values().next().cloned()
    }

    /// Which process answered last at the address of `node`.
    pub(super) fn run_id(&self, node: &NodeId) -> Option<Arc<str>> {
        lock(&self.servers).get(node).map(|facts| facts.run_id.clone())
    }

    /// How many connections are up: those that carry commands, those that subscribe, and the one over which the
    /// topology is asked.
    pub fn connections(&self) -> usize {
        let lanes =
            lock(&self.links).values().filter(|link| matches!(link, Link::Up(_) | Link::Untracked)).count();
        lanes + self.feeds.load(Ordering::Relaxed) + usize::from(self.control.load(Ordering::Relaxed))
    }

    /// The state of each node as of `now`: of the worst of its connections.
    pub fn nodes(&self, now: Nanos) -> BTreeMap<NodeId, Coherence> {
        let mut nodes = BTreeMap::new();
        for ((node, _), link) in lock(&self.links).iter() {
            let state = nodes.entry(node.clone()).or_insert(Coherence::Tracked);
            *state = (*state).max(link.coherence(now));
        }
        nodes
    }
}

// === impl Link ===

impl Link {
    fn coherence(&self, now: Nanos) -> Coherence {
        match self {
            Link::Up(Some(epoch)) if epoch.is_live(now) => Coherence::Tracked,
            Link::Up(None) | Link::Connecting => Coherence::CatchingUp,
            Link::Up(Some(_)) | Link::Untracked | Link::Down => Coherence::Lost,
        }
    }
}

// === impl Coherence ===

impl fmt::Display for Coherence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Coherence::Tracked => "tracked",
            Coherence::CatchingUp => "catching_up",
            Coherence::Lost => "lost",
        })
    }
}

/// Nobody panics while holding one of these; if somebody does, the data is still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
