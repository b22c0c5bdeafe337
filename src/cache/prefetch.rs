//! Prefetches the memory that several lookups will need, before the first of them.
//!
//! A hit on a key that is in no cache of the CPU waits for memory twice, because the second address comes
//! from the first. If the keys of many lookups are known together, as in a pipeline, all these waits happen
//! at the same time. Nothing is decided here: each lookup checks what it finds as always.

use super::near_cache::NearCache;
use crate::protocol::resp::scan::AHEAD_MAX;

/// Bytes of a name that is put together here.
const NAME_MAX: usize = 128;

// === impl NearCache ===

impl<T: Clone> NearCache<T> {
    /// Prefetches for the first [`AHEAD_MAX`] of `keys`, each of which has `prefix` in front of it.
    #[inline]
    pub fn prefetch<'k>(&self, prefix: &[u8], keys: impl Iterator<Item = &'k [u8]>) {
        if self.shared.store.is_near() {
            return;
        }
        let (mut hashes, mut name) = ([0; AHEAD_MAX], [0; NAME_MAX]);
        if let Some(begin) = name.get_mut(..prefix.len()) {
            begin.copy_from_slice(prefix);
        }
        let mut count = 0;
        for (hash, key) in hashes.iter_mut().zip(keys) {
            *hash = match prefix {
                b"" => self.shared.store.hash(key),
                prefix => self.hash_of_name(&mut name, prefix.len(), key),
            };
            count += 1;
        }
        if count > 1 {
            self.shared.store.prefetch(&hashes[..count]);
        }
    }

    /// The hash of `name` with this key from `at` on. Where that is too long, it is another one: then a line
    /// is prefetched in vain.
    fn hash_of_name(&self, name: &mut [u8; NAME_MAX], at: usize, key: &[u8]) -> u64 {
        let end = at + key.len();
        if let Some(place) = name.get_mut(at..end) {
            place.copy_from_slice(key);
        }
        self.shared.store.hash(name.get(..end).unwrap_or_default())
    }
}
