//! Where a session has written, for WAIT: coarsely, in 32 bytes.

use std::cell::Cell;

use crate::protocol::key::{SLOT_COUNT, Slot};

/// Slots side by side that are noted together. A node owns ranges of slots, so few such groups have two
/// owners.
const GROUP_SLOTS: usize = 64;
const WORDS: usize = SLOT_COUNT / GROUP_SLOTS / u64::BITS as usize;

/// Slots that a session has written to, and maybe some beside them. Slots, not nodes: what was written moves
/// with its slot.
#[derive(Debug, Default)]
pub(super) struct WrittenSlots([Cell<u64>; WORDS]);

// === impl WrittenSlots ===

impl WrittenSlots {
    /// A key of `slot` is written.
    pub(super) fn note(&self, slot: Slot) {
        let (word, bit) = place(slot);
        self.0[word].update(|bits| bits | bit);
    }

    /// Any key may be written.
    pub(super) fn note_all(&self) {
        self.0.iter().for_each(|word| word.set(u64::MAX));
    }

    /// The slots that may have been written to.
    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> {
        let slots = (0..SLOT_COUNT as u64).filter_map(Slot::from_number);
        slots.filter(|slot| {
            let (word, bit) = place(*slot);
            self.0[word].get() & bit != 0
        })
    }
}

fn place(slot: Slot) -> (usize, u64) {
    let group = slot.index() / GROUP_SLOTS;
    (group / u64::BITS as usize, 1 << (group % u64::BITS as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_there_and_little_else() {
        let written = WrittenSlots::default();
        assert_eq!(written.slots().count(), 0);
        let slots = [0, 8_191, 16_383].map(|number| Slot::from_number(number).unwrap());
        slots.iter().for_each(|slot| written.note(*slot));
        let noted: Vec<Slot> = written.slots().collect();
        assert!(slots.iter().all(|slot| noted.contains(slot)));
        assert_eq!(noted.len(), slots.len() * GROUP_SLOTS);
        written.note_all();
        assert_eq!(written.slots().count(), SLOT_COUNT);
    }
}
