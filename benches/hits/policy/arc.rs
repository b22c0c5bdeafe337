//! ARC (Megiddo and Modha, FAST 2003) by bytes: a list for what was read once and one for what was read
//! again, and the names of what left either, which say whose part has to grow.

use super::queue::Queue;
use super::{Budget, Policy};
use crate::request::Key;

#[derive(Debug)]
pub(crate) struct Arc<'a> {
    budget: Budget<'a>,
    once: Queue<'a>,
    again: Queue<'a>,
    left_once: Queue<'a>,
    left_again: Queue<'a>,
    /// The bytes that are meant for what was read once.
    once_target: f64,
}

// === impl Arc ===

impl<'a> Arc<'a> {
    pub(crate) fn new(budget: Budget<'a>) -> Arc<'a> {
        let [once, again, left_once, left_again] = std::array::from_fn(|_| Queue::new(budget));
        Arc { budget, once, again, left_once, left_again, once_target: 0.0 }
    }

    /// Makes room for `key`.
    fn make_room(&mut self, key: Key, left_again: bool) {
        let max = self.budget.bytes_max;
        while self.once.bytes() + self.again.bytes() + self.budget.of(key) > max {
            let bytes = self.once.bytes() as f64;
            let from_once = bytes > self.once_target || left_again && bytes >= self.once_target;
            if (from_once || self.again.oldest().is_none())
                && let Some(gone) = self.once.pop()
            {
                self.left_once.push(gone);
            } else if let Some(gone) = self.again.pop() {
                self.left_again.push(gone);
            }
        }
        while self.once.bytes() + self.left_once.bytes() > max && self.left_once.pop().is_some() {}
        let all = |arc: &Self| {
            arc.once.bytes() + arc.again.bytes() + arc.left_once.bytes() + arc.left_again.bytes()
        };
        while all(self) > 2 * max && self.left_again.pop().is_some() {}
    }

    /// By how much the target moves when a name that has left is asked for.
    fn step(&self, key: Key, of: &Queue<'_>, other: &Queue<'_>) -> f64 {
        let ratio = other.bytes() as f64 / of.bytes().max(1) as f64;
        ratio.max(1.0) * self.budget.of(key) as f64
    }
}

impl Policy for Arc<'_> {
    fn read(&mut self, key: Key) -> bool {
        if self.once.remove(key) {
            self.again.push(key);
            return true;
        }
        if self.again.renew(key) {
            return true;
        }
        if !self.budget.fits(key) {
            return false;
        }
        if self.left_once.contains(key) {
            let step = self.step(key, &self.left_once, &self.left_again);
            self.once_target = (self.once_target + step).min(self.budget.bytes_max as f64);
            self.left_once.remove(key);
            self.make_room(key, false);
            self.again.push(key);
        } else if self.left_again.contains(key) {
            let step = self.step(key, &self.left_again, &self.left_once);
            self.once_target = (self.once_target - step).max(0.0);
            self.left_again.remove(key);
            self.make_room(key, true);
            self.again.push(key);
        } else {
            self.make_room(key, false);
            self.once.push(key);
        }
        false
    }

    fn invalidate(&mut self, key: Key) {
        let _ = self.once.remove(key) || self.again.remove(key);
    }
}
