//! Which entries are reinserted into a queue of S3-FIFO, by the hits that they had.
//!
//! One hit pays for one round of an entry of average size. A larger entry needs more hits and a smaller one
//! fewer, so the memory serves the most hits. An entry with too few hits stays with a probability: the share
//! of the cost that its hits pay. So a large value can come in even where all others are small.

/// The cost of a round at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReinsertionCost {
    /// Bytes of the average key.
    mean: u64,
    /// The time, in ticks.
    now: u32,
}

/// The cost of one hit. The hits that a round takes are rounded up or down at random.
const HIT: u64 = 256;

/// The least cost of a round: even a small entry goes in the end when it is not hit any more.
const COST_MIN: u64 = HIT / 2;

// === impl ReinsertionCost ===

impl ReinsertionCost {
    /// The cost while `keys` keys have `bytes` bytes.
    pub(super) fn new(bytes: u64, keys: u64, now: u32) -> ReinsertionCost {
        ReinsertionCost { mean: (bytes / keys.max(1)).max(1), now }
    }

    /// Whether a key that was evicted recently and returns goes into the main queue at once. The larger it
    /// is, the more seldom it does.
    pub(super) fn admits_returning(self, bytes: usize) -> bool {
        fastrand::u64(..(bytes as u64).max(1)) < self.mean
    }

    /// The hits that an entry has left after it paid for one more round; `None` if its hits are too few. Its
    /// last round began at tick `since`, and it expires at tick `deadline`. An entry that expires before the
    /// round ends pays for the whole round, since its bytes stay until then.
    pub(super) fn hits_left(self, hits: u8, bytes: usize, since: u32, deadline: u32) -> Option<u8> {
        let round = u64::from(self.now.wrapping_sub(since)).max(1);
        let left = u64::from(deadline.wrapping_sub(self.now)).clamp(1, round);
        let cost = (bytes as u64 * HIT / self.mean).max(COST_MIN).saturating_mul(round) / left;
        let paid = u64::from(hits) * HIT;
        if cost > paid {
            return (fastrand::u64(..cost) < paid).then_some(0);
        }
        Some(hits.saturating_sub(((cost + fastrand::u64(..HIT)) / HIT) as u8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAR: u32 = 1 << 20;
    const TIMES: u32 = 20_000;

    /// How often of so many times an entry stays, in percent, and how many hits that takes on the average.
    fn mean(reinsertion: ReinsertionCost, hits: u8, bytes: usize, since: u32, deadline: u32) -> (f64, f64) {
        let left: Vec<u8> =
            (0..TIMES).filter_map(|_| reinsertion.hits_left(hits, bytes, since, deadline)).collect();
        let all: u32 = left.iter().map(|left| u32::from(*left)).sum();
        (100.0 * left.len() as f64 / f64::from(TIMES), f64::from(hits) - f64::from(all) / left.len() as f64)
    }

    fn assert_near((stays, paid): (f64, f64), (expected_stays, expected_paid): (f64, f64)) {
        assert!((stays - expected_stays).abs() < 3.0, "{stays} % for {expected_stays} %");
        assert!((paid - expected_paid).abs() < 0.05, "{paid} hits for {expected_paid}");
    }

    #[test]
    fn a_round_is_paid_by_bytes_or_had_by_chance() {
        let reinsertion = ReinsertionCost::new(200_000, 1_000, 5_000);
        for (hits, bytes, stays, paid) in [
            (1, 200, 100.0, 1.0),
            (3, 200, 100.0, 1.0),
            (3, 500, 100.0, 2.5),
            (3, 150, 100.0, 0.75),
            (3, 10, 100.0, 0.5),
            (1, 400, 50.0, 1.0),
            (3, 2_400, 25.0, 3.0),
        ] {
            assert_near(mean(reinsertion, hits, bytes, 4_000, FAR), (stays, paid));
        }
    }

    #[test]
    fn what_ends_before_the_round_pays_for_all_of_it() {
        let reinsertion = ReinsertionCost::new(200_000, 1_000, 5_000);
        // It lasts for all of the next round, for half of it, for a tenth, for no time at all.
        assert_near(mean(reinsertion, 3, 200, 4_000, 6_000), (100.0, 1.0));
        assert_near(mean(reinsertion, 3, 200, 4_000, 5_500), (100.0, 2.0));
        assert_near(mean(reinsertion, 3, 200, 4_000, 5_100), (30.0, 3.0));
        assert!(mean(reinsertion, 3, 200, 4_000, 5_000).0 < 3.0);
        // It came in this tick, and nothing is known of rounds; and ticks wrap.
        assert_near(mean(reinsertion, 3, 200, 5_000, 5_001), (100.0, 1.0));
        let reinsertion = ReinsertionCost::new(200_000, 1_000, 500);
        assert_near(mean(reinsertion, 3, 200, u32::MAX - 499, 1_000), (100.0, 2.0));
        // The largest numbers there can be.
        let reinsertion = ReinsertionCost::new(1, 1, u32::MAX - 1);
        assert!(mean(reinsertion, 3, 1 << 29, 0, u32::MAX).0 < 1.0);
    }

    #[test]
    fn who_comes_again_is_let_in_the_rarer_the_larger() {
        let reinsertion = ReinsertionCost::new(200_000, 1_000, 0);
        let part = |bytes| (0..10_000).filter(|_| reinsertion.admits_returning(bytes)).count();
        assert_eq!((part(0), part(200)), (10_000, 10_000));
        assert!((2_200..2_800).contains(&part(800)), "{}", part(800));
        // Nothing is known while nothing is kept.
        assert!(ReinsertionCost::new(0, 0, 0).admits_returning(1));
    }
}
