//! The client-side caching of one client, while it is on.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use crate::clients::tracker::Tracker;

/// Which keys a client is notified of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TrackedKeys {
    /// Those that it reads.
    Default,
    /// Those that it reads right after CLIENT CACHING YES.
    OptIn,
    /// Those that it reads, but for what comes right after CLIENT CACHING NO.
    OptOut,
    /// Those with some prefix, whichever client reads them.
    Broadcast,
}

/// What remembering a name takes beside its bytes.
const NAME_BYTES: usize = 64;

/// The client-side caching of one session. Ends with this.
#[derive(Debug)]
pub(crate) struct ClientTracking {
    pub(crate) tracker: Arc<Tracker>,
    pub(crate) id: u64,
    pub(super) mode: TrackedKeys,
    /// Whether tracking is on. It is still off while BCAST is asked for upstream.
    pub(crate) on: bool,
    pub(super) redirect: i64,
    pub(crate) no_loop: bool,
    pub(super) prefixes: BTreeSet<Bytes>,
    /// CLIENT CACHING was said right before.
    pub(crate) caching: bool,
    /// Keys that the commands of the present MULTI read.
    pub(crate) queued: Vec<Bytes>,
}

// === impl ClientTracking ===

impl ClientTracking {
    /// What its prefixes and the keys of the present MULTI take, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let names = self.prefixes.iter().chain(&self.queued);
        names.map(|name| name.len() + NAME_BYTES).sum()
    }

    /// Whether a read is tracked now, by OPTIN and OPTOUT.
    pub(crate) fn tracks_reads(&self) -> bool {
        match self.mode {
            TrackedKeys::Default | TrackedKeys::Broadcast => true,
            TrackedKeys::OptIn => self.caching,
            TrackedKeys::OptOut => !self.caching,
        }
    }
}

impl Drop for ClientTracking {
    fn drop(&mut self) {
        self.tracker.leave(self.id);
    }
}
