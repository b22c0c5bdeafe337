//! The ghost queue: keys that were evicted recently, by 16 bits of the hash of each.

/// Keys of one set.
const WAYS: u32 = 8;
const PART_BITS: u32 = u128::BITS / WAYS;
const PART_MASK: u128 = (1 << PART_BITS) - 1;

/// The number of sets grows by at least one part in this many.
const STEPS: usize = 8;

/// What is remembered. A set is a queue: the parts of the hashes of its last keys, the newest in the lowest
/// bits; 0 is none.
#[derive(Debug, Default)]
pub(super) struct Ghost {
    sets: Box<[u128]>,
}

// === impl Ghost ===

impl Ghost {
    /// Remembers about as many departures as there are entries. What was remembered is forgotten when that
    /// takes another amount of memory.
    pub(super) fn fit(&mut self, entries: usize) {
        let sets = entries.div_ceil(WAYS as usize);
        let sets = sets.next_multiple_of((sets.next_power_of_two() / STEPS).max(1));
        if sets > self.sets.len() || sets < self.sets.len() / 4 {
            self.sets = vec![0; sets].into();
        }
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.sets)
    }

    pub(super) fn clear(&mut self) {
        self.sets = Box::default();
    }

    /// The key with this hash goes. The oldest of its set is forgotten.
    pub(super) fn put(&mut self, hash: u64) {
        if let Some(set) = self.set(hash) {
            *set = *set << PART_BITS | part(hash);
        }
    }

    /// Whether the key with this hash went not long ago; it is not remembered any more.
    pub(super) fn take(&mut self, hash: u64) -> bool {
        let Some(set) = self.set(hash) else { return false };
        let is_it = |way: &u32| *set >> (way * PART_BITS) & PART_MASK == part(hash);
        let Some(way) = (0..WAYS).find(is_it) else { return false };
        let newer = *set & ((1 << (way * PART_BITS)) - 1);
        // In two steps: a shift by all bits is none.
        let older = *set >> (way * PART_BITS) >> PART_BITS << (way * PART_BITS);
        *set = older | newer;
        true
    }

    fn set(&mut self, hash: u64) -> Option<&mut u128> {
        let at = (u64::from(hash as u32) * self.sets.len() as u64) >> u32::BITS;
        self.sets.get_mut(at as usize)
    }
}

/// Never 0: that is none.
fn part(hash: u64) -> u128 {
    u128::from(hash >> (u64::BITS - PART_BITS)) | 1
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
    fn the_oldest_of_a_set_is_forgotten_and_one_that_came_again_leaves_the_others() {
        let mut ghost = Ghost::default();
        ghost.fit(1);
        assert_eq!(ghost.bytes(), 16, "one set");
        let keys: Vec<u64> = (1..=9).map(|number| number << 50).collect();
        keys.iter().for_each(|key| ghost.put(*key));
        assert!(!ghost.take(keys[0]), "it was the ninth to last");
        for at in [8, 1, 5] {
            assert!(ghost.take(keys[at]) && !ghost.take(keys[at]), "{at}");
        }
        assert!([2, 3, 4, 6, 7].into_iter().all(|at| ghost.take(keys[at])));
    }

    #[test]
    fn its_memory_follows_the_entries() {
        let mut ghost = Ghost::default();
        assert_eq!(ghost.bytes(), 0);
        ghost.fit(1_000);
        assert_eq!(ghost.bytes(), 128 * 16);
        ghost.fit(900);
        assert_eq!(ghost.bytes(), 128 * 16);
        ghost.fit(1_030);
        assert_eq!(ghost.bytes(), 160 * 16);
        ghost.fit(100);
        assert_eq!(ghost.bytes(), 14 * 16);
        ghost.clear();
        assert_eq!(ghost.bytes(), 0);
    }
}
