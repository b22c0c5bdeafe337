//! The names of the source of an entry: a node, and an epoch of a tracked connection to it.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::clock::{self, Nanos};

/// A node of the upstream, by the address that clients of it use: `host:port`, or the path of a Unix socket.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(Arc<str>);

/// An epoch of a tracked connection, shared by the connection and all entries that were read on it.
///
/// The connection renews the *lease* each time a heartbeat proves that everything pushed before the heartbeat
/// has been received; an entry is served only while the lease of its epoch runs (I4). So entries of a
/// connection that fell silent are not served any more when the time is over; no code has to act for that.
///
/// Within the lease an entry is served only for [`INBOX_CHECK_INTERVAL`] after the last instant at which
/// everything that had arrived on the connection was processed. After that, the reader checks whether unread
/// bytes wait there. So a process that was stopped and continues serves nothing before it has read what
/// arrived meanwhile; again the clock alone decides.
#[derive(Clone)]
pub struct Epoch(Arc<Life>);

/// How long an entry is served without a check of the connection that it was read on. The owner of the
/// connection notes each read of it, so the check is needed only after a stop of the process or a thread, and
/// on a quiet connection.
pub const INBOX_CHECK_INTERVAL: Duration = Duration::from_millis(10);

/// The receiving side of the connection of an epoch.
pub trait NodeInbox: fmt::Debug + Send + Sync {
    /// Whether no bytes that arrived by `now` wait there unread. Asks the kernel.
    fn is_empty(&self, now: Nanos) -> bool;
}

#[derive(Debug)]
struct Life {
    /// The number of the epoch in this daemon, for reports.
    number: u64,
    lease_until: AtomicU64,
    /// Until when its entries are served without a check: never longer than the lease.
    seen_until: AtomicU64,
    /// The epoch ended because the node reported that all its keys changed.
    was_emptied: AtomicBool,
    /// The connection, which its entries do not keep open.
    inbox: Option<Weak<dyn NodeInbox>>,
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

    /// How many clones of this name there are.
    pub fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
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
    /// Begins an epoch with a lease until `lease_until`, without a connection to check.
    pub fn begin(lease_until: Nanos) -> Epoch {
        Epoch::with(lease_until, lease_until, None)
    }

    /// Begins an epoch with a lease until `lease_until`, of the connection with this inbox.
    pub fn begin_on(inbox: Weak<dyn NodeInbox>, lease_until: Nanos) -> Epoch {
        Epoch::with(lease_until, 0, Some(inbox))
    }

    fn with(lease_until: Nanos, seen_until: Nanos, inbox: Option<Weak<dyn NodeInbox>>) -> Epoch {
        let number = BEGUN.fetch_add(1, Ordering::Relaxed) + 1;
        let [lease_until, seen_until] = [lease_until, seen_until].map(|until| AtomicU64::new(until.max(1)));
        let was_emptied = AtomicBool::new(false);
        Epoch(Arc::new(Life { number, lease_until, seen_until, was_emptied, inbox }))
    }

    /// Whether the lease runs at `now`. To serve an entry takes more: [`Epoch::is_servable`], or else
    /// [`Epoch::check_inbox`].
    pub fn is_live(&self, now: Nanos) -> bool {
        now < self.0.lease_until.load(Ordering::Acquire)
    }

    /// Whether entries of this epoch may be served at `now` without a look.
    #[inline]
    pub fn is_servable(&self, now: Nanos) -> bool {
        now < self.0.seen_until.load(Ordering::Acquire)
    }

    /// Checks whether entries of this epoch may be served at `now`. The caller has to look the key up again:
    /// an invalidation may have been processed meanwhile.
    #[cold]
    pub fn check_inbox(&self, now: Nanos) -> bool {
        let inbox = self.0.inbox.as_ref().map(Weak::upgrade);
        // Without a connection there is nothing to look at, and the lease says when it is over.
        let is_empty = inbox.is_none_or(|inbox| inbox.is_some_and(|inbox| inbox.is_empty(now)));
        if is_empty {
            self.note_inbox_empty(now);
        }
        is_empty && self.is_servable(now)
    }

