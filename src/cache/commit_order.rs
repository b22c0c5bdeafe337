//! The order of commits if replies come over several connections: one commit at a time for each group of
//! keys, and the connection of the last kept reply.

use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;

use crate::clock::Nanos;
use crate::node::Epoch;

/// The commits of a group of keys, if replies come over several connections.
#[derive(Debug, Default)]
pub(super) struct Commits {
    /// Held during a commit. Only other commits of the group wait for it.
    pub(super) commit_lock: Mutex<Connections>,
    /// When the latest commit kept its reply.
    pub(super) latest: AtomicU64,
}

/// The connections over which the kept replies of a group of keys came.
#[derive(Debug, Default)]
pub(super) struct Connections {
    /// The number of the epoch of the latest reply.
    epoch: u64,
    /// The time of the last reply over any other connection.
    others_until: Nanos,
}

// === impl Connections ===

impl Connections {
    /// The time of the last kept reply over any connection except the one of `epoch`. `latest` is the time of
    /// the last reply over all connections.
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
