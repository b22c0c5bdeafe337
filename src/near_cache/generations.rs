//! What makes an entry stale without being found: a number per group of keys, and one per slot.
//!
//! An invalidation raises the number of its key's group. A fill notes the number before its command is sent, its
//! entry carries it, and every lookup compares. So an invalidation needs no lock and cannot miss an entry, wherever
//! that lives at the moment: still on its way upstream, in the store, in a hot set, or half evicted (I1, I2, I3).
//! Keys that share a group are invalidated together now and then, which costs a miss and nothing else.

use std::sync::atomic::{AtomicU32, Ordering};

use super::why::Why;
use crate::key::{SLOT_COUNT, Slot};

/// Groups of keys: 512 KiB. With 10,000 writes a second through one daemon, a key that nobody writes is dropped
/// by the writes of others once in 13 seconds.
const GROUPS: usize = 1 << 17;

/// The numbers, shared by all workers.
#[derive(Debug)]
pub(super) struct Generations {
    keys: Box<[AtomicU32]>,
    slots: Box<[AtomicU32]>,
}

/// What the numbers of one key were. A 32-bit number would have to wrap around within the life of an entry to deceive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Generation {
    group: u32,
    slot: Slot,
    key_number: u32,
    slot_number: u32,
}

// === impl Generations ===

impl Generations {
    pub(super) fn new() -> Generations {
        let zeros = |count| std::iter::repeat_with(AtomicU32::default).take(count).collect();
        Generations { keys: zeros(GROUPS), slots: zeros(SLOT_COUNT) }
    }

    /// The numbers of the key with this hash and slot, now.
    pub(super) fn of(&self, hash: u64, slot: Slot) -> Generation {
        let group = group(hash);
        Generation {
            group,
            slot,
            key_number: self.keys[group as usize].load(Ordering::Acquire),
            slot_number: self.slots[slot.index()].load(Ordering::Acquire),
        }
    }

    /// Whether nothing was invalidated since `generation` was noted.
    #[inline]
    pub(super) fn is_current(&self, generation: &Generation) -> bool {
        self.keys[generation.group as usize].load(Ordering::Acquire) == generation.key_number
            && self.slots[generation.slot.index()].load(Ordering::Acquire) == generation.slot_number
    }

    /// Which of the numbers has changed since `generation` was noted, in terms of why an entry that is still there is not
    /// served. One whose own key was invalidated is not there any more.
    pub(super) fn changed(&self, generation: &Generation) -> Option<Why> {
        if self.slots[generation.slot.index()].load(Ordering::Acquire) != generation.slot_number {
            return Some(Why::Moved);
        }
        (!self.is_current(generation)).then_some(Why::Neighbour)
    }

    /// Brings the number of this hash's group into the cache of the CPU. It may be another one at the next look.
    #[inline]
    pub(super) fn touch(&self, hash: u64) -> u64 {
        u64::from(self.keys[group(hash) as usize].load(Ordering::Relaxed))
    }

    /// The key with this hash changed.
    pub(super) fn raise_key(&self, hash: u64) {
        self.keys[group(hash) as usize].fetch_add(1, Ordering::AcqRel);
    }

    /// What is known of this slot may be stale.
    pub(super) fn raise_slot(&self, slot: Slot) {
        self.slots[slot.index()].fetch_add(1, Ordering::AcqRel);
    }

    /// What is known of any slot may be stale.
    pub(super) fn raise_all(&self) {
        for slot in &self.slots {
            slot.fetch_add(1, Ordering::AcqRel);
        }
    }
}

// === impl Generation ===

impl Generation {
    pub(super) fn slot(&self) -> Slot {
        self.slot
    }

    /// The number of the group, and that of the slot.
    pub(super) fn numbers(&self) -> (u32, u32) {
        (self.key_number, self.slot_number)
    }
}

fn group(hash: u64) -> u32 {
    // The upper bits: the lower ones choose the place in the hot set and in the store.
    (hash >> 40) as u32 % GROUPS as u32
}
