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
    use std::collections::HashSet;
    use std::sync::Arc;

    use super::*;
    use crate::cache::tests::{Cache, LIMITS, fill, get, live, served, worker};
    use crate::cache::{Commit, SharedCache};
    use crate::clock;
    use crate::node::Epoch;
    use crate::stats::WorkerStats;

    const KEYS: usize = 3_000;

    fn fill_all(cache: &Cache, names: &[String], epoch: &Epoch) {
        for name in names {
            assert_eq!(fill(cache, &get(name), "value", epoch), Commit::Kept, "{name}");
        }
    }

    fn count_served(cache: &Cache, names: &[String]) -> usize {
        names.iter().filter(|name| served(cache, &get(name)).is_some()).count()
    }

    #[test]
    fn all_keys_of_a_prefix_go_and_no_others_whatever_comes_between_the_steps() {
        // An entry is evicted when all lines of the index that are near its home are full.
        let evicting: Arc<WorkerStats> = Arc::default();
        let evicted = || evicting.l1_evictions.get() as usize;
        let shared = Arc::new(SharedCache::new(LIMITS, evicting.clone()));
        let (cache, epoch) = (worker(&shared), live());
        // An invalidation takes those with it whose tags are equal in one line of the index.
        let mut tags = HashSet::new();
        let mut names = |prefix: &str, count: usize| -> Vec<String> {
            let names = (0..).map(|number| format!("{prefix}:{number}"));
            names.filter(|name| tags.insert(shared.store.hash(name.as_bytes()) >> 48)).take(count).collect()
        };

        let (of_prefix, others) = (names("one", KEYS / 3), names("other", KEYS - KEYS / 3));
        fill_all(&cache, &of_prefix, &epoch);
        fill_all(&cache, &others, &epoch);
        let mut count = Flush::new(None, clock::now());
        while !count.step(&shared) {}
        let (of_prefix_before, others_before) =
            (count_served(&cache, &of_prefix), count_served(&cache, &others));
        assert_eq!(count.served() as usize, of_prefix_before + others_before);
        assert_eq!(of_prefix_before + others_before + evicted(), KEYS);

        let evicted_before = evicted();
        let mut flush = Flush::new(Some(Bytes::from_static(b"one")), clock::now());
        let mut new = Vec::new();
        let mut steps = 1;
        while !flush.step(&shared) {
            // The index grows meanwhile, and entries move.
            let more = names(&format!("new:{steps}"), 50);
            fill_all(&cache, &more, &epoch);
            new.extend(more);
            steps += 1;
        }
        assert!(steps > 2 * shared.size().0 as usize / LINES_PER_STEP / 8, "{steps}: it was done at once");
        assert_eq!(count_served(&cache, &of_prefix), 0);
        let left = count_served(&cache, &others) + count_served(&cache, &new);
        let dropped = flush.served() as usize;
        assert!(dropped <= of_prefix_before, "{dropped} of {of_prefix_before}");
        let evicted = evicted() - evicted_before;
        assert_eq!(left + dropped + evicted, of_prefix_before + others_before + new.len());
    }
}
