//! Gives back the memory of entries that can never be served again: expired, or of a lost connection or moved slot.
//!
//! Lookups pass such entries over, so this is about memory and truthful counts, not about correctness.

use super::entry::Gone;
use super::generations::Generations;
use super::store::Store;
use crate::clock;
use crate::stats::WorkerStats;

/// Entries looked at before others get their turn.
const BATCH: usize = 256;

pub(super) async fn sweep(store: &Store, generations: &Generations, stats: &WorkerStats) {
    for (index, (hash, entry)) in store.iter().enumerate() {
        let stale = !generations.is_current(&entry.generation);
        match entry.remains(clock::now()) {
            Ok(()) if !stale => {}
            outcome => {
                if store.remove(hash, &entry.key) && outcome == Err(Gone::Expired) {
                    stats.l1_expirations.add(1);
                }
            }
        }
        if index % BATCH == BATCH - 1 {
            tokio::task::yield_now().await;
        }
    }
}
