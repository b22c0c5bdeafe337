//! Which prefixes every primary reports changes of, for all workers to ask.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::RwLock;
use tokio::sync::watch;
use tokio::time;

use super::state::{self, BcastPrefixes, BcastState};
use crate::node::{Epoch, NodeId};

/// What is listened to at present.
#[derive(Debug)]
pub struct Broadcast {
    /// What every primary tells of; empty while one of them does not.
    armed: watch::Sender<BcastPrefixes>,
    ears: RwLock<BTreeMap<NodeId, Arc<BcastState>>>,
}

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
    pub(in crate::upstream) fn epoch<'a>(
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
    pub(in crate::upstream) async fn await_fence(&self, node: &NodeId) {
        if let Some(ear) = self.ear(node) {
            ear.await_fence().await;
        }
    }

    fn ear(&self, node: &NodeId) -> Option<Arc<BcastState>> {
        self.ears.read().get(node).cloned()
    }

    /// Replaces what is listened to: the prefixes that all nodes report, and the state of each node.
    pub(super) fn set(&self, armed: BcastPrefixes, ears: BTreeMap<NodeId, Arc<BcastState>>) {
        *self.ears.write() = ears;
        self.armed.send_replace(armed);
    }
}
