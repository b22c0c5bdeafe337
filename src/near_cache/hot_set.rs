//! The entries that one worker hit last, in a table of pairs of places before the store.
//!
//! A look costs an index and a comparison, where moka's `get` keeps a log of reads that all workers share. An entry
//! carries all that decides whether it may be served, so the table may be late in hearing what the store let go; until it
//! has, such an entry takes memory, and how many there are is bounded ([`GONE_MAX`](super::gone::GONE_MAX)).

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::entry::Entry;
use super::gone::Taken;

/// A larger entry is not held here, so that what the store let go and the table still holds stays under 16 MiB.
const ENTRY_BYTES_MAX: u32 = 16 * 1024;

/// One place for so many bytes of L1: about two for each small entry, which take 6 % of what L1 may take.
const BYTES_PER_PLACE: u64 = 256;

/// How many places there are: 64 KiB of them at first, and 32 MiB at most.
const PLACES: RangeInclusive<usize> = 1 << 12..=1 << 21;

/// The table of one worker.
#[derive(Debug)]
pub(super) struct HotSet {
    /// A power of two. An entry stands in one of two that are next to each other.
    places: Box<[Place]>,
    places_max: usize,
    /// How many of them are taken.
    taken: usize,
}

#[derive(Debug, Default)]
struct Place {
    /// The hash of the entry's key, so that the entry of another key need not be touched.
    hash: u64,
    entry: Option<Arc<Entry>>,
}

// === impl HotSet ===

impl HotSet {
    /// A table for an L1 of so many bytes. It grows with what is hit.
    pub(super) fn new(bytes_max: u64) -> HotSet {
        let wanted = usize::try_from(bytes_max / BYTES_PER_PLACE).unwrap_or(usize::MAX);
        let places_max = 1 << wanted.clamp(*PLACES.start(), *PLACES.end()).ilog2();
        HotSet { places: places(*PLACES.start()), places_max, taken: 0 }
    }

    /// The entry with this hash, if it is here.
    #[inline]
    pub(super) fn get(&self, hash: u64) -> Option<&Arc<Entry>> {
        let first = self.first(hash);
        let at = |place: &Place| place.hash == hash && place.entry.is_some();
        let pair = &self.places[first..first + 2];
        let place = if at(&pair[0]) { &pair[0] } else { &pair[1] };
        place.entry.as_ref().filter(|_| place.hash == hash)
    }

    /// Brings the places of this hash into the cache of the CPU. The number means nothing.
    #[inline]
    pub(super) fn touch(&self, hash: u64) -> u64 {
        self.places[self.first(hash)].hash
    }

    /// Puts `entry` into the first of its places, unless it is too large. What stood there moves over.
    pub(super) fn put(&mut self, hash: u64, entry: &Arc<Entry>) {
        if entry.weight() > ENTRY_BYTES_MAX {
            return;
        }
        if self.taken > self.places.len() / 2 && self.places.len() < self.places_max {
            self.grow();
        }
        self.take(Place { hash, entry: Some(entry.clone()) });
    }

    /// Lets go of what has gone from the store.
    pub(super) fn let_go(&mut self, gone: Taken<'_>) {
        match gone {
            Taken::Some(hashes) => hashes.iter().for_each(|hash| self.clear(*hash)),
            Taken::All => {
                self.places = places(*PLACES.start());
                self.taken = 0;
            }
        }
    }

    /// Lets the entry with this hash go.
    pub(super) fn clear(&mut self, hash: u64) {
        let first = self.first(hash);
        for place in &mut self.places[first..first + 2] {
            if place.hash == hash && place.entry.take().is_some() {
                self.taken -= 1;
            }
        }
    }

    fn take(&mut self, place: Place) {
        let first = self.first(place.hash);
        if self.places[first].hash != place.hash {
            self.places.swap(first, first + 1);
        }
        let former = std::mem::replace(&mut self.places[first], place);
        self.taken += usize::from(former.entry.is_none());
    }

    /// Twice as many places. Takes a millisecond or so where there are many, and happens a few times in all.
    fn grow(&mut self) {
        let twice = places(self.places.len() * 2);
        let former = std::mem::replace(&mut self.places, twice);
        self.taken = 0;
        former.into_iter().filter(|place| place.entry.is_some()).for_each(|place| self.take(place));
    }

    #[inline]
    fn first(&self, hash: u64) -> usize {
        hash as usize & (self.places.len() - 2)
    }
}

fn places(count: usize) -> Box<[Place]> {
    std::iter::repeat_with(Place::default).take(count).collect()
}
