//! What an entry pays for its room, in hits.
//!
//! One hit pays for as many bytes as a key has on the average, for as long as it takes to go round a queue
//! once. So what is larger has to be hit more often to stay, what is smaller less, and the memory serves the
//! most hits. Who cannot pay all of it stays by that chance: what is large all of the time comes in, however
//! small the rest is.

/// The price of bytes at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Price {
    /// Bytes that a key has on the average.
    mean: u64,
    /// In ticks.
    now: u32,
}

/// What is paid is rounded up or down by chance, in such steps.
const HIT: u64 = 256;

/// The least that is paid: what was hit long ago and is small goes in the end.
const PRICE_MIN: u64 = HIT / 2;

// === impl Price ===

impl Price {
    /// Where so many keys have so many bytes.
    pub(super) fn new(bytes: u64, keys: u64, now: u32) -> Price {
        Price { mean: (bytes / keys.max(1)).max(1), now }
    }

    /// Whether a key that went not long ago and comes again may go into the main queue at once: the larger,
    /// the rarer.
    pub(super) fn is_paid_by_return(self, bytes: usize) -> bool {
        fastrand::u64(..(bytes as u64).max(1)) < self.mean
    }

    /// Whether one more round is paid for by so many hits, and what is left of them then, for an entry that
    /// came here and ends at these ticks. One that ends before the round does pays for all of it: it will lie
    /// there until then. How long a round takes is known by when the entry's began.
    pub(super) fn pay(self, hits: u8, bytes: usize, since: u32, deadline: u32) -> Option<u8> {
        let round = u64::from(self.now.wrapping_sub(since)).max(1);
        let left = u64::from(deadline.wrapping_sub(self.now)).clamp(1, round);
        let price = (bytes as u64 * HIT / self.mean).max(PRICE_MIN).saturating_mul(round) / left;
        let paid = u64::from(hits) * HIT;
        if price > paid {
            return (fastrand::u64(..price) < paid).then_some(0);
        }
        Some(hits.saturating_sub(((price + fastrand::u64(..HIT)) / HIT) as u8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAR: u32 = 1 << 20;
    const TIMES: u32 = 20_000;

    /// How often of so many times an entry stays, in percent, and how many hits that takes on the average.
    fn mean(price: Price, hits: u8, bytes: usize, since: u32, deadline: u32) -> (f64, f64) {
        let left: Vec<u8> = (0..TIMES).filter_map(|_| price.pay(hits, bytes, since, deadline)).collect();
        let all: u32 = left.iter().map(|left| u32::from(*left)).sum();
        (100.0 * left.len() as f64 / f64::from(TIMES), f64::from(hits) - f64::from(all) / left.len() as f64)
    }

    fn assert_near((stays, paid): (f64, f64), (expected_stays, expected_paid): (f64, f64)) {
        assert!((stays - expected_stays).abs() < 3.0, "{stays} % for {expected_stays} %");
        assert!((paid - expected_paid).abs() < 0.05, "{paid} hits for {expected_paid}");
    }

    #[test]
    fn a_round_is_paid_by_bytes_or_had_by_chance() {
        let price = Price::new(200_000, 1_000, 5_000);
        for (hits, bytes, stays, paid) in [
            (1, 200, 100.0, 1.0),
            (3, 200, 100.0, 1.0),
            (3, 500, 100.0, 2.5),
            (3, 150, 100.0, 0.75),
            (3, 10, 100.0, 0.5),
            (1, 400, 50.0, 1.0),
            (3, 2_400, 25.0, 3.0),
        ] {
            assert_near(mean(price, hits, bytes, 4_000, FAR), (stays, paid));
        }
    }

    #[test]
    fn what_ends_before_the_round_pays_for_all_of_it() {
        let price = Price::new(200_000, 1_000, 5_000);
        // It lasts for all of the next round, for half of it, for a tenth, for no time at all.
        assert_near(mean(price, 3, 200, 4_000, 6_000), (100.0, 1.0));
        assert_near(mean(price, 3, 200, 4_000, 5_500), (100.0, 2.0));
        assert_near(mean(price, 3, 200, 4_000, 5_100), (30.0, 3.0));
        assert!(mean(price, 3, 200, 4_000, 5_000).0 < 3.0);
        // It came in this tick, and nothing is known of rounds; and ticks wrap.
        assert_near(mean(price, 3, 200, 5_000, 5_001), (100.0, 1.0));
        let price = Price::new(200_000, 1_000, 500);
        assert_near(mean(price, 3, 200, u32::MAX - 499, 1_000), (100.0, 2.0));
        // The largest numbers there can be.
        let price = Price::new(1, 1, u32::MAX - 1);
        assert!(mean(price, 3, 1 << 29, 0, u32::MAX).0 < 1.0);
    }

    #[test]
    fn who_comes_again_is_let_in_the_rarer_the_larger() {
        let price = Price::new(200_000, 1_000, 0);
        let part = |bytes| (0..10_000).filter(|_| price.is_paid_by_return(bytes)).count();
        assert_eq!((part(0), part(200)), (10_000, 10_000));
        assert!((2_200..2_800).contains(&part(800)), "{}", part(800));
        // Nothing is known while nothing is kept.
        assert!(Price::new(0, 0, 0).is_paid_by_return(1));
    }
}
