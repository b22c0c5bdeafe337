//! A set of slots.

use std::fmt;

use crate::protocol::key::{SLOT_COUNT, Slot};

/// A set of slots.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::router) struct SlotSet(Box<[u64; SLOT_COUNT / 64]>);

// === impl SlotSet ===

impl SlotSet {
    pub(in crate::router) fn has(&self, slot: Slot) -> bool {
        self.0[slot.index() / 64] >> (slot.index() % 64) & 1 == 1
    }

    pub(in crate::router) fn add(&mut self, slot: Slot) {
        self.0[slot.index() / 64] |= 1 << (slot.index() % 64);
    }

    pub(in crate::router) fn iter(&self) -> impl Iterator<Item = Slot> {
        all_slots().filter(|slot| self.has(*slot))
    }

    pub(in crate::router) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }
}

pub(in crate::router) fn all_slots() -> impl Iterator<Item = Slot> {
    (0..SLOT_COUNT as u64).filter_map(Slot::from_number)
}

impl Default for SlotSet {
    fn default() -> SlotSet {
        SlotSet(Box::new([0; SLOT_COUNT / 64]))
    }
}

impl fmt::Debug for SlotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SlotSet({} slots)", self.iter().count())
    }
}
