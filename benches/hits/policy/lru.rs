//! The least recently used goes.

use super::queue::Queue;
use super::{Budget, Policy};
use crate::request::Key;

#[derive(Debug)]
pub(crate) struct Lru<'a> {
    budget: Budget<'a>,
    queue: Queue<'a>,
}

// === impl Lru ===

impl<'a> Lru<'a> {
    pub(crate) fn new(budget: Budget<'a>) -> Lru<'a> {
        Lru { budget, queue: Queue::new(budget) }
    }
}

impl Policy for Lru<'_> {
    fn read(&mut self, key: Key) -> bool {
        if self.queue.renew(key) {
            return true;
        }
        if self.budget.fits(key) {
            self.queue.push(key);
            while self.queue.bytes() > self.budget.bytes_max {
                self.queue.pop();
            }
        }
        false
    }

    fn invalidate(&mut self, key: Key) {
        self.queue.remove(key);
    }
}
