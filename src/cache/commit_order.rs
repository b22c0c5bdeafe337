//! The order of commits where replies come over several connections: one at a time for each group of keys,
//! and which connection brought the last kept reply.

use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;

use crate::clock::Nanos;
use crate::node::Epoch;

/// The commits of a group of keys, when replies come over several connections.
#[derive(Debug, Default)]
pub(super) struct Commits {
    /// Held during a commit. Nothing but other commits of the group waits for this.
    pub(super) one_by_one: Mutex<Connections>,
    /// When the latest commit kept its reply.
    pub(super) latest: AtomicU64,
}

/// Over which connections the replies of a group of keys came that were kept.
#[derive(Debug, Default)]
pub(super) struct Connections {
    /// The number of the epoch of the latest one.
    epoch: u64,
    /// No reply came later over any other connection.
    others_until: Nanos,
}

// === impl Connections ===

impl Connections {
    /// When the last reply came over any connection but that of `epoch`. `latest` is when the last reply of
    /// all connections came.
    pub(super) fn others_until(&self, epoch: &Epoch, latest: Nanos) -> Nanos {
        if self.epoch == epoch.number() { self.others_until } else { latest }
    }

    /// Notes a kept reply that came over the connection of `epoch`. The reply before it was kept at
    /// `latest`.
    pub(super) fn note(&mut self, epoch: &Epoch, latest: Nanos) {
        self.others_until = self.others_until(epoch, latest);
        self.epoch = epoch.number();
    }
}
