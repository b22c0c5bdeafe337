//! The entries that one worker hit last, in a directly mapped table before the store.
//!
//! A look costs an index and a comparison, where moka's `get` keeps a log of reads. Nothing is removed from here: an
//! entry carries all that decides whether it may be served, so a place holds a stale one until it is hit or replaced.

use std::sync::Arc;

use super::entry::Entry;

/// Places in the table: 32 KiB.
const PLACES: usize = 4096;

/// A larger entry is not held here, so that what the table keeps alive beyond the budget of the store stays
/// under 16 MiB.
const ENTRY_BYTES_MAX: u32 = 4096;

/// The table of one worker.
#[derive(Debug)]
pub(super) struct HotSet {
    places: Box<[Option<Arc<Entry>>]>,
}

// === impl HotSet ===

impl HotSet {
    pub(super) fn new() -> HotSet {
        HotSet { places: std::iter::repeat_with(|| None).take(PLACES).collect() }
    }

    /// What stands in the place of this hash: perhaps the entry of another key.
    #[inline]
    pub(super) fn get(&self, hash: u64) -> Option<&Arc<Entry>> {
        self.places[place(hash)].as_ref()
    }

    /// Puts `entry` into its place, unless it is too large.
    pub(super) fn put(&mut self, hash: u64, entry: &Arc<Entry>) {
        if entry.weight() <= ENTRY_BYTES_MAX {
            self.places[place(hash)] = Some(entry.clone());
        }
    }

    /// Empties the place of this hash.
    pub(super) fn clear(&mut self, hash: u64) {
        self.places[place(hash)] = None;
    }
}

fn place(hash: u64) -> usize {
    hash as usize % PLACES
}
