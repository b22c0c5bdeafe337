//! redis-server's allkeys-lru: of 5 keys drawn and of the 16 oldest seen before, the one that was used
//! longest ago goes.
//!
//! The real one knows when a key was used to a second only, and can be a little worse for that.

use super::{Budget, Policy};
use crate::request::Key;

/// maxmemory-samples, and EVPOOL_SIZE of its evict.c.
const SAMPLES: usize = 5;
const POOL: usize = 16;

const ABSENT: u32 = u32::MAX;

#[derive(Debug)]
pub(crate) struct Redis<'a> {
    budget: Budget<'a>,
    /// All that is here, in no order, so that one can be drawn.
    here: Vec<Key>,
    /// Where a key stands in it.
    place: Vec<u32>,
    /// The request that used each key last.
    used: Vec<u32>,
    requests: u32,
    /// When a key was used last as it was drawn, and the key: the oldest first.
    pool: Vec<(u32, Key)>,
    bytes: u64,
    random: fastrand::Rng,
}

// === impl Redis ===

impl<'a> Redis<'a> {
    pub(crate) fn new(budget: Budget<'a>) -> Redis<'a> {
        Redis {
            budget,
            here: Vec::new(),
            place: vec![ABSENT; budget.keys()],
            used: vec![0; budget.keys()],
            requests: 0,
            pool: Vec::new(),
            bytes: 0,
            random: fastrand::Rng::with_seed(1),
        }
    }

    fn evict(&mut self) {
        for _ in 0..SAMPLES {
            let key = self.here[self.random.usize(..self.here.len())];
            if !self.pool.iter().any(|(_, known)| *known == key) {
                self.pool.push((self.used[key as usize], key));
            }
        }
        self.pool.sort_unstable();
        self.pool.truncate(POOL);
        // What has left meanwhile is passed over; whether it was used meanwhile is not asked.
        let place = &self.place;
        if let Some(at) = self.pool.iter().position(|(_, key)| place[*key as usize] != ABSENT) {
            let (_, key) = self.pool[at];
            self.pool.drain(..=at);
            self.remove(key);
        } else {
            self.pool.clear();
        }
    }

    fn remove(&mut self, key: Key) {
        let at = std::mem::replace(&mut self.place[key as usize], ABSENT);
        if at == ABSENT {
            return;
        }
        self.here.swap_remove(at as usize);
        if let Some(moved) = self.here.get(at as usize) {
            self.place[*moved as usize] = at;
        }
        self.bytes -= self.budget.of(key);
    }
}

impl Policy for Redis<'_> {
    fn read(&mut self, key: Key) -> bool {
        self.requests += 1;
        self.used[key as usize] = self.requests;
        if self.place[key as usize] != ABSENT {
            return true;
        }
        if self.budget.fits(key) {
            while self.bytes + self.budget.of(key) > self.budget.bytes_max {
                self.evict();
            }
            self.place[key as usize] = self.here.len() as u32;
            self.here.push(key);
            self.bytes += self.budget.of(key);
        }
        false
    }

    fn invalidate(&mut self, key: Key) {
        self.remove(key);
    }
}
