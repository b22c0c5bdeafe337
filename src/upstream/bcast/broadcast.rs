//! The prefixes for which every primary pushes all changes, as all workers see them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::RwLock;
use tokio::sync::watch;
use tokio::time;

use super::state::{self, BcastPrefixes, BcastState};
use crate::node::{Epoch, NodeId};

/// The BCAST connections at present.
#[derive(Debug, Default)]
pub struct Broadcast {
    /// The prefixes that every primary reports; empty while one of them does not.
    armed: watch::Sender<BcastPrefixes>,
    states: RwLock<BTreeMap<NodeId, Arc<BcastState>>>,
}

// === impl Broadcast ===

impl Broadcast {
    /// Whether every primary reports changes of all keys with these prefixes.
    pub fn covers(&self, prefixes: &[Bytes]) -> bool {
        prefixes.iter().all(|prefix| state::covers(&self.armed.borrow(), prefix))
    }

    /// Waits until every primary reports changes of all keys with these prefixes, or `timeout` is over.
    pub async fn covering(&self, prefixes: &[Bytes], timeout: Duration) {
        let mut armed = self.armed.subscribe();
        let covers = |armed: &BcastPrefixes| prefixes.iter().all(|prefix| state::covers(armed, prefix));
        // The caller continues in either case, and is notified of all keys once they are covered.
        let _ = time::timeout(timeout, armed.wait_for(covers)).await;
    }

    /// The epoch in which every change of `keys` at `node` is reported, if the process at the other end is
    /// the one with this `run_id`.
    pub(in crate::upstream) fn epoch<'a>(
        &self,
        node: &NodeId,
        run_id: &str,
        mut keys: impl Iterator<Item = &'a [u8]>,
    ) -> Option<Epoch> {
        let state = self.state(node)?;
        keys.all(|key| state::covers(&state.prefixes, key)).then(|| state.epoch(run_id)).flatten()
    }

    /// Waits until all that `node` has pushed by now was received, or nothing is served any more that depends
    /// on it.
    pub(in crate::upstream) async fn await_fence(&self, node: &NodeId) {
        if let Some(state) = self.state(node) {
            state.await_fence().await;
        }
    }

    fn state(&self, node: &NodeId) -> Option<Arc<BcastState>> {
        self.states.read().get(node).cloned()
    }

    /// Replaces the prefixes that all nodes report, and the state of each node.
    pub(super) fn set(&self, armed: BcastPrefixes, states: BTreeMap<NodeId, Arc<BcastState>>) {
        *self.states.write() = states;
        self.armed.send_replace(armed);
    }
}
