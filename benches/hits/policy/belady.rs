//! Belady's: it knows the trace, and what is asked for latest goes. What is not asked for again, or is
//! written before, does not come in. With entries of one size nothing hits more; with sizes that differ it is
//! a measure and no bound.

use std::collections::BinaryHeap;

use super::{Budget, Policy};
use crate::request::{Key, Request};

/// It is not asked for again.
const NEVER: u32 = u32::MAX;

#[derive(Debug)]
pub(crate) struct Belady<'a> {
    budget: Budget<'a>,
    /// Of each request, when its key is read next with no write before that.
    next: Vec<u32>,
    /// Requests so far.
    now: usize,
    /// When each key that is here is read next; [`NEVER`] for those that are not here.
    here: Vec<u32>,
    /// The same by time, with those that have left or were read since.
    by_next: BinaryHeap<(u32, Key)>,
    bytes: u64,
}

// === impl Belady ===

impl<'a> Belady<'a> {
    /// Will be shown `requests`, all of them and in this order.
    pub(crate) fn new(budget: Budget<'a>, requests: &[Request]) -> Belady<'a> {
        let mut read = vec![NEVER; budget.keys()];
        let mut next = vec![NEVER; requests.len()];
        for (at, request) in requests.iter().enumerate().rev() {
            next[at] = match request {
                Request::Read(key) => std::mem::replace(&mut read[*key as usize], at as u32),
                Request::Write(key) => {
                    read[*key as usize] = NEVER;
                    NEVER
                }
            };
        }
        let (here, by_next) = (vec![NEVER; budget.keys()], BinaryHeap::new());
        Belady { budget, next, now: 0, here, by_next, bytes: 0 }
    }
}

impl Policy for Belady<'_> {
    fn read(&mut self, key: Key) -> bool {
        let next = self.next[self.now];
        self.now += 1;
        let is_hit = std::mem::replace(&mut self.here[key as usize], NEVER) != NEVER;
        if is_hit {
            self.bytes -= self.budget.of(key);
        }
        if next != NEVER && self.budget.fits(key) {
            self.here[key as usize] = next;
            self.by_next.push((next, key));
            self.bytes += self.budget.of(key);
        }
        while self.bytes > self.budget.bytes_max
            && let Some((next, latest)) = self.by_next.pop()
        {
            let here = &mut self.here[latest as usize];
            if *here == next {
                *here = NEVER;
                self.bytes -= self.budget.of(latest);
            }
        }
        is_hit
    }

    /// What is written before it is read never came in.
    fn invalidate(&mut self, _: Key) {
        self.now += 1;
    }
}
