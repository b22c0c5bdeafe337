//! What clients that cache must know of a reply: whether the upstream will push changes of it.

use std::cell::Cell;
use std::rc::Rc;

use crate::upstream::Outcome;

/// Whether the upstream will push an invalidation when a reply becomes stale. A reply from L1 is covered,
/// because L1 serves only covered replies. A later reply is covered if that is noted here.
#[derive(Debug, Default)]
pub struct Coverage(Cell<bool>);

// === impl Coverage ===

impl Coverage {
    /// Whether it was said that the reply is covered.
    pub fn is_given(&self) -> bool {
        self.0.get()
    }

    pub(super) fn give(&self) {
        self.0.set(true);
    }
}

/// Marks a reply as covered, for a session that asked for it, if all that it was made of is `tracked`.
pub(super) fn note(coverage: Option<&Rc<Coverage>>, tracked: bool) {
    if let Some(coverage) = coverage.filter(|_| tracked) {
        coverage.give();
    }
}

/// Whether an outcome is something to keep, and came over a tracked connection.
pub(super) fn is_tracked(outcome: &Outcome) -> bool {
    outcome.as_ref().is_ok_and(|reply| reply.tracked && !reply.frame.starts_with(b"-"))
}
