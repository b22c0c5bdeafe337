//! Drops the entries of all keys with a prefix, or counts the entries of all keys: a few lines of the index
//! at a time, so that sessions get their turn in between.

use bytes::Bytes;

use super::miss_reason::MissReason;
use super::shared::SharedCache;
use crate::clock::Nanos;

/// Lines of the index in one step.
const LINES_PER_STEP: usize = 256;

/// The most passes over all lines. An entry may move to a line that was passed already, so the lines are
/// passed again until a pass finds nothing.
const PASSES_MAX: u32 = 4;

/// A walk over all entries.
#[derive(Debug)]
pub struct Flush {
    /// The prefix; `None` counts the entries of all keys and drops none.
    prefix: Option<Bytes>,
    now: Nanos,
    line: usize,
    pass: u32,
    dropped_in_pass: u64,
    served: u64,
}

// === impl Flush ===

impl Flush {
    /// Counts the keys whose entries would be served at `now`, and drops those that begin with `prefix`, if
    /// there is one.
    pub fn new(prefix: Option<Bytes>, now: Nanos) -> Flush {
        Flush { prefix, now, line: 0, pass: 1, dropped_in_pass: 0, served: 0 }
    }

    /// How many keys L1 would have served, of those that were passed so far.
    pub fn served(&self) -> u64 {
        self.served
    }

    /// Does one step. Returns true when all is done. A reply of a read that runs meanwhile may be kept.
    pub fn step(&mut self, cache: &SharedCache) -> bool {
        let Flush { prefix, now, .. } = self;
        let mut named = Vec::new();
        let epochs = cache.store.epochs();
        let next = cache.store.look_through(self.line, LINES_PER_STEP, |replies, _| {
            let is_live =
                replies.iter().any(|stored| cache.why_dead_by(&epochs, stored.head, *now).is_none());
            match (&prefix, replies.first()) {
                (None, _) => self.served += u64::from(is_live),
                (Some(prefix), Some(stored)) if stored.key.starts_with(prefix) => {
                    named.push((stored.key.clone(), is_live));
                }
                (Some(_), _) => {}
            }
        });
        for (key, is_live) in named {
            let is_gone = cache.invalidate_key(&key, MissReason::Flushed);
            self.dropped_in_pass += u64::from(is_gone);
            self.served += u64::from(is_gone && is_live);
        }
        self.line = next.unwrap_or(0);
        next.is_none() && !self.begins_anew()
    }

    fn begins_anew(&mut self) -> bool {
        let found = std::mem::take(&mut self.dropped_in_pass);
        self.pass += 1;
        found > 0 && self.pass <= PASSES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::tests::{LIMITS, fill, get, live, served, shared, worker};
    use crate::clock;

    const KEYS: usize = 3_000;

    /// Keys that may find no place, since the lines of the index that they may lie in are full.
    const WITHOUT_PLACE_MAX: usize = 10;

    fn name(number: usize) -> String {
        let prefix = if number.is_multiple_of(3) { "one" } else { "other" };
        format!("{prefix}:{number}")
    }

    #[test]
    fn all_keys_of_a_prefix_go_and_no_others_whatever_comes_between_the_steps() {
        let shared = shared(LIMITS);
        let (cache, epoch) = (worker(&shared), live());
        for number in 0..KEYS {
            fill(&cache, &get(&name(number)), "value", &epoch);
        }
        let mut count = Flush::new(None, clock::now());
        while !count.step(&shared) {}
        let is_nearly =
            |served: u64, keys: usize| (keys - WITHOUT_PLACE_MAX..=keys).contains(&(served as usize));
        assert!(is_nearly(count.served(), KEYS), "{}", count.served());

        let mut flush = Flush::new(Some(Bytes::from_static(b"one")), clock::now());
        let mut steps = 1;
        while !flush.step(&shared) {
            // The index grows meanwhile, and entries move.
            for number in 0..50 {
                fill(&cache, &get(&format!("new:{steps}:{number}")), "value", &epoch);
            }
            steps += 1;
        }
        assert!(steps > 2 * shared.size().0 as usize / LINES_PER_STEP / 8, "{steps}: it was done at once");
        assert!(is_nearly(flush.served(), KEYS.div_ceil(3)), "{}", flush.served());
        let is_served = |number: &usize| served(&cache, &get(&name(*number))).is_some();
        let (of_prefix, others): (Vec<_>, Vec<_>) = (0..KEYS).partition(|number| number.is_multiple_of(3));
        assert_eq!(of_prefix.iter().find(|number| is_served(number)), None);
        assert!(is_nearly(others.iter().filter(|number| is_served(number)).count() as u64, others.len()));
    }
}
