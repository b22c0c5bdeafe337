//! Slots of which something large came or went lately. How long a reply is shows only once it comes, and
//! until then others are written behind its request; what is asked of these slots goes past all others from
//! the start.

use std::cell::RefCell;

use crate::clock::{self, Nanos};
use crate::protocol::key::{SLOT_COUNT, Slot};

/// Until when each slot counts; nothing, until there is one.
#[derive(Debug, Default)]
pub(in crate::upstream) struct LargeSlots(RefCell<Option<Box<[Nanos]>>>);

// === impl LargeSlots ===

impl LargeSlots {
    /// Whether something large was seen of `slot` lately.
    #[inline]
    pub(in crate::upstream) fn has(&self, slot: Slot) -> bool {
        self.0.borrow().as_ref().is_some_and(|until| until[slot.index()] > clock::now())
    }

    /// Something large was seen of `slot`, which counts until then.
    #[cold]
    pub(in crate::upstream) fn note(&self, slot: Slot, until: Nanos) {
        let mut all = self.0.borrow_mut();
        all.get_or_insert_with(|| vec![0; SLOT_COUNT].into())[slot.index()] = until;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_counts_until_its_time_is_over_and_no_other_does() {
        let slots = LargeSlots::default();
        let (large, other) = (Slot::of(b"large"), Slot::of(b"other"));
        assert!(!slots.has(large));
        slots.note(large, Nanos::MAX);
        assert!(slots.has(large));
        assert!(!slots.has(other));
        slots.note(large, clock::now());
        assert!(!slots.has(large));
    }
}
