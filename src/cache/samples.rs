//! Samples of hits, which shadow verification compares with the server.

use std::cell::RefCell;
use std::collections::VecDeque;

use bytes::Bytes;
use tokio::sync::Notify;

use super::entry::{CacheQuery, CommandId};
use crate::protocol::resp::cursor;

/// Samples that may wait to be compared; further ones are dropped.
pub const SAMPLES_MAX: usize = 64;

/// The smallest share of the hits: one in 2 to the power of this.
const RAREST_LOG2: f64 = 40.0;

/// A hit.
#[derive(Debug)]
pub struct Sample {
    /// The command that was answered.
    pub command: CommandId,
    /// The arguments after the command's name, as in [`CacheQuery`].
    pub tail: Box<[u8]>,
    /// The reply that was served, in RESP3.
    pub served: Bytes,
    /// The spot of its entry.
    pub(super) spot: u64,
}

/// The samples of one worker.
#[derive(Debug)]
pub(super) struct Samples {
    /// A hit may be sampled when none of these bits is set in the number of hits, so nearly all hits cost
    /// nothing.
    mask: u64,
    /// The probability that such a hit is sampled, so that the share is exact.
    chance: f64,
    waiting: RefCell<VecDeque<Sample>>,
    news: Notify,
}

// === impl Sample ===

impl Sample {
    /// The key.
    pub fn key(&self) -> &[u8] {
        cursor::strings(&self.tail).next().unwrap_or_default()
    }

    pub(super) fn query(&self) -> CacheQuery<'_> {
        CacheQuery { command: self.command, key: self.key(), args: &self.tail }
    }
}

// === impl Samples ===

impl Samples {
    /// Samples of this share of the hits, above 0 and up to 1.
    pub(super) fn new(fraction: f64) -> Samples {
        let one_in = 1_u64 << (1.0 / fraction).log2().clamp(0.0, RAREST_LOG2) as u32;
        let chance = fraction * one_in as f64;
        Samples { mask: one_in - 1, chance, waiting: RefCell::default(), news: Notify::new() }
    }

    /// Hits from one that may be sampled to the next.
    pub(super) fn one_in(&self) -> u64 {
        self.mask + 1
    }

    fn is_turn_of(&self, hits: u64) -> bool {
        hits & self.mask == 0 && (self.chance >= 1.0 || fastrand::f64() < self.chance)
    }

    /// Samples the hit of this number, if it is its turn. Returns whether there was no room for it.
    pub(super) fn check(&self, hits: u64, query: &CacheQuery<'_>, spot: u64, reply: Bytes) -> bool {
        if !self.is_turn_of(hits) {
            return false;
        }
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() >= SAMPLES_MAX {
            return true;
        }
        let (command, tail) = (query.command, query.args.into());
        waiting.push_back(Sample { command, tail, served: reply, spot });
        self.news.notify_one();
        false
    }

    /// The next sample, when there is one.
    pub(super) async fn next(&self) -> Sample {
        loop {
            if let Some(sample) = self.waiting.borrow_mut().pop_front() {
                return sample;
            }
            self.news.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_that_is_taken_is_the_part_that_was_asked_for() {
        const HITS: u64 = 1 << 20;
        for fraction in [1.0, 0.9, 0.7, 0.5, 0.3, 0.25, 0.1, 0.03, 0.01] {
            let samples = Samples::new(fraction);
            let taken = (0..HITS).filter(|hits| samples.is_turn_of(*hits)).count() as f64;
            // Ten times what chance moves it by.
            let (wanted, error) = (fraction * HITS as f64, 10.0 * (fraction * HITS as f64).sqrt());
            assert!((taken - wanted).abs() <= error, "{fraction}: {taken} of {HITS}");
            assert!(fraction < 1.0 || taken == HITS as f64, "{taken}");
        }
        assert_eq!(Samples::new(f64::MIN_POSITIVE).one_in(), 1 << 40);
        assert_eq!((Samples::new(0.01).one_in(), Samples::new(1.0).one_in()), (64, 1));
    }
}
