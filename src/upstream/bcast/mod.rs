//! Listening to all keys that begin with some prefix, whoever read them: one connection to each primary, for
//! as long as some client of ours or a policy of L1 wants it.
//!
//! Tracking on the lanes tells of keys that were read on them. A client in BCAST mode wants to hear of others
//! as well, and a policy may spare the server to remember who has read what. What clients may have missed,
//! before a connection stood or after it was lost, is told as everything; what L1 kept because a node was
//! listened to carries an epoch of that connection.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::RwLock;
use tokio::sync::{Notify, watch};
use tokio::time::{self, Instant};

mod listener;
mod state;

use super::SharedUpstream;
use super::options::UpstreamOptions;
use crate::node::{Epoch, NodeId};
use listener::BcastListener;
use state::BcastState;

/// Prefixes of keys in order, none of which begins with another one. Empty when nothing is listened to.
pub type BcastPrefixes = Arc<[Bytes]>;

/// What was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BcastEvent {
    /// These keys changed.
    Keys(Vec<Bytes>),
    /// Anything may have changed without a word.
    Everything,
}

/// Called with what was heard, in the order in which each node said it.
pub type OnBcastEvent = Arc<dyn Fn(BcastEvent) + Send + Sync>;

/// What is listened to at present.
#[derive(Debug)]
pub struct Broadcast {
    /// What every primary tells of; empty while one of them does not.
    armed: watch::Sender<BcastPrefixes>,
    ears: RwLock<BTreeMap<NodeId, Arc<BcastState>>>,
}

/// The prefixes change at most so often: each change means new connections.
const PREFIXES_GAP: Duration = Duration::from_millis(100);

// === impl Broadcast ===

impl Default for Broadcast {
    fn default() -> Broadcast {
        Broadcast { armed: watch::Sender::new(BcastPrefixes::default()), ears: RwLock::default() }
    }
}

impl Broadcast {
    /// Whether every primary tells of all keys with these prefixes.
    pub fn covers(&self, prefixes: &[Bytes]) -> bool {
        prefixes.iter().all(|prefix| state::covers(&self.armed.borrow(), prefix))
    }

    /// Waits until it does, or `patience` is over.
    pub async fn covering(&self, prefixes: &[Bytes], patience: Duration) {
        let mut armed = self.armed.subscribe();
        let covers = |armed: &BcastPrefixes| prefixes.iter().all(|prefix| state::covers(armed, prefix));
        // Whoever waited goes on in either case, and is told everything once it does.
        let _ = time::timeout(patience, armed.wait_for(covers)).await;
    }

    /// The epoch in which every change of `keys` at `node` is heard of, if it is, and if the process that is
    /// listened to is the one that calls itself `run_id`.
    pub(super) fn epoch<'a>(
        &self,
        node: &NodeId,
        run_id: &str,
        mut keys: impl Iterator<Item = &'a [u8]>,
    ) -> Option<Epoch> {
        let ear = self.ear(node)?;
        keys.all(|key| ear.covers(key)).then(|| ear.epoch(run_id)).flatten()
    }

    /// Waits until all that `node` has pushed by now was heard, or nothing is served any more that depends on
    /// it.
    pub(super) async fn await_fence(&self, node: &NodeId) {
        if let Some(ear) = self.ear(node) {
            ear.await_fence().await;
        }
    }

    fn ear(&self, node: &NodeId) -> Option<Arc<BcastState>> {
        self.ears.read().get(node).cloned()
    }

    fn set(&self, armed: BcastPrefixes, ears: BTreeMap<NodeId, Arc<BcastState>>) {
        *self.ears.write() = ears;
        self.armed.send_replace(armed);
    }
}

/// Listens to what is wanted, for as long as it is polled.
pub async fn keep(
    options: UpstreamOptions,
    shared: Arc<SharedUpstream>,
    mut wanted: watch::Receiver<BcastPrefixes>,
    on_heard: OnBcastEvent,
) {
    let stirred = Arc::new(Notify::new());
    let mut knowledge = shared.table.follow();
    let mut prefixes = BcastPrefixes::default();
    let mut listeners: BTreeMap<NodeId, BcastListener> = BTreeMap::new();
    let mut changed_at = Instant::now();
    loop {
        let before = listeners.len();
        let latest = wanted.borrow_and_update().clone();
        if latest != prefixes {
            time::sleep_until(changed_at + PREFIXES_GAP).await;
            listeners.clear();
            (prefixes, changed_at) = (latest, Instant::now());
        }
        knowledge.latest();
        let primaries = if prefixes.is_empty() { Vec::new() } else { primaries(&shared) };
        listeners.retain(|node, _| primaries.contains(node));
        if listeners.len() < before {
            on_heard(BcastEvent::Everything);
        }
        for node in primaries {
            listeners.entry(node).or_insert_with_key(|node| {
                let (options, shared) = (options.clone(), shared.clone());
                let (on_heard, stirred) = (on_heard.clone(), stirred.clone());
                BcastListener::start(node.clone(), prefixes.clone(), options, shared, on_heard, stirred)
            });
        }
        let all = !listeners.is_empty() && listeners.values().all(|listener| listener.ear().is_armed());
        let armed = if all { prefixes.clone() } else { BcastPrefixes::default() };
        let ears = listeners.iter().map(|(node, listener)| (node.clone(), listener.ear().clone()));
        shared.broadcast.set(armed, ears.collect());
        tokio::select! {
            // In one order always, so that a simulated run can be repeated.
            biased;
            changed = wanted.changed() => if changed.is_err() { return },
            () = knowledge.changed() => {}
            () = stirred.notified() => {}
        }
    }
}

fn primaries(shared: &SharedUpstream) -> Vec<NodeId> {
    shared.table.primaries().iter().filter_map(|index| shared.table.node(*index)).collect()
}
