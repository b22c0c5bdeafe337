//! The status of the upstream connections of all workers, for INFO and the like.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::truncate;
use crate::clock::{self, Nanos};
use crate::node::{Epoch, NodeId};
use crate::protocol::resp::cursor;

/// What Valkey says of itself as `redis_version`.
const VALKEY_COMPATIBLE_WITH: &str = "7.2.4";

/// The coherence state of a node: whether L1 serves what was read from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Coherence {
    /// Tracking is confirmed: L1 serves.
    Tracked,
    /// Connected, or about to be, and not confirmed yet.
    CatchingUp,
    /// Connected, and not asked to track, because L1 is off and no client caches.
    Unasked,
    /// Not connected, silent, or refusing to track: L1 does not serve.
    Lost,
}

/// The status of one connection.
#[derive(Clone, Debug)]
pub(super) enum LinkStatus {
    /// Connecting.
    Connecting,
    /// Connected; with an epoch when tracking was confirmed.
    Up(Option<Epoch>),
    /// Connected to a node that was not asked to track.
    Unasked,
    /// Connected to a node that refuses to track.
    Untracked,
    /// Not connected.
    Down,
}

/// A connection as it was reported last.
#[derive(Clone, Debug)]
struct ReportedLink {
    link: LinkStatus,
    /// Since when its coherence state has been the same.
    since: Nanos,
}

/// The status of a node, and since when it has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// The state of the worst of its connections.
    pub state: Coherence,
    /// Since when all of them have been tracked; otherwise since when the first has been in this state.
    pub since: Nanos,
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
pub struct StatusBoard {
    links: Mutex<BTreeMap<(NodeId, usize), ReportedLink>>,
    /// The connections that listen to all keys.
    listeners: Mutex<BTreeMap<NodeId, ReportedLink>>,
    servers: Mutex<BTreeMap<NodeId, ServerFacts>>,
    /// Whether a server was met that may give fields of a hash times of their own, or did not say what it
    /// is.
    fields_expire: AtomicBool,
    /// Connections to nodes that did not say which process they are.
    nameless: AtomicUsize,
    /// Whether the connection over which the topology is asked for is up.
    control: AtomicBool,
    /// Pub/sub connections that are up.
    pub(super) subscribers: Arc<AtomicUsize>,
    /// Side connections that are up.
    pub(super) sides: Arc<AtomicUsize>,
}

// === impl StatusBoard ===

impl StatusBoard {
    pub(super) fn report(&self, node: &NodeId, worker: usize, link: LinkStatus) {
        let mut links = self.links.lock();
        let posted = ReportedLink::after(links.get(&(node.clone(), worker)), link, clock::now());
        links.insert((node.clone(), worker), posted);
    }

    pub(super) fn report_listener(&self, node: &NodeId, link: LinkStatus) {
        let mut listeners = self.listeners.lock();
        let posted = ReportedLink::after(listeners.get(node), link, clock::now());
        listeners.insert(node.clone(), posted);
    }

    pub(super) fn remove_listener(&self, node: &NodeId) {
        self.listeners.lock().remove(node);
    }

    /// The status of the BCAST connections.
    pub fn listeners(&self, now: Nanos) -> BTreeMap<NodeId, NodeStatus> {
        self.listeners.lock().iter().map(|(node, posted)| (node.clone(), posted.status(now))).collect()
    }

    /// A worker has no connection to `node` any more. Whether it was the last one.
    pub(super) fn remove(&self, node: &NodeId, worker: usize) -> bool {
        let mut links = self.links.lock();
        links.remove(&(node.clone(), worker));
        let is_last = links.range((node.clone(), 0)..=(node.clone(), usize::MAX)).next().is_none();
        if is_last {
            self.servers.lock().remove(node);
        }
        is_last
    }

    pub(super) fn report_control(&self, connected: bool) {
        self.control.store(connected, Ordering::Relaxed);
    }

    /// The nodes that a worker cannot connect to.
    pub(super) fn away(&self) -> BTreeSet<NodeId> {
        let links = self.links.lock();
        let down = links.iter().filter(|(_, posted)| matches!(posted.link, LinkStatus::Down));
        down.map(|((node, _), _)| node.clone()).collect()
    }

    /// Side connections that are up.
    pub fn sides(&self) -> usize {
        self.sides.load(Ordering::Relaxed)
    }

