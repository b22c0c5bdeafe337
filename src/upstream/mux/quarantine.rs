//! Requests that may have been the reason why a node closed a connection: they go over a quarantine
//! connection that carries nothing else, so that the node closes only that one.
//!
//! A node closes a connection when a limit of its settings is exceeded (for example
//! `client-output-buffer-limit`), and does not say for which command. If its settings could not be read,
//! nearside learns from that: reads that were under way and are sent again go one after the other over the
//! quarantine connection. A request that was under way when two connections ended, or alone when one did,
//! takes that connection from the start for a while.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crate::clock::{self, Nanos};

/// Requests that are remembered.
const BLAMED_MAX: usize = 256;

/// How long they are.
const BLAME_HOLDS: Duration = Duration::from_secs(60);

/// Requests for which a node may have closed a connection, by a hash that a client cannot predict.
#[derive(Debug, Default)]
pub(in crate::upstream) struct Quarantine {
    any: Cell<bool>,
    until: RefCell<HashMap<u64, Nanos>>,
    hasher: RandomState,
}

// === impl Quarantine ===

impl Quarantine {
    /// Notes that a node may have closed a connection for `request`.
    pub(in crate::upstream) fn note(&self, request: &[u8], now: Nanos) {
        let mut until = self.until.borrow_mut();
        until.retain(|_, until| *until > now);
        if until.len() >= BLAMED_MAX {
            // A client that invents this many must not push out the others: all are forgotten and learned
            // again.
            until.clear();
        }
        until.insert(self.hasher.hash_one(request), now + clock::nanos(BLAME_HOLDS));
        self.any.set(true);
    }

    /// Whether a node may have closed a connection for `request` recently.
    #[inline]
    pub(in crate::upstream) fn has(&self, request: &[u8]) -> bool {
        self.any.get() && self.has_one(request, clock::now())
    }

    #[cold]
    fn has_one(&self, request: &[u8], now: Nanos) -> bool {
        let mut until = self.until.borrow_mut();
        until.retain(|_, until| *until > now);
        self.any.set(!until.is_empty());
        until.contains_key(&self.hasher.hash_one(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_blamed_is_so_for_a_while_and_only_so_many_are() {
        let blamed = Quarantine::default();
        assert!(!blamed.has(b"GET a"));
        blamed.note(b"GET a", 10);
        assert!(blamed.has_one(b"GET a", 11) && !blamed.has_one(b"GET b", 11));
        assert!(!blamed.has_one(b"GET a", 10 + clock::nanos(BLAME_HOLDS)));
        assert!(!blamed.any.get());
        for number in 0..3 * BLAMED_MAX {
            blamed.note(number.to_string().as_bytes(), 10);
            assert!(blamed.until.borrow().len() <= BLAMED_MAX);
        }
    }
}
