//! The entries that one worker hit last, in a directly mapped table before the store.
//!
//! A look costs an index and a comparison, where the store takes a lock that all workers share. Nothing is removed from
//! here: an entry carries all that decides whether it may be served, so a place holds a stale one until it is hit or
//! replaced.

use std::sync::Arc;

use super::entry::Entry;

/// Places in the table: 256 KiB.
const PLACES: usize = 1 << 14;

/// A larger entry is not held here, so that what the table keeps alive beyond the budget of the store stays
/// under 16 MiB.
const ENTRY_BYTES_MAX: u32 = 1024;

/// One in so many entries takes the place of another. Of keys that share a place the one that is hit most is there most of
/// the time; and where far more keys are hit than there are places, few entries are moved in and out in vain.
const NEWCOMERS_PER_CHANGE: u32 = 4;

/// The table of one worker.
#[derive(Debug)]
pub(super) struct HotSet {
    places: Box<[Place]>,
    /// How many entries came that found another one in their place.
    newcomers: u32,
}

#[derive(Debug, Default)]
struct Place {
    /// The hash of the entry's key, so that the entry of another key need not be touched.
    hash: u64,
    entry: Option<Arc<Entry>>,
}

// === impl HotSet ===

impl HotSet {
    pub(super) fn new() -> HotSet {
        HotSet { places: std::iter::repeat_with(Place::default).take(PLACES).collect(), newcomers: 0 }
    }

    /// The entry with this hash, if it is here.
    #[inline]
    pub(super) fn get(&self, hash: u64) -> Option<&Arc<Entry>> {
        let place = &self.places[index(hash)];
        place.entry.as_ref().filter(|_| place.hash == hash)
    }

    /// Brings the place of this hash into the cache of the CPU. The number means nothing.
    #[inline]
    pub(super) fn touch(&self, hash: u64) -> u64 {
        self.places[index(hash)].hash
    }

    /// Puts `entry` into its place, unless it is too large or it is not its turn.
    pub(super) fn put(&mut self, hash: u64, entry: &Arc<Entry>) {
        if entry.weight() > ENTRY_BYTES_MAX {
            return;
        }
        let place = &mut self.places[index(hash)];
        if place.entry.is_some() && place.hash != hash {
            self.newcomers = self.newcomers.wrapping_add(1);
            if !self.newcomers.is_multiple_of(NEWCOMERS_PER_CHANGE) {
                return;
            }
        }
        *place = Place { hash, entry: Some(entry.clone()) };
    }

    /// Empties the place of this hash.
    pub(super) fn clear(&mut self, hash: u64) {
        self.places[index(hash)] = Place::default();
    }
}

fn index(hash: u64) -> usize {
    hash as usize % PLACES
}
