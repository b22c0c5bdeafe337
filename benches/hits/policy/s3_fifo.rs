//! S3-FIFO (Yang and others, SOSP 2023): a small queue for what is new, a main one for what was hit there,
//! and the names of what left the small one, which go to the main one when they come again.

use super::queue::Queue;
use super::{Budget, Policy};
use crate::request::Key;

/// The part of the small queue, and the bytes of the entries whose names are remembered.
const SMALL: f64 = 0.1;
const GHOST: f64 = 0.9;

/// Hits are counted no further.
const HITS_MAX: u8 = 3;

#[derive(Debug)]
pub(crate) struct S3Fifo<'a> {
    budget: Budget<'a>,
    small: Queue<'a>,
    main: Queue<'a>,
    ghost: Queue<'a>,
    hits: Vec<u8>,
}

// === impl S3Fifo ===

impl<'a> S3Fifo<'a> {
    pub(crate) fn new(budget: Budget<'a>) -> S3Fifo<'a> {
        let [small, main, ghost] = std::array::from_fn(|_| Queue::new(budget));
        S3Fifo { budget, small, main, ghost, hits: vec![0; budget.keys()] }
    }

    fn part(&self, part: f64) -> u64 {
        (self.budget.bytes_max as f64 * part) as u64
    }

    /// Looks at the oldest key of one of the queues, which goes or goes on.
    fn evict(&mut self) {
        let from_small = self.small.bytes() > self.part(SMALL) || self.main.oldest().is_none();
        if from_small && let Some(key) = self.small.pop() {
            if self.hits[key as usize] > 0 {
                self.hits[key as usize] = 0;
                self.main.push(key);
            } else {
                self.ghost.push(key);
                while self.ghost.bytes() > self.part(GHOST) {
                    self.ghost.pop();
                }
            }
        } else if let Some(key) = self.main.pop()
            && self.hits[key as usize] > 0
        {
            self.hits[key as usize] -= 1;
            self.main.push(key);
        }
    }
}

impl Policy for S3Fifo<'_> {
    fn read(&mut self, key: Key) -> bool {
        if self.small.contains(key) || self.main.contains(key) {
            let hits = &mut self.hits[key as usize];
            *hits = (*hits + 1).min(HITS_MAX);
            return true;
        }
        if self.budget.fits(key) {
            let is_known = self.ghost.remove(key);
            while self.small.bytes() + self.main.bytes() + self.budget.of(key) > self.budget.bytes_max {
                self.evict();
            }
            self.hits[key as usize] = 0;
            if is_known { self.main.push(key) } else { self.small.push(key) }
        }
        false
    }

    fn invalidate(&mut self, key: Key) {
        self.small.remove(key);
        self.main.remove(key);
    }
}
