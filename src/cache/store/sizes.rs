//! How much of what there is for a budget of bytes.

use std::ops::Range;

use super::index::{Index, LINE_BYTES};
use super::line::PLACES;
use super::pages::Pages;
use super::shape::HOMES_MIN;

/// The sizes of one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) budget: u64,
    /// A power of two.
    pub(super) segment_bytes: usize,
    /// Segments there are room for among the addresses: two more than the budget has, for what moves while a
    /// segment is emptied.
    pub(super) segments: usize,
    lines_min: usize,
    lines_max: usize,
}

pub(super) const WORD_BYTES: usize = 8;

/// The number of segments in the budget, unless they would be too small or too large.
const SEGMENTS: u64 = 256;
const SEGMENT_BYTES_MIN: u64 = 1 << 10;
const SEGMENT_BYTES_MAX: u64 = 1 << 20;

/// Spots of the log are numbers of words below those of large replies.
const BUDGET_MAX: u64 = 1 << 41;

/// The least number of bytes that an entry takes, with its place.
const ENTRY_BYTES_MIN: u64 = 40;

/// An empty index has lines for one part in this many of the budget: the fewer there are, the more fills of
/// other keys an invalidation ends.
const EMPTY_PART: u64 = 256;
const EMPTY_LINES_MAX: u64 = 1 << 14;

/// An entry of the log takes at most one part in this many of a segment: so little is left over at the end of
/// a segment.
const ENTRIES_PER_SEGMENT: usize = 8;

// === impl Sizes ===

impl Sizes {
    pub(super) fn of(budget: u64) -> Sizes {
        let budget = budget.min(BUDGET_MAX);
        let segment_bytes =
            (budget / SEGMENTS).next_power_of_two().clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
        let segments = budget / segment_bytes + 2;
        let lines_min = (budget / EMPTY_PART / LINE_BYTES as u64).next_power_of_two();
        let lines_min = lines_min.clamp(HOMES_MIN as u64, EMPTY_LINES_MAX);
        let lines_max = budget / ENTRY_BYTES_MIN / 4;
        Sizes {
            budget,
            segment_bytes: segment_bytes as usize,
            segments: segments as usize,
            lines_min: lines_min as usize,
            lines_max: lines_max.max(lines_min) as usize,
        }
    }

    /// These sizes with an index that never grows.
    #[cfg(test)]
    pub(super) fn without_growth(self) -> Sizes {
        Sizes { lines_max: self.lines_min, ..self }
    }

    /// Reserves memory of these sizes. None of it is in use yet.
    pub(super) fn memory(self) -> std::io::Result<(Sizes, Index, Pages)> {
        let index = Index::new(self.lines_min, self.lines_max)?;
        let log = Pages::new(self.segments * self.segment_words())?;
        Ok((self, index, log))
    }

    #[inline]
    pub(super) fn segment_words(&self) -> usize {
        self.segment_bytes / WORD_BYTES
    }

    /// Words of the largest entry of the log.
    pub(super) fn entry_words_max(&self) -> usize {
        self.segment_words() / ENTRIES_PER_SEGMENT
    }

    /// The words of a segment.
    pub(super) fn words(&self, segment: u32) -> Range<usize> {
        let start = segment as usize * self.segment_words();
        start..start + self.segment_words()
    }

    /// In which segment a spot of the log lies.
    #[inline]
    pub(super) fn segment_of(&self, spot: u64) -> usize {
        spot as usize / self.segment_words()
    }

    /// Bytes of a place of the index and of its part of the ghost queue, at the load that the index is kept
    /// at.
    pub(super) fn place_bytes(&self) -> usize {
        LINE_BYTES * 4 / 3 / PLACES + 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::store::large::LargeEntries;

    #[test]
    fn the_largest_budget_has_a_number_for_all_that_it_has_room_for() {
        for budget in [1 << 40, BUDGET_MAX, u64::MAX] {
            let sizes = Sizes::of(budget);
            let last = sizes.segments as u64 * sizes.segment_words() as u64 - 1;
            assert!(!LargeEntries::has_spot(last), "{budget}");
            assert!(u32::try_from(sizes.segments).is_ok());
            assert_eq!(sizes.segment_of(last), sizes.segments - 1);
            assert!(sizes.lines_max as u64 * PLACES as u64 > 1 << 32, "more than 2^32 entries");
        }
    }

    #[test]
    fn the_smallest_budget_has_all_that_a_store_needs() {
        for budget in [0, 1, 4_096, 1 << 20] {
            let sizes = Sizes::of(budget);
            assert!(sizes.lines_min >= HOMES_MIN && sizes.lines_max >= sizes.lines_min);
            assert!(sizes.segments >= 2 && sizes.entry_words_max() > 0);
        }
    }
}
