//! Which keys went out of the small queue not long ago: a part of the hash of each, in four bytes.

/// Places of one set: a key may be remembered in any of them.
const WAYS: usize = 4;

/// The age of a place is counted in so many departures.
const DEPARTURES_PER_TICK: u32 = 64;
const TICK_BITS: u32 = 12;
const TICK_MASK: u32 = (1 << TICK_BITS) - 1;

/// What is remembered. A place is a part of a hash (20 bits) and when it was put there (12 bits, which wrap).
#[derive(Debug, Default)]
pub(super) struct Ghost {
    sets: Box<[[u32; WAYS]]>,
    departures: u32,
    /// Older ones are forgotten, in ticks.
    span: u32,
}

// === impl Ghost ===

impl Ghost {
    /// Remembers about as many departures as there are entries. What was remembered is forgotten when that takes another
    /// amount of memory.
    pub(super) fn fit(&mut self, entries: usize) {
        let sets = (entries / WAYS).next_power_of_two();
        if sets > self.sets.len() || sets < self.sets.len() / 4 {
            self.sets = vec![[0; WAYS]; sets].into();
        }
        self.span = span(entries);
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.sets)
    }

    pub(super) fn clear(&mut self) {
        self.sets = Box::default();
    }

    /// The key with this hash goes.
    pub(super) fn put(&mut self, hash: u64) {
        self.departures = self.departures.wrapping_add(1);
        let now = self.now();
        let Some(set) = self.set(hash) else { return };
        let age = |place: u32| if place == 0 { u32::MAX } else { now.wrapping_sub(place) & TICK_MASK };
        let oldest = (0..WAYS).max_by_key(|at| age(set[*at])).unwrap_or(0);
        set[oldest] = part(hash) << TICK_BITS | now;
    }

    /// Whether the key with this hash went not long ago; it is not remembered any more.
    pub(super) fn take(&mut self, hash: u64) -> bool {
        let (now, span) = (self.now(), self.span);
        let Some(set) = self.set(hash) else { return false };
        let Some(place) = set.iter_mut().find(|place| **place >> TICK_BITS == part(hash)) else {
            return false;
        };
        let age = now.wrapping_sub(*place) & TICK_MASK;
        *place = 0;
        age <= span
    }

    fn now(&self) -> u32 {
        (self.departures / DEPARTURES_PER_TICK) & TICK_MASK
    }

    fn set(&mut self, hash: u64) -> Option<&mut [u32; WAYS]> {
        let mask = self.sets.len().checked_sub(1)?;
        self.sets.get_mut((hash >> 8) as usize & mask)
    }
}

/// As many departures as there are entries, in ticks. An age is known up to the wrap; the oldest of those would be taken for new
/// ones.
fn span(entries: usize) -> u32 {
    let ticks = entries / DEPARTURES_PER_TICK as usize + 1;
    ticks.min(TICK_MASK as usize - 1) as u32
}

/// Never 0: that is an empty place.
fn part(hash: u64) -> u32 {
    (hash >> 44) as u32 | 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u64) -> u64 {
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    #[test]
    fn what_went_is_known_once_and_for_a_while() {
        let mut ghost = Ghost::default();
        assert!(!ghost.take(1));
        ghost.put(1);
        assert!(!ghost.take(1), "there is no room yet");
        ghost.fit(10_000);
        (0..5_000).for_each(|number| ghost.put(hash(number)));
        let known = (0..5_000).filter(|number| ghost.take(hash(*number))).count();
        assert!(known > 4_500, "{known}");
        assert!((0..5_000).all(|number| !ghost.take(hash(number))), "once");
        let others = (5_000..10_000).filter(|number| ghost.take(hash(*number))).count();
        assert!(others < 5, "{others}");
    }

    #[test]
    fn what_went_long_ago_is_forgotten_also_when_the_clock_has_wrapped() {
        let mut ghost = Ghost::default();
        ghost.fit(1_000);
        ghost.departures = u32::MAX - 100;
        ghost.put(hash(1));
        (10..300).for_each(|number| ghost.put(hash(number)));
        assert!(ghost.departures < 1_000, "it wrapped");
        assert!(ghost.take(hash(299)));
        // All but one set are left alone.
        ghost.put(hash(1));
        ghost.departures = ghost.departures.wrapping_add(2_000);
        assert!(!ghost.take(hash(1)));
    }

    #[test]
    fn its_memory_follows_the_entries() {
        let mut ghost = Ghost::default();
        assert_eq!(ghost.bytes(), 0);
        ghost.fit(1_000);
        assert_eq!(ghost.bytes(), 256 * 16);
        ghost.fit(900);
        assert_eq!(ghost.bytes(), 256 * 16);
        ghost.fit(100);
        assert_eq!(ghost.bytes(), 32 * 16);
        ghost.clear();
        assert_eq!(ghost.bytes(), 0);
    }

    #[test]
    fn more_entries_than_a_number_of_32_bits_are_many() {
        assert_eq!((span(0), span(1_000), span((1 << 32) + 1)), (1, 16, TICK_MASK - 1));
    }
}
