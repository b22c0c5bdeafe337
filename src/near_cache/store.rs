//! What is kept and what goes when there is no more room: moka, on its plain surface.
//!
//! Expiry and invalidation live in our own entries and generations, so a bug in moka's per-entry expiry, or an entry
//! that it has removed from its table but not yet from its queues, can cost memory and never a wrong answer.
//!
//! Entries are kept by the hash of their key alone, and an entry says what it answers. Of two keys with one hash the later
//! one takes the place of the earlier, as if that had been evicted, and is dropped together with it.

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use moka::notification::RemovalCause;
use moka::sync::Cache;

use super::entry::Entry;

/// The entries of all keys, within a budget of bytes.
#[derive(Debug)]
pub(super) struct Store {
    entries: Cache<u64, Arc<Entry>, BuildHasherDefault<AlreadyHashed>>,
    full_at: u64,
}

/// It is full when what is left is less than one in so many parts of the whole.
const FULL_WITHIN: u64 = 16;

/// Entries of at least so many bytes are looked at one by one.
const LARGE: u32 = 64 * 1024;

/// Passes a hash through.
#[derive(Default)]
struct AlreadyHashed(u64);

// === impl Store ===

impl Store {
    /// A store of at most `bytes_max`; `on_removal` is called with the hash of each entry that has gone, and whether it
    /// went for room.
    pub(super) fn new(bytes_max: u64, on_removal: impl Fn(u64, bool) + Send + Sync + 'static) -> Store {
        let entries = Cache::builder()
            .name("l1")
            .max_capacity(bytes_max)
            .weigher(|_: &u64, entry: &Arc<Entry>| entry.weight())
            .eviction_listener(move |hash: Arc<u64>, _, cause| on_removal(*hash, cause == RemovalCause::Size))
            .build_with_hasher(BuildHasherDefault::default());
        Store { entries, full_at: bytes_max - bytes_max / FULL_WITHIN }
    }

    /// The entry that has this hash: nearly always that of the key which was hashed, as what is asked of it shows.
    pub(super) fn get(&self, hash: u64) -> Option<Arc<Entry>> {
        self.entries.get(&hash)
    }

    pub(super) fn insert(&self, hash: u64, entry: Arc<Entry>) {
        let is_large = entry.weight() >= LARGE;
        self.entries.insert(hash, entry);
        if is_large {
            // moka lets go of what is too much only after so many inserts, which would be many times the budget.
            self.entries.run_pending_tasks();
        }
    }

    /// Removes the entry of `key`, and gives it if there was one.
    pub(super) fn remove(&self, hash: u64, key: &[u8]) -> Option<Arc<Entry>> {
        // Most keys that are written are not here, and moka looks twice before it says so.
        if !self.entries.contains_key(&hash) {
            return None;
        }
        self.entries.remove(&hash).filter(|entry| *entry.key() == *key)
    }

    pub(super) fn remove_all(&self) {
        self.entries.invalidate_all();
    }

    /// The entries there are, with their hashes; what comes and goes meanwhile may be among them or not.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, Arc<Entry>)> + '_ {
        self.entries.iter().map(|(hash, entry)| (*hash, entry))
    }

    /// Whether there is no room for another entry of common size, as far as moka has counted.
    pub(super) fn is_full(&self) -> bool {
        self.entries.weighted_size() >= self.full_at
    }

    /// The bytes of the entries, as far as moka has counted.
    pub(super) fn bytes(&self) -> u64 {
        self.entries.weighted_size()
    }

    /// Entries and their bytes, after all that is pending inside moka was done.
    pub(super) fn size(&self) -> (u64, u64) {
        self.entries.run_pending_tasks();
        (self.entries.entry_count(), self.entries.weighted_size())
    }
}

// === impl AlreadyHashed ===

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        debug_assert!(false, "only whole hashes are written, got {} bytes", bytes.len());
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
