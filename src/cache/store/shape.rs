//! The shape of the index: how many homes there are, and which of them belongs to a key.

use super::line::{OFFSET_MAX, TAG_BITS};

/// How many homes there are, how many bits of a hash choose a group, and how often the homes became fewer: a
/// line that was removed and added again counts as another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape(pub(super) u64);

const HOMES_BITS: u32 = 40;
const HOMES_MASK: u64 = (1 << HOMES_BITS) - 1;
const GROUP_BITS_BITS: u32 = 6;
const TIMES_SHIFT: u32 = HOMES_BITS + GROUP_BITS_BITS;

/// The least number of lines of a group, which has fewer than twice as many.
pub(super) const GROUP_LINES: usize = 4;
const GROUP_LINES_BITS: u32 = GROUP_LINES.trailing_zeros();

/// There are never fewer homes. Lines of one group are so far from each other that no line lies behind two of
/// them.
pub(super) const HOMES_MIN: usize = GROUP_LINES * 2 * (OFFSET_MAX + 1);

// === impl Shape ===

impl Shape {
    pub(super) fn of(homes: usize, times: u64) -> Shape {
        let bits = homes.ilog2() - GROUP_LINES_BITS;
        Shape(times << TIMES_SHIFT | u64::from(bits) << HOMES_BITS | homes as u64 & HOMES_MASK)
    }

    #[inline]
    pub(super) fn homes(self) -> usize {
        (self.0 & HOMES_MASK) as usize
    }

    #[inline]
    pub(super) fn group_bits(self) -> u32 {
        (self.0 >> HOMES_BITS) as u32 & ((1 << GROUP_BITS_BITS) - 1)
    }

    /// The home line of the key with this hash.
    #[inline]
    pub(super) fn home(self, hash: u64) -> usize {
        let (homes, bits) = (self.homes(), self.group_bits());
        let mask = (1 << bits) - 1;
        let group = hash as usize & mask;
        let has_more = group < (homes & mask);
        let lines = (homes >> bits) + usize::from(has_more);
        let column = if lines < 2 * GROUP_LINES {
            ((hash >> (u64::BITS - TAG_BITS)) as usize * lines) >> TAG_BITS
        } else {
            // Of the two groups of the next round, that which the next bit of the hash names.
            2 * (hash >> (u64::BITS - GROUP_LINES_BITS)) as usize + ((hash >> bits) & 1) as usize
        };
        column << bits | group
    }

    pub(super) fn changed(self, homes: usize) -> Shape {
        // It wraps after 2^18 times; no reader of a line takes that long.
        Shape::of(homes, (self.0 >> TIMES_SHIFT) + u64::from(homes < self.homes()))
    }
}
