//! The keys that L1 answers most, by counts of some of the hits.
//!
//! One hit in many is counted by its key, in a bounded map that keeps frequent keys (moka; its guarantees
//! about time and order do not matter here). After those come the keys whose places in the index were hit
//! most.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use moka::sync::Cache;

/// Keys that are longer are not counted.
const KEY_BYTES_MAX: usize = 512;

/// Bytes that the map takes for a key beside its name.
const OVERHEAD_BYTES: usize = 400;

/// The counted keys, with the count of each.
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

    /// All counted keys, the most frequent first. Halves every count, so that a key that was hot once is
    /// forgotten in the end.
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