    /// All that had arrived on the connection by `at` was taken in.
    pub fn note_inbox_empty(&self, at: Nanos) {
        let until = self.lease_until().min(at.saturating_add(clock::nanos(INBOX_CHECK_INTERVAL)));
        extend(&self.0.seen_until, until);
    }

    /// Extends the lease to `lease_until`; does nothing once the epoch has ended.
    pub fn renew(&self, lease_until: Nanos) {
        extend(&self.0.lease_until, lease_until);
        if self.0.inbox.is_none() {
            extend(&self.0.seen_until, lease_until);
        }
    }

    /// Until when the lease runs; 0 once the epoch has ended.
    pub fn lease_until(&self) -> Nanos {
        self.0.lease_until.load(Ordering::Acquire)
    }

    /// The number of the epoch in this daemon, from 1.
    pub fn number(&self) -> u64 {
        self.0.number
    }

    /// Ends the epoch because the node reported that all its keys changed.
    pub fn end_emptied(&self) {
        self.0.was_emptied.store(true, Ordering::Relaxed);
        self.end();
    }

    /// Whether it ended because the node reported that all its keys changed.
    pub fn was_emptied(&self) -> bool {
        self.0.was_emptied.load(Ordering::Relaxed)
    }

    /// Ends the epoch: every entry that carries it is a miss from now on.
    pub fn end(&self) {
        self.0.lease_until.store(ENDED, Ordering::Release);
        self.0.seen_until.store(ENDED, Ordering::Release);
    }
}

/// Moves an instant on. What has ended stays ended: only a value that is not ENDED is replaced.
fn extend(instant: &AtomicU64, until: Nanos) {
    let _ = instant.fetch_update(Ordering::AcqRel, Ordering::Acquire, |current| {
        (current != ENDED).then_some(current.max(until))
    });
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Epoch(lease_until: {})", self.lease_until())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether something waits.
    #[derive(Debug, Default)]
    struct Pending(AtomicBool);

    impl NodeInbox for Pending {
        fn is_empty(&self, _now: Nanos) -> bool {
            !self.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn an_epoch_of_a_connection_is_looked_at_anew_after_a_while() {
        let inbox = Arc::new(Pending::default());
        let begin = |inbox: &Arc<Pending>, lease_until| {
            let inbox: Arc<dyn NodeInbox> = inbox.clone();
            Epoch::begin_on(Arc::downgrade(&inbox), lease_until)
        };
        let unseen = clock::nanos(INBOX_CHECK_INTERVAL);
        let epoch = begin(&inbox, 3 * unseen);
        assert!(epoch.is_live(100) && !epoch.is_servable(100), "nobody has looked yet");
        assert!(epoch.check_inbox(100));
        assert!(epoch.is_servable(99 + unseen) && !epoch.is_servable(100 + unseen), "I4");
        inbox.0.store(true, Ordering::Relaxed);
        assert!(!epoch.check_inbox(100 + unseen), "I4");
        epoch.note_inbox_empty(100 + unseen);
        assert!(epoch.is_servable(99 + 2 * unseen));
        inbox.0.store(false, Ordering::Relaxed);
        assert!(epoch.check_inbox(3 * unseen - 1) && !epoch.is_servable(3 * unseen), "the lease is the end");
        assert!(!epoch.check_inbox(3 * unseen));
        let ended = begin(&inbox, 3 * unseen);
        ended.end();
        ended.note_inbox_empty(100);
        assert!(!ended.check_inbox(100) && !ended.is_servable(100), "I4");
        let closed = begin(&inbox, 3 * unseen);
        drop(inbox);
        assert!(!closed.check_inbox(100), "the connection is gone");
    }

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
