//! Keys in an order, of which each may leave from where it is.

use super::Budget;
use crate::request::Key;

/// The keys from the newest to the oldest, and the bytes of their entries.
#[derive(Debug)]
pub(super) struct Queue<'a> {
    budget: Budget<'a>,
    /// By the number of the key.
    links: Vec<Links>,
    newest: Key,
    oldest: Key,
    bytes: u64,
}

#[derive(Clone, Copy, Debug)]
struct Links {
    newer: Key,
    older: Key,
}

/// There is no neighbour.
const END: Key = Key::MAX;
/// The key is not here.
const ABSENT: Key = Key::MAX - 1;

// === impl Queue ===

impl<'a> Queue<'a> {
    pub(super) fn new(budget: Budget<'a>) -> Queue<'a> {
        let links = vec![Links { newer: ABSENT, older: ABSENT }; budget.keys()];
        Queue { budget, links, newest: END, oldest: END, bytes: 0 }
    }

    pub(super) fn contains(&self, key: Key) -> bool {
        self.links[key as usize].newer != ABSENT
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn oldest(&self) -> Option<Key> {
        Some(self.oldest).filter(|key| *key != END)
    }

    /// The key that came next after `key`.
    pub(super) fn newer(&self, key: Key) -> Option<Key> {
        Some(self.links[key as usize].newer).filter(|key| *key != END)
    }

    /// `key`, which is not here, becomes the newest.
    pub(super) fn push(&mut self, key: Key) {
        self.links[key as usize] = Links { newer: END, older: self.newest };
        match self.newest {
            END => self.oldest = key,
            newest => self.links[newest as usize].newer = key,
        }
        self.newest = key;
        self.bytes += self.budget.of(key);
    }

    /// Whether `key` was here.
    pub(super) fn remove(&mut self, key: Key) -> bool {
        let Links { newer, older } = self.links[key as usize];
        if newer == ABSENT {
            return false;
        }
        match newer {
            END => self.newest = older,
            newer => self.links[newer as usize].older = older,
        }
        match older {
            END => self.oldest = newer,
            older => self.links[older as usize].newer = newer,
        }
        self.links[key as usize] = Links { newer: ABSENT, older: ABSENT };
        self.bytes -= self.budget.of(key);
        true
    }

    /// Takes the oldest out.
    pub(super) fn pop(&mut self) -> Option<Key> {
        self.oldest().inspect(|key| {
            self.remove(*key);
        })
    }

    /// Makes `key` the newest, if it is here.
    pub(super) fn renew(&mut self, key: Key) -> bool {
        let was_here = self.remove(key);
        if was_here {
            self.push(key);
        }
        was_here
    }
}
