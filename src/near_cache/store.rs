//! What is kept and what goes when there is no more room: moka, on its plain surface.
//!
//! Expiry and invalidation live in our own entries and generations, so a bug in moka's per-entry expiry, or an entry
//! that it has removed from its table but not yet from its queues, can cost memory and never a wrong answer.

use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;

use moka::Equivalent;
use moka::notification::RemovalCause;
use moka::sync::Cache;

use super::entry::Entry;

/// The entries of all keys, within a budget of bytes.
#[derive(Debug)]
pub(super) struct Store {
    entries: Cache<StoreKey, Arc<Entry>, BuildHasherDefault<AlreadyHashed>>,
}

/// A key with its hash, so that it is hashed once.
#[derive(Clone, Debug)]
struct StoreKey {
    hash: u64,
    bytes: Arc<[u8]>,
}

/// The same, borrowed.
struct Borrowed<'a> {
    hash: u64,
    bytes: &'a [u8],
}

/// Passes a hash through.
#[derive(Default)]
struct AlreadyHashed(u64);

// === impl Store ===

impl Store {
    /// A store of at most `bytes_max`; `on_eviction` is called with the hash of each entry that went for room.
    pub(super) fn new(bytes_max: u64, on_eviction: impl Fn(u64) + Send + Sync + 'static) -> Store {
        let entries = Cache::builder()
            .name("l1")
            .max_capacity(bytes_max)
            .weigher(|_: &StoreKey, entry: &Arc<Entry>| entry.weight())
            .eviction_listener(move |key: Arc<StoreKey>, _, cause| {
                if cause == RemovalCause::Size {
                    on_eviction(key.hash);
                }
            })
            .build_with_hasher(BuildHasherDefault::default());
        Store { entries }
    }

    pub(super) fn get(&self, hash: u64, key: &[u8]) -> Option<Arc<Entry>> {
        self.entries.get(&Borrowed { hash, bytes: key })
    }

    pub(super) fn insert(&self, hash: u64, entry: Arc<Entry>) {
        self.entries.insert(StoreKey { hash, bytes: entry.key.clone() }, entry);
    }

    /// Removes the entry of `key`, and gives it if there was one.
    pub(super) fn remove(&self, hash: u64, key: &[u8]) -> Option<Arc<Entry>> {
        self.entries.remove(&Borrowed { hash, bytes: key })
    }

    pub(super) fn remove_all(&self) {
        self.entries.invalidate_all();
    }

    /// The entries there are, with their hashes; what comes and goes meanwhile may be among them or not.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, Arc<Entry>)> + '_ {
        self.entries.iter().map(|(key, entry)| (key.hash, entry))
    }

    /// Entries and their bytes, after all that is pending inside moka was done.
    pub(super) fn size(&self) -> (u64, u64) {
        self.entries.run_pending_tasks();
        (self.entries.entry_count(), self.entries.weighted_size())
    }
}

// === impl StoreKey ===

impl PartialEq for StoreKey {
    fn eq(&self, other: &StoreKey) -> bool {
        self.hash == other.hash && self.bytes == other.bytes
    }
}

impl Eq for StoreKey {}

impl Hash for StoreKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Hash for Borrowed<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Equivalent<StoreKey> for Borrowed<'_> {
    fn equivalent(&self, key: &StoreKey) -> bool {
        self.hash == key.hash && *self.bytes == *key.bytes
    }
}

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
