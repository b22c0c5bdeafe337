//! The names of what an entry was read from: a node, and one life of one tracked connection to it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::Nanos;

/// A node of the upstream, by the address that clients of it use: `host:port`, or the path of a Unix socket.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(Arc<str>);

/// One life of one tracked connection, shared by the connection and by every entry that it filled.
///
/// The connection renews the *lease* each time a heartbeat proves that everything pushed before the heartbeat has
/// been received; an entry is served only while the lease of its epoch runs (I4). So a connection that fell
/// silent, or a daemon that was stopped and resumed, stops serving by the clock alone, without anybody's action.
#[derive(Clone)]
pub struct Epoch(Arc<Life>);

#[derive(Debug)]
struct Life {
    /// Which one it is of all of this daemon, for people.
    number: u64,
    lease_until: AtomicU64,
}

/// How many epochs have begun.
static BEGUN: AtomicU64 = AtomicU64::new(0);

/// The lease of an epoch that has ended. No clock reading is below it.
const ENDED: Nanos = 0;

// === impl NodeId ===

impl NodeId {
    /// The node at `address`.
    pub fn new(address: impl Into<Arc<str>>) -> NodeId {
        NodeId(address.into())
    }

    /// The address: `host:port`, or the path of a Unix socket.
    pub fn address(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({})", self.0)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl Epoch ===

impl Epoch {
    /// A new life, confirmed until `lease_until`.
    pub fn begin(lease_until: Nanos) -> Epoch {
        let number = BEGUN.fetch_add(1, Ordering::Relaxed) + 1;
        Epoch(Arc::new(Life { number, lease_until: AtomicU64::new(lease_until.max(1)) }))
    }

    /// Whether entries of this epoch may be served at `now`.
    pub fn is_live(&self, now: Nanos) -> bool {
        now < self.0.lease_until.load(Ordering::Acquire)
    }

    /// Extends the lease to `lease_until`; does nothing once the epoch has ended.
    pub fn renew(&self, lease_until: Nanos) {
        // An ended epoch stays ended: only a value that is not ENDED is replaced.
        let _ = self.0.lease_until.fetch_update(Ordering::AcqRel, Ordering::Acquire, |current| {
            (current != ENDED).then_some(current.max(lease_until))
        });
    }

    /// Until when the lease runs; 0 once the epoch has ended.
    pub fn lease_until(&self) -> Nanos {
        self.0.lease_until.load(Ordering::Acquire)
    }

    /// Which one it is of all that this daemon began, from 1.
    pub fn number(&self) -> u64 {
        self.0.number
    }

    /// Ends the epoch: every entry that carries it is a miss from now on.
    pub fn end(&self) {
        self.0.lease_until.store(ENDED, Ordering::Release);
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Epoch(lease_until: {})", self.lease_until())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_lives_as_long_as_its_lease() {
        let epoch = Epoch::begin(100);
        assert!(epoch.is_live(99));
        assert!(!epoch.is_live(100));
        epoch.renew(200);
        assert!(epoch.is_live(199));
        epoch.renew(150);
        assert!(epoch.is_live(199), "a late renewal never shortens the lease");
    }

    #[test]
    fn an_ended_epoch_cannot_be_renewed() {
        let epoch = Epoch::begin(100);
        let seen_by_entry = epoch.clone();
        epoch.end();
        epoch.renew(1_000);
        assert!(!seen_by_entry.is_live(0));
        assert!(!seen_by_entry.is_live(500));
    }
}
