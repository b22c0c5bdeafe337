//! The entries that one worker hit last, in a table of small sets before the store.
//!
//! A look costs an index and some comparisons in one line of memory, where moka's `get` keeps a log of reads that all
//! workers share. An entry carries all that decides whether it may be served, so the table may be late in hearing what the
//! store let go; until it has, such an entry takes memory, and how many there are is bounded
//! ([`GONE_MAX`](super::gone::GONE_MAX)).

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::entry::Entry;
use super::gone::Taken;

/// A larger entry is not held here, so that what the store let go and the table still holds stays under 16 MiB.
const ENTRY_BYTES_MAX: u32 = 16 * 1024;

/// Entries that share a set.
const WAYS: usize = 4;

/// One set for so many bytes of L1: between one and two places for each small entry, which take 3 to 6 % of what L1 may take.
const BYTES_PER_SET: u64 = 1_024;

/// How many sets there are: 64 KiB of them at first, and 32 MiB at most.
const SETS: RangeInclusive<usize> = 1 << 10..=1 << 19;

/// The table of one worker.
#[derive(Debug)]
pub(super) struct HotSet {
    /// A power of two of them.
    sets: Box<[Set]>,
    sets_max: usize,
    /// How many places are taken.
    taken: usize,
}

/// What came last stands first. A line of memory, with the hashes of the keys so that other entries need not be touched.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Set([Place; WAYS]);

#[derive(Debug, Default)]
struct Place {
    /// The hash of the entry's key.
    hash: u64,
    entry: Option<Arc<Entry>>,
}

// === impl HotSet ===

impl HotSet {
    /// A table for an L1 of so many bytes. It grows with what is hit.
    pub(super) fn new(bytes_max: u64) -> HotSet {
        let wanted = usize::try_from(bytes_max / BYTES_PER_SET).unwrap_or(usize::MAX);
        let sets_max = 1 << wanted.clamp(*SETS.start(), *SETS.end()).ilog2();
        HotSet { sets: sets(*SETS.start()), sets_max, taken: 0 }
    }

    /// The entry with this hash, if it is here.
    #[inline]
    pub(super) fn get(&self, hash: u64) -> Option<&Arc<Entry>> {
        let found = |place: &&Place| place.hash == hash && place.entry.is_some();
        self.sets[self.index(hash)].0.iter().find(found)?.entry.as_ref()
    }

    /// Brings the set of this hash into the cache of the CPU. The number means nothing.
    #[inline]
    pub(super) fn touch(&self, hash: u64) -> u64 {
        self.sets[self.index(hash)].0[0].hash
    }

    /// Puts `entry` first in its set, unless it is too large.
    pub(super) fn put(&mut self, hash: u64, entry: &Arc<Entry>) {
        if entry.weight() > ENTRY_BYTES_MAX {
            return;
        }
        if self.taken > self.sets.len() * WAYS / 2 && self.sets.len() < self.sets_max {
            self.grow();
        }
        self.take(Place { hash, entry: Some(entry.clone()) });
    }

    /// Lets go of what has gone from the store.
    pub(super) fn let_go(&mut self, gone: Taken<'_>) {
        match gone {
            Taken::Some(hashes) => hashes.iter().for_each(|hash| self.clear(*hash)),
            Taken::All => {
                self.sets = sets(*SETS.start());
                self.taken = 0;
            }
        }
    }

    /// Lets the entry with this hash go.
    pub(super) fn clear(&mut self, hash: u64) {
        let index = self.index(hash);
        for place in self.sets[index].0.iter_mut().filter(|place| place.hash == hash) {
            self.taken -= usize::from(place.entry.take().is_some());
        }
    }

    fn take(&mut self, place: Place) {
        let index = self.index(place.hash);
        let set = &mut self.sets[index].0;
        let free = set.iter().position(|other| other.hash == place.hash || other.entry.is_none());
        // The last one has to go if there is no other.
        let at = free.unwrap_or(WAYS - 1);
        self.taken += usize::from(set[at].entry.is_none());
        set[at] = place;
        set[..=at].rotate_right(1);
    }

    /// Twice as many sets. Takes a millisecond or so where there are many, and happens a few times in all.
    fn grow(&mut self) {
        let twice = sets(self.sets.len() * 2);
        let former = std::mem::replace(&mut self.sets, twice);
        self.taken = 0;
        let places = former.into_iter().flat_map(|set| set.0.into_iter().rev());
        places.filter(|place| place.entry.is_some()).for_each(|place| self.take(place));
    }

    #[inline]
    fn index(&self, hash: u64) -> usize {
        hash as usize & (self.sets.len() - 1)
    }
}

fn sets(count: usize) -> Box<[Set]> {
    std::iter::repeat_with(Set::default).take(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near_cache::tests::small_entry;

    fn has(hot: &HotSet, hash: u64) -> bool {
        hot.get(hash).is_some()
    }

    #[test]
    fn of_those_that_share_a_set_the_one_that_came_first_goes() {
        let (mut hot, entry) = (HotSet::new(0), small_entry());
        let step = *SETS.start() as u64;
        (0..=WAYS as u64).for_each(|number| hot.put(number * step, &entry));
        assert!(!has(&hot, 0) && (1..=WAYS as u64).all(|number| has(&hot, number * step)));
        hot.put(step, &entry);
        assert_eq!(hot.taken, WAYS, "the same key has one place");
        hot.clear(step);
        assert!(!has(&hot, step) && hot.taken == WAYS - 1);
    }

    #[test]
    fn it_grows_with_what_is_hit_up_to_its_bound_and_loses_nothing_by_that() {
        let bytes = 4 * *SETS.start() as u64 * BYTES_PER_SET;
        let (mut hot, entry) = (HotSet::new(bytes), small_entry());
        let many = (*SETS.start() * WAYS) as u64;
        (0..many).for_each(|hash| hot.put(hash, &entry));
        assert!(hot.sets.len() > *SETS.start() && (0..many).all(|hash| has(&hot, hash)));
        (0..8 * many).for_each(|hash| hot.put(hash, &entry));
        assert_eq!(hot.sets.len(), 4 * SETS.start());
        assert_eq!(hot.taken, hot.sets.len() * WAYS);
        hot.let_go(Taken::Some(&[8 * many - 1]));
        assert!(!has(&hot, 8 * many - 1) && has(&hot, 8 * many - 2));
        hot.let_go(Taken::All);
        assert!(!has(&hot, 8 * many - 2) && hot.taken == 0);
        assert_eq!(Arc::strong_count(&entry), 1);
    }
}
