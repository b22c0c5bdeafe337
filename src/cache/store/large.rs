//! Replies that are too large for the log: each in memory of its own, found by a number.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use foldhash::fast::RandomState;
use parking_lot::RwLock;

use super::entry::EntryHead;

/// A spot from here on is the number of a large reply; a log never reaches that far.
const FIRST_SPOT: u64 = 1 << 39;

/// What a table spends on one, and an allocation.
const OVERHEAD_BYTES: usize = 128;

/// A reply, and what it answers.
#[derive(Debug)]
pub(super) struct Large {
    pub(super) head: EntryHead,
    /// The command's number in the table, and the key alone or all arguments, as in an entry of the log.
    pub(super) asked: Box<[u8]>,
    pub(super) hash: u64,
    pub(super) reply: Bytes,
}

/// The large replies.
#[derive(Debug, Default)]
pub(super) struct LargeEntries {
    table: RwLock<HashMap<u64, Arc<Large>, RandomState>>,
    bytes: AtomicU64,
    latest: AtomicU64,
}

/// What jemalloc takes for `bytes` bytes: it has four sizes from one power of two to the next.
fn allocated(bytes: usize) -> usize {
    bytes.next_multiple_of((bytes.next_power_of_two() / 8).max(16))
}

// === impl Large ===

impl Large {
    pub(super) fn bytes(&self) -> usize {
        allocated(self.reply.len()) + self.asked.len() + OVERHEAD_BYTES
    }
}

// === impl LargeEntries ===

impl LargeEntries {
    /// Whether this spot is none of the log.
    #[inline]
    pub(super) fn has_spot(spot: u64) -> bool {
        spot >= FIRST_SPOT
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Takes a reply in, and says at which spot.
    pub(super) fn put(&self, large: Large) -> u64 {
        let mut table = self.table.write();
        self.bytes.fetch_add(large.bytes() as u64, Ordering::Relaxed);
        loop {
            // The numbers wrap, and one may still be in use then.
            let number = self.latest.fetch_add(1, Ordering::Relaxed) % (FIRST_SPOT - 2);
            let spot = FIRST_SPOT + number;
            if let Entry::Vacant(vacant) = table.entry(spot) {
                vacant.insert(Arc::new(large));
                return spot;
            }
        }
    }

    pub(super) fn get(&self, spot: u64) -> Option<Arc<Large>> {
        self.table.read().get(&spot).cloned()
    }

    /// Lets go of it, if it is there.
    pub(super) fn remove(&self, spot: u64) {
        let removed = self.table.write().remove(&spot);
        if let Some(large) = removed {
            self.bytes.fetch_sub(large.bytes() as u64, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_what_the_allocator_takes() {
        for (bytes, taken) in
            [(1, 16), (129, 160), (14_337, 16_384), (16_385, 20_480), (66_000, 81_920), (100_030, 114_688)]
        {
            assert_eq!(allocated(bytes), taken, "{bytes}");
        }
        assert_eq!((allocated(1 << 20), allocated((1 << 20) + 1)), (1 << 20, 5 << 18));
    }
}
