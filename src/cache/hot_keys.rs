//! Which reads L1 answers most, as far as that is known without counting every hit.
//!
//! Some of the hits are counted by their keys, in a bounded map that keeps what comes often (moka: what it
//! promises about time and order does not matter here). Behind those come the keys whose places in the index
//! were hit most.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use moka::sync::Cache;

/// Keys that are longer are not counted.
const KEY_BYTES_MAX: usize = 512;

/// What the map spends on a key.
const OVERHEAD_BYTES: usize = 400;

/// The keys that were counted, and how often each was.
#[derive(Debug)]
pub(super) struct HotKeyCounts(Cache<Bytes, Arc<AtomicU32>>);

// === impl HotKeyCounts ===

impl HotKeyCounts {
    /// Counts that take at most `bytes_max` bytes.
    pub(super) fn new(bytes_max: u64) -> HotKeyCounts {
        let weigh = |key: &Bytes, _: &Arc<AtomicU32>| (key.len() + OVERHEAD_BYTES) as u32;
        HotKeyCounts(Cache::builder().name("hottest").max_capacity(bytes_max).weigher(weigh).build())
    }

    /// Counts a hit of this key.
    pub(super) fn note(&self, key: &[u8]) {
        if let Some(hits) = self.0.get(key) {
            hits.fetch_add(1, Ordering::Relaxed);
        } else if key.len() <= KEY_BYTES_MAX {
            self.0.insert(Bytes::copy_from_slice(key), Arc::new(AtomicU32::new(1)));
        }
    }

    /// All that is counted, the most frequent first. What was counted so far counts half from here on.
    pub(super) fn take_and_halve(&self) -> Vec<Bytes> {
        let mut keys: Vec<(u32, Bytes)> = Vec::new();
        for (key, hits) in &self.0 {
            let count = hits.load(Ordering::Relaxed);
            hits.store(count.div_ceil(2), Ordering::Relaxed);
            keys.push((count, Bytes::copy_from_slice(&key)));
        }
        keys.sort_by_key(|(hits, _)| Reverse(*hits));
        keys.into_iter().map(|(_, key)| key).collect()
    }
}
