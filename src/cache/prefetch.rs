//! Prefetches the memory that several lookups will need, before the first of them.
//!
//! A hit on a key that is in no cache of the CPU waits for memory twice, because the second address comes
//! from the first. If the keys of many lookups are known together, as in a pipeline, all these waits happen
//! at the same time. Nothing is decided here: each lookup checks what it finds as always.

use super::near_cache::NearCache;
use crate::protocol::resp::scan::AHEAD_MAX;

/// Bytes of a key that is put together here.
const WHOLE_MAX: usize = 128;

// === impl NearCache ===

impl<T: Clone> NearCache<T> {
    /// Prefetches for the first [`AHEAD_MAX`] of `keys`, each of which has `prefix` in front of it.
    #[inline]
    pub fn prefetch<'k>(&self, prefix: &[u8], keys: impl Iterator<Item = &'k [u8]>) {
        if self.shared.store.is_near() {
            return;
        }
        let mut hashes = [0; AHEAD_MAX];
        let mut count = 0;
        for (hash, key) in hashes.iter_mut().zip(keys) {
            *hash = match prefix {
                b"" => self.shared.store.hash(key),
                prefix => self.hash_of_long(prefix, key),
            };
            count += 1;
        }
        if count > 1 {
            self.shared.store.prefetch(&hashes[..count]);
        }
    }

    /// The hash of a key of two parts. For a key that is longer than usual it is another one: then a line is
    /// prefetched in vain.
    fn hash_of_long(&self, prefix: &[u8], key: &[u8]) -> u64 {
        let (mut whole, length) = ([0; WHOLE_MAX], prefix.len() + key.len());
        if length <= WHOLE_MAX {
            whole[..prefix.len()].copy_from_slice(prefix);
            whole[prefix.len()..length].copy_from_slice(key);
        }
        self.shared.store.hash(&whole[..length.min(WHOLE_MAX)])
    }
}
