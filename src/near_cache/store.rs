//! What is kept and what goes when there is no more room: quick_cache, on its plain surface.
//!
//! Expiry and invalidation live in our own entries and generations, so an entry that stays longer than it should can cost
//! memory and never a wrong answer.
//!
//! Entries are kept by the hash of their key alone, and an entry says what it answers. Of two keys with one hash the later
//! one takes the place of the earlier, as if that had been evicted, and is dropped together with it.

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use quick_cache::sync::Cache;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};

use super::entry::Entry;

/// Parts with a lock and a part of the budget each. An entry may take an eighth of the whole, which is half of a part.
const SHARDS: usize = 4;

/// What an entry weighs, to estimate how many there will be: after half as many, keys that went are forgotten.
const ENTRY_BYTES: u64 = 512;

/// The entries of all keys, within a budget of bytes.
pub(super) struct Store {
    entries: Cache<u64, Arc<Entry>, Weigh, BuildHasherDefault<AlreadyHashed>, Gather>,
    on_eviction: Box<dyn Fn(u64) + Send + Sync>,
}

#[derive(Clone, Debug)]
struct Weigh;

/// Gathers what went during one call, so that it is dropped behind the lock.
#[derive(Clone, Debug)]
struct Gather;

/// Passes a hash through.
#[derive(Default)]
struct AlreadyHashed(u64);

// === impl Store ===

impl Store {
    /// A store of at most `bytes_max`; `on_eviction` is called with the hash of each entry that went for room.
    pub(super) fn new(bytes_max: u64, on_eviction: impl Fn(u64) + Send + Sync + 'static) -> Store {
        let options = OptionsBuilder::new()
            .weight_capacity(bytes_max)
            .estimated_items_capacity((bytes_max / ENTRY_BYTES) as usize)
            .shards(SHARDS)
            .build();
        let Ok(options) = options else { unreachable!("all that has no default was given") };
        let entries = Cache::with_options(options, Weigh, BuildHasherDefault::default(), Gather);
        Store { entries, on_eviction: Box::new(on_eviction) }
    }

    /// The entry that has this hash: nearly always that of the key which was hashed, as what is asked of it shows.
    pub(super) fn get(&self, hash: u64) -> Option<Arc<Entry>> {
        self.entries.get(&hash)
    }

    pub(super) fn insert(&self, hash: u64, entry: Arc<Entry>) {
        let mut gone = Vec::new();
        self.entries.insert_with_lifecycle(hash, entry, &mut gone);
        // What was replaced is among them, and is no eviction.
        gone.iter().filter(|(gone, _)| *gone != hash).for_each(|(gone, _)| (self.on_eviction)(*gone));
    }

    /// Removes the entry of `key`, and gives it if there was one.
    pub(super) fn remove(&self, hash: u64, key: &[u8]) -> Option<Arc<Entry>> {
        self.entries.remove(&hash).map(|(_, entry)| entry).filter(|entry| *entry.key() == *key)
    }

    pub(super) fn remove_all(&self) {
        self.entries.clear();
    }

    /// The entries there are, with their hashes; what comes and goes meanwhile may be among them or not.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, Arc<Entry>)> + '_ {
        self.entries.iter()
    }

    /// Entries and their bytes.
    pub(super) fn size(&self) -> (u64, u64) {
        (self.entries.len() as u64, self.entries.weight())
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({:?})", self.size())
    }
}

// === impl Weigh ===

impl Weighter<u64, Arc<Entry>> for Weigh {
    fn weight(&self, _: &u64, entry: &Arc<Entry>) -> u64 {
        u64::from(entry.weight())
    }
}

// === impl Gather ===

impl Lifecycle<u64, Arc<Entry>> for Gather {
    type RequestState = Vec<(u64, Arc<Entry>)>;

    fn on_evict(&self, gone: &mut Self::RequestState, hash: u64, entry: Arc<Entry>) {
        gone.push((hash, entry));
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
