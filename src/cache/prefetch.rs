//! Prefetches the memory that several lookups will need, before the first of them.
//!
//! A hit on a key that is in no cache of the CPU waits for memory twice, because the second address comes
//! from the first. If the keys of many lookups are known together, as in a pipeline, all these waits happen
//! at the same time. Nothing is decided here: each lookup checks what it finds as always.

use super::near_cache::NearCache;
use crate::protocol::resp::scan::AHEAD_MAX;

// === impl NearCache ===

impl<T: Clone> NearCache<T> {
    /// Prefetches for the first [`AHEAD_MAX`] of `keys`.
    #[inline]
    pub fn prefetch<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) {
        if self.shared.store.is_near() {
            return;
        }
        let mut hashes = [0; AHEAD_MAX];
        let mut count = 0;
        for (hash, key) in hashes.iter_mut().zip(keys) {
            *hash = self.shared.store.hash(key);
            count += 1;
        }
        if count > 1 {
            self.shared.store.prefetch(&hashes[..count]);
        }
    }
}
