//! The order in which the parts of the daemon learn that data changed: L1, then the clients that track what
//! they read, then the canary.
//!
//! L1 comes first. A client that is notified reads the key again at once, and must not find in L1 what it was
//! notified of.

use std::sync::Arc;

use super::canary::Canary;
use crate::cache::SharedCache;
use crate::cache::policy::CurrentPolicies;
use crate::clients::tracker::Tracker;
use crate::invalidation::Invalidation;
use crate::protocol::key::Slot;
use crate::stats::WorkerStats;
use crate::upstream::bcast::BcastEvent;

/// The parts of the daemon that depend on invalidations. Safe to call from any thread; each method takes
/// effect before it returns.
#[derive(Debug)]
pub struct Invalidator {
    /// L1; `None` when it is off.
    pub cache: Option<Arc<SharedCache>>,
    /// The clients that track what they read.
    pub tracker: Arc<Tracker>,
    /// The policies, which say whether L1 depends on BCAST events.
    pub policies: Arc<CurrentPolicies>,
    /// The canary, on the worker whose connections it measures.
    pub canary: Option<Arc<Canary>>,
    /// The counters of the calling thread.
    pub stats: Arc<WorkerStats>,
}

// === impl Invalidator ===

impl Invalidator {
    /// A node pushed `invalidation` on a connection that reads, or the connection was lost.
    pub fn on_push(&self, invalidation: &Invalidation) {
        self.invalidate(invalidation);
        if let Some(canary) = &self.canary {
            canary.hear(invalidation);
        }
    }

    /// `slots` have another owner.
    pub fn on_moved(&self, slots: Vec<Slot>) {
        self.invalidate(&Invalidation::Slots(slots));
    }

    /// A connection in BCAST mode delivered `event`.
    pub fn on_bcast(&self, event: BcastEvent) {
        match event {
            BcastEvent::Keys(keys) => {
                let changed = Invalidation::Keys(keys.clone());
                self.invalidate_cache(&changed);
                self.notify_readers_of_bcast(&changed);
                self.tracker.broadcast(&keys);
            }
            BcastEvent::Everything => {
                // L1's entries have an epoch, which has ended; clients have none.
                if self.tracker.has_listeners() {
                    self.invalidate_cache(&Invalidation::All);
                }
                self.notify_readers_of_bcast(&Invalidation::Node);
                self.tracker.broadcast_everything();
            }
        }
    }

    fn invalidate(&self, invalidation: &Invalidation) {
        self.invalidate_cache(invalidation);
        self.tracker.invalidate(invalidation);
    }

    fn invalidate_cache(&self, invalidation: &Invalidation) {
        if let Some(cache) = &self.cache {
            cache.invalidate(invalidation, &self.stats);
        }
    }

    /// Notifies the clients that read these keys, if a policy has L1 rely on BCAST for some keys: no other
    /// connection is notified of a change of those.
    fn notify_readers_of_bcast(&self, invalidation: &Invalidation) {
        if self.policies.broadcast() {
            self.tracker.invalidate(invalidation);
        }
    }
}