    /// Takes the facts about `node` from its replies to `INFO server` and HELLO. Returns which process it is:
    /// its `run_id`.
    ///
    /// A node that refuses INFO to this user is known by its connection alone, as long as that is up. The
    /// connection lives shorter than the process, so what depends on it begins again too often, and never too
    /// seldom. Only a `main` connection counts: others come and go while it is up.
    pub(super) fn report_server(&self, node: &NodeId, info: &[u8], hello: &[u8], main: bool) -> Arc<str> {
        let info = String::from_utf8_lossy(info);
        let said = |name: &str| {
            info.lines().find_map(|line| line.strip_prefix(name)).map(|value| truncate::cut(value.as_bytes()))
        };
        let greeted = |name: &[u8]| cursor::field(hello, name).and_then(cursor::text).map(truncate::cut);
        let is_valkey = greeted(b"server").is_some_and(|server| server == "valkey");
        let (redis, valkey) = match greeted(b"version") {
            Some(version) if is_valkey => (Some(VALKEY_COMPATIBLE_WITH.to_owned()), Some(version)),
            version => (version, None),
        };
        let number = || self.nameless.fetch_add(1, Ordering::Relaxed);
        let named = said("run_id:");
        let stands_for_it = main || named.is_some();
        let run_id: Arc<str> = named.unwrap_or_else(|| format!("connection-{}", number())).into();
        let redis_version = said("redis_version:").or(redis);
        let facts = ServerFacts {
            redis_version: redis_version.clone().unwrap_or_default(),
            server_name: said("server_name:").or_else(|| is_valkey.then(|| "valkey".to_owned())),
            valkey_version: said("valkey_version:").or(valkey),
            run_id: run_id.clone(),
        };
        let fields_expire = redis_version.is_none() || facts.fields_expire();
        self.fields_expire.fetch_or(fields_expire, Ordering::Relaxed);
        let mut servers = self.servers.lock();
        if stands_for_it || !servers.contains_key(node) {
            servers.insert(node.clone(), facts);
        }
        run_id
    }

    /// What the upstream's servers say they are, once one was reached.
    pub fn server(&self) -> Option<ServerFacts> {
        self.servers.lock().values().find(|facts| !facts.redis_version.is_empty()).cloned()
    }

    /// Which process answered last at the address of `node`.
    pub(super) fn run_id(&self, node: &NodeId) -> Option<Arc<str>> {
        self.servers.lock().get(node).map(|facts| facts.run_id.clone())
    }

    /// Whether any server may give fields of a hash times of their own, as far as is known.
    pub(super) fn fields_expire(&self) -> bool {
        self.fields_expire.load(Ordering::Relaxed)
    }

    /// How many connections are up, but for the dedicated ones: those that carry commands, those that
    /// subscribe, those that listen to what is broadcast, and the one over which the topology is asked.
    pub fn connections(&self) -> usize {
        let is_up = |posted: &&ReportedLink| {
            matches!(posted.link, LinkStatus::Up(_) | LinkStatus::Unasked | LinkStatus::Untracked)
        };
        let mux_connections = self.links.lock().values().filter(is_up).count();
        let listeners = self.listeners.lock().values().filter(is_up).count();
        mux_connections
            + self.sides()
            + listeners
            + self.subscribers.load(Ordering::Relaxed)
            + usize::from(self.control.load(Ordering::Relaxed))
    }

    /// The status of each node as of `now`.
    pub fn nodes(&self, now: Nanos) -> BTreeMap<NodeId, NodeStatus> {
        let mut nodes: BTreeMap<NodeId, NodeStatus> = BTreeMap::new();
        for ((node, _), posted) in self.links.lock().iter() {
            let status = posted.status(now);
            nodes.entry(node.clone()).and_modify(|worst| *worst = worst.and(status)).or_insert(status);
        }
        nodes
    }
}

// === impl ServerFacts ===

impl ServerFacts {
    /// Whether it is this version of Redis or a later one, or this one of Valkey or a later one.
    pub fn is_since(&self, redis: (u32, u32), valkey: (u32, u32)) -> bool {
        let (version, since) = match &self.valkey_version {
            Some(version) => (version, valkey),
            None => (&self.redis_version, redis),
        };
        let mut parts = version.split('.').map(|part| part.parse().unwrap_or_default());
        (parts.next().unwrap_or_default(), parts.next().unwrap_or_default()) >= since
    }

    /// HEXPIRE came with Redis 7.4 and Valkey 9.0.
    fn fields_expire(&self) -> bool {
        self.is_since((7, 4), (9, 0))
    }
}

// === impl ReportedLink ===

