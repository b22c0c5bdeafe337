//! How many dedicated connections there are, on all workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many dedicated connections there are, on all workers.
#[derive(Clone, Debug, Default)]
pub struct DedicatedCounts {
    /// Connections that a session holds.
    pub(in crate::upstream) in_use: Arc<AtomicUsize>,
    /// Open connections, idle ones too.
    pub(in crate::upstream) open: Arc<AtomicUsize>,
}

/// A connection in a count, until it is dropped.
#[derive(Debug)]
pub(in crate::upstream) struct DedicatedGuard(Arc<AtomicUsize>);

// === impl DedicatedCounts ===

impl DedicatedCounts {
    /// Open connections, idle ones too.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

// === impl DedicatedGuard ===

impl DedicatedGuard {
    /// Counts one more.
    pub(in crate::upstream) fn more(count: &Arc<AtomicUsize>) -> DedicatedGuard {
        count.fetch_add(1, Ordering::Relaxed);
        DedicatedGuard(count.clone())
    }

    /// Counts one more; `None` when there are `max` already.
    pub(in crate::upstream) fn below(count: &Arc<AtomicUsize>, max: usize) -> Option<DedicatedGuard> {
        let more = |present| (present < max).then_some(present + 1);
        let counted = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        counted.is_ok().then(|| DedicatedGuard(count.clone()))
    }
}

impl Drop for DedicatedGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
