//! W-TinyLFU (Einziger, Friedman and Manes): what is new stands in a window; what leaves it comes into the
//! main part if it was asked for more often lately than all that would have to go for it. The window has a
//! fixed size here.

use super::queue::Queue;
use super::sketch::Sketch;
use super::{Budget, Policy};
use crate::request::Key;

/// The part of the window, and of the rest what is protected: it was hit since it came in.
const WINDOW: f64 = 0.01;
const PROTECTED: f64 = 0.8;

#[derive(Debug)]
pub(crate) struct TinyLfu<'a> {
    budget: Budget<'a>,
    window: Queue<'a>,
    probation: Queue<'a>,
    protected: Queue<'a>,
    window_max: u64,
    sketch: Sketch,
}

// === impl TinyLfu ===

impl<'a> TinyLfu<'a> {
    pub(crate) fn new(budget: Budget<'a>) -> TinyLfu<'a> {
        let mean = budget.entries.iter().sum::<u64>() / budget.keys() as u64;
        let [window, probation, protected] = std::array::from_fn(|_| Queue::new(budget));
        let window_max = (budget.bytes_max as f64 * WINDOW) as u64;
        let sketch = Sketch::new((budget.bytes_max / mean) as usize);
        TinyLfu { budget, window, probation, protected, window_max, sketch }
    }

    fn main_max(&self) -> u64 {
        self.budget.bytes_max - self.window_max
    }

    /// Decides between `candidate` and those of the main part that would have to go for it.
    fn contest(&mut self, candidate: Key) {
        let Some(mut missing) = self.missing(candidate) else { return };
        let (mut victims, mut count) = (Vec::new(), 0);
        let wanted = self.sketch.of(candidate);
        let mut next = self.probation.oldest().or_else(|| self.protected.oldest());
        while missing > 0 {
            let Some(victim) = next else { return };
            count += self.sketch.of(victim);
            if count >= wanted {
                return;
            }
            missing = missing.saturating_sub(self.budget.of(victim));
            victims.push(victim);
            next = if self.probation.contains(victim) {
                self.probation.newer(victim).or_else(|| self.protected.oldest())
            } else {
                self.protected.newer(victim)
            };
        }
        for victim in victims {
            let _ = self.probation.remove(victim) || self.protected.remove(victim);
        }
        self.probation.push(candidate);
    }

    /// How many bytes have to go for `key`, if it fits into the main part at all.
    fn missing(&self, key: Key) -> Option<u64> {
        let bytes = self.budget.of(key);
        let wanted = self.probation.bytes() + self.protected.bytes() + bytes;
        (bytes <= self.main_max()).then(|| wanted.saturating_sub(self.main_max()))
    }

    fn promote(&mut self, key: Key) {
        self.protected.push(key);
        while self.protected.bytes() as f64 > self.main_max() as f64 * PROTECTED {
            let Some(oldest) = self.protected.pop() else { return };
            self.probation.push(oldest);
        }
    }
}

impl Policy for TinyLfu<'_> {
    fn read(&mut self, key: Key) -> bool {
        self.sketch.count(key);
        if self.window.renew(key) || self.protected.renew(key) {
            return true;
        }
        if self.probation.remove(key) {
            self.promote(key);
            return true;
        }
        if self.budget.of(key) > self.window_max {
            self.contest(key);
            return false;
        }
        self.window.push(key);
        while self.window.bytes() > self.window_max {
            let Some(candidate) = self.window.pop() else { break };
            self.contest(candidate);
        }
        false
    }

    fn invalidate(&mut self, key: Key) {
        let _ = self.window.remove(key) || self.probation.remove(key) || self.protected.remove(key);
    }
}
