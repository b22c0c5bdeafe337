//! Fetches what several lookups will need before the first of them is made.
//!
//! A hit on a key that is in no cache of the CPU waits for memory four or five times, each time at an address that it got
//! by waiting. Where the keys of many lookups are known together, as in a pipeline, the waits of all of them go on side
//! by side. Nothing is decided here: each lookup judges as ever what it finds, by the generations and the time of then.

use std::hint::black_box;

use super::NearCache;
use crate::resp::scan::AHEAD_MAX;

// === impl NearCache ===

impl<T: Clone> NearCache<T> {
    /// Looks ahead at the first [`AHEAD_MAX`] of `keys`.
    #[inline]
    pub fn look_ahead<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) {
        let mut hashes = [0; AHEAD_MAX];
        let mut count = 0;
        for (hash, key) in hashes.iter_mut().zip(keys) {
            *hash = self.shared.hashing.hash(key);
            count += 1;
        }
        if count > 1 {
            self.fetch(&hashes[..count]);
        }
    }

    /// Each step asks for the memory of all keys at once, and the next one needs what it brought.
    fn fetch(&self, hashes: &[u64]) {
        let hot = self.hot.borrow();
        let touched = |hash: &u64| hot.touch(*hash) ^ self.shared.generations.touch(*hash);
        black_box(hashes.iter().map(touched).fold(0, |all, one| all ^ one));
        let entries = || hashes.iter().filter_map(|hash| hot.get(*hash));
        black_box(entries().map(|entry| entry.touch()).fold(0, |all, one| all ^ one));
        black_box(entries().map(|entry| entry.touch_bytes()).fold(0, |all, one| all ^ one));
    }
}