impl ReportedLink {
    /// A connection that was reported as `former` before.
    fn after(former: Option<&ReportedLink>, link: LinkStatus, now: Nanos) -> ReportedLink {
        if let (Some(down @ ReportedLink { link: LinkStatus::Down, .. }), LinkStatus::Connecting) =
            (former, &link)
        {
            // Another attempt is no news: a node is away until one succeeds, and since the first that failed.
            return down.clone();
        }
        let former = former.map(|posted| posted.status(now));
        let same = former.filter(|former| former.state == link.coherence(now));
        ReportedLink { link, since: same.map_or(now, |former| former.since) }
    }

    fn status(&self, now: Nanos) -> NodeStatus {
        let since = match &self.link {
            // Its lease ran out, which no connection reports.
            LinkStatus::Up(Some(epoch)) if !epoch.is_live(now) => epoch.lease_until().max(self.since),
            _ => self.since,
        };
        NodeStatus { state: self.link.coherence(now), since }
    }
}

// === impl NodeStatus ===

impl NodeStatus {
    /// The status of a node that has one connection like this and one like `other`.
    fn and(self, other: NodeStatus) -> NodeStatus {
        let state = self.state.max(other.state);
        if self.state != other.state {
            return if self.state == state { self } else { other };
        }
        let since = match state {
            Coherence::Tracked => self.since.max(other.since),
            Coherence::CatchingUp | Coherence::Unasked | Coherence::Lost => self.since.min(other.since),
        };
        NodeStatus { state, since }
    }
}

// === impl LinkStatus ===

impl LinkStatus {
    fn coherence(&self, now: Nanos) -> Coherence {
        match self {
            LinkStatus::Up(Some(epoch)) if epoch.is_live(now) => Coherence::Tracked,
            LinkStatus::Up(None) | LinkStatus::Connecting => Coherence::CatchingUp,
            LinkStatus::Unasked => Coherence::Unasked,
            LinkStatus::Up(Some(_)) | LinkStatus::Untracked | LinkStatus::Down => Coherence::Lost,
        }
    }
}

// === impl Coherence ===

impl fmt::Display for Coherence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Coherence::Tracked => "tracked",
            Coherence::CatchingUp => "catching_up",
            Coherence::Unasked => "not_asked",
            Coherence::Lost => "lost",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status_of(status: &StatusBoard, now: Nanos) -> NodeStatus {
        *status.nodes(now).values().next().unwrap()
    }

    #[test]
    fn a_node_stands_as_its_worst_connection_and_since_then() {
        let (status, node) = (StatusBoard::default(), NodeId::new("h:1"));
        status.report(&node, 0, LinkStatus::Connecting);
        let first = status_of(&status, clock::now());
        assert_eq!(first.state, Coherence::CatchingUp);
        status.report(&node, 0, LinkStatus::Up(None));
        assert_eq!(status_of(&status, clock::now()), first, "as before: it is still catching up");

        let lease_until = clock::now() + 1_000_000_000;
        let epoch = Epoch::begin(lease_until);
        status.report(&node, 0, LinkStatus::Up(Some(epoch.clone())));
        let tracked = status_of(&status, clock::now());
        assert_eq!(tracked.state, Coherence::Tracked);
        assert!(tracked.since >= first.since);
        assert_eq!(
            status_of(&status, lease_until + 5),
            NodeStatus { state: Coherence::Lost, since: lease_until },
            "nobody posts that a lease ran out"
        );

        status.report(&node, 1, LinkStatus::Up(Some(epoch)));
        let both = status_of(&status, clock::now());
        assert!(both.state == Coherence::Tracked && both.since >= tracked.since, "since the later one");
        status.report(&node, 1, LinkStatus::Down);
        let lost = status_of(&status, clock::now());
        assert!(lost.state == Coherence::Lost && lost.since >= both.since);
        for link in [LinkStatus::Connecting, LinkStatus::Down, LinkStatus::Connecting] {
            status.report(&node, 1, link);
            assert_eq!(status_of(&status, clock::now()), lost, "another attempt is no news");
        }
        status.remove(&node, 1);
        assert_eq!(status_of(&status, clock::now()), tracked);
    }
    #[test]
    fn a_node_that_does_not_say_who_it_is_is_another_one_with_each_main_connection() {
        let (status, node) = (StatusBoard::default(), NodeId::new("h:1"));
        let known = || status.run_id(&node).unwrap();
        let first = status.report_server(&node, b"", b"", true);
        assert_eq!(known(), first);
        // What comes and goes beside it is somebody else for itself alone.
        let side = status.report_server(&node, b"", b"", false);
        assert!(side != first && known() == first);
        let second = status.report_server(&node, b"", b"", true);
        assert!(second != first && known() == second);
        assert_eq!(&*status.report_server(&node, b"run_id:abc\r\n", b"", false), "abc");
        assert_eq!(&*known(), "abc");
    }
}
