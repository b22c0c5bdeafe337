//! Fetches what several lookups will need before the first of them is made.
//!
//! A hit on a key that is in no cache of the CPU waits for memory twice, the second time at an address that
//! it got by waiting. Where the keys of many lookups are known together, as in a pipeline, the waits of all
//! of them go on side by side. Nothing is decided here: each lookup judges as ever what it finds.

use super::near_cache::NearCache;
use crate::protocol::resp::scan::AHEAD_MAX;

// === impl NearCache ===

impl<T: Clone> NearCache<T> {
    /// Looks ahead at the first [`AHEAD_MAX`] of `keys`.
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
