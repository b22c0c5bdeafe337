//! Ticks: the unit in which an entry keeps its deadline.

use crate::clock::Nanos;

/// A tick is 2 to the power of this many nanoseconds: about a millisecond. Ticks wrap after 52 days, and a
/// deadline may be half of that away.
pub(super) const TICK_BITS: u32 = 20;

/// No entry is kept for longer: 24 days.
pub(in crate::cache) const TIME_MAX: Nanos = 24 * 24 * 3_600 * 1_000_000_000;

/// The tick of an instant.
#[inline]
pub(in crate::cache) fn tick(at: Nanos) -> u32 {
    (at >> TICK_BITS) as u32
}
