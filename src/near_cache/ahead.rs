//! Fetches what several lookups will need before the first of them is made.
//!
//! A hit on a key that is in no cache of the CPU waits for memory four or five times, each time at an address that it got
//! by waiting. Where the keys of many lookups are known together, as in a pipeline, the waits of all of them go on side
//! by side. Nothing is decided here: each lookup judges as ever what it finds, by the generations and the time of then.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;

use super::NearCache;
use super::entry::Entry;
use crate::resp::scan::AHEAD_MAX;

/// Entries that were fetched from the store for lookups to come, in their order.
#[derive(Debug, Default)]
pub(super) struct Ahead(RefCell<VecDeque<(u64, Arc<Entry>)>>);

/// Held while the lookups are made. What none of them wanted is let go with it.
#[derive(Debug)]
pub struct LookingAhead<'a>(&'a Ahead);

// === impl Ahead ===

impl Ahead {
    /// The entry with this hash, if it was fetched and not taken yet.
    #[inline]
    pub(super) fn take(&self, hash: u64) -> Option<Arc<Entry>> {
        let mut fetched = self.0.borrow_mut();
        let at = fetched.iter().position(|(fetched, _)| *fetched == hash)?;
        fetched.remove(at).map(|(_, entry)| entry)
    }
}

// === impl LookingAhead ===

impl Drop for LookingAhead<'_> {
    fn drop(&mut self) {
        self.0.0.borrow_mut().clear();
    }
}

// === impl NearCache ===

impl<T: Clone> NearCache<T> {
    /// Looks ahead at the first [`AHEAD_MAX`] of `keys`.
    #[inline]
    pub fn look_ahead<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) -> LookingAhead<'_> {
        let mut hashes = [0; AHEAD_MAX];
        let mut count = 0;
        for (hash, key) in hashes.iter_mut().zip(keys) {
            *hash = self.shared.hashing.hash(key);
            count += 1;
        }
        if count > 1 {
            self.fetch(&hashes[..count]);
        }
        LookingAhead(&self.ahead)
    }

    /// Each step asks for the memory of all keys at once, and the next one needs what it brought.
    fn fetch(&self, hashes: &[u64]) {
        let hot = self.hot.borrow();
        let touched = |hash: &u64| hot.touch(*hash) ^ self.shared.generations.touch(*hash);
        black_box(hashes.iter().map(touched).fold(0, |all, one| all ^ one));
        let mut fetched = self.ahead.0.borrow_mut();
        for hash in hashes.iter().filter(|hash| hot.get(**hash).is_none()) {
            fetched.extend(self.shared.store.get(*hash).map(|entry| (*hash, entry)));
        }
        let entries = || {
            let hot = hashes.iter().filter_map(|hash| hot.get(*hash));
            hot.chain(fetched.iter().map(|(_, entry)| entry))
        };
        black_box(entries().map(|entry| entry.touch()).fold(0, |all, one| all ^ one));
        black_box(entries().map(|entry| entry.touch_bytes()).fold(0, |all, one| all ^ one));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near_cache::tests::{change, fill, get, live, one_worker, served};

    #[test]
    fn what_was_fetched_ahead_is_judged_when_it_is_looked_up() {
        let (cache, epoch) = (one_worker(), live());
        let (kept, changed) = (get("kept"), get("changed"));
        fill(&cache, &kept, "value", &epoch);
        fill(&cache, &changed, "old", &epoch);
        let looking = cache.look_ahead([&b"kept"[..], b"changed", b"absent"].into_iter());
        assert_eq!(cache.ahead.0.borrow().len(), 2);
        change(&cache, &["changed"]);
        assert_eq!(served(&cache, &changed), None, "it was invalidated in between (I2)");
        assert_eq!(served(&cache, &kept).as_deref(), Some("value"));
        assert_eq!(cache.ahead.0.borrow().len(), 0, "both were taken");
        drop(looking);

        let (cache, epoch) = (one_worker(), live());
        fill(&cache, &kept, "value", &epoch);
        fill(&cache, &changed, "value", &epoch);
        let looking = cache.look_ahead([&b"kept"[..], b"changed"].into_iter());
        epoch.end();
        assert_eq!(served(&cache, &kept), None, "its connection was lost in between (I4)");
        drop(looking);
        assert_eq!(cache.ahead.0.borrow().len(), 0, "what nobody asked for is let go");
    }

    #[test]
    fn only_so_many_entries_are_held() {
        let (cache, epoch) = (one_worker(), live());
        let names: Vec<String> = (0..3 * AHEAD_MAX).map(|number| format!("key:{number}")).collect();
        for name in &names {
            fill(&cache, &get(name), "value", &epoch);
        }
        let looking = cache.look_ahead(names.iter().map(|name| name.as_bytes()));
        assert_eq!(cache.ahead.0.borrow().len(), AHEAD_MAX);
        assert!(names.iter().all(|name| served(&cache, &get(name)).is_some()));
        drop(looking);
    }
}
