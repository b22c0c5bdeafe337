//! Gives back the memory of entries that can never be served again: expired, or of a lost connection or moved slot.
//!
//! Lookups pass such entries over, so this is about memory and truthful counts, not about correctness.

use super::SharedCache;
use super::entry::Gone;
use crate::clock;
use crate::stats::WorkerStats;

/// Entries looked at before others get their turn.
const BATCH: usize = 256;

pub(super) async fn sweep(cache: &SharedCache, stats: &WorkerStats) {
    for (index, (hash, entry)) in cache.store.iter().enumerate() {
        let (now, stale) = (clock::now(), !cache.generations.is_current(&entry.generation));
        let remains = entry.remains(now);
        if (stale || remains.is_err()) && cache.store.remove(hash, entry.key()).is_some() {
            cache.reasons.note(hash, cache.why_dead(&entry, now));
            if remains == Err(Gone::Expired) {
                stats.l1_expirations.add(1);
            }
        }
        if index % BATCH == BATCH - 1 {
            tokio::task::yield_now().await;
        }
    }
}
