//! Removes entries that can never be served again: expired, or of a lost connection or a moved slot.
//!
//! Lookups never serve such entries, so this is about memory and exact counts, not about correctness. But an
//! expired entry must be removed before the clock of deadlines wraps.

use super::miss_reason::MissReason;
use super::shared::SharedCache;
use crate::clock;
use crate::stats::WorkerStats;

/// Lines of the index looked at before others get their turn.
const BATCH: usize = 64;

// === impl SharedCache ===

impl SharedCache {
    /// Drops the entries that can never be served again, a few at a time, and yields in between.
    pub async fn sweep(&self, stats: &WorkerStats) {
        let mut from = Some(0);
        while let Some(line) = from {
            let now = clock::now();
            let epochs = self.store.epochs();
            let (dead, next) = self.store.dead(line, BATCH, |head| self.why_dead_by(&epochs, head, now));
            for (hash, spot, why) in dead {
                if self.store.remove(hash, spot) {
                    self.reasons.note(hash, why);
                    if why == MissReason::Expired {
                        stats.l1_expirations.add(1);
                    }
                }
            }
            from = next;
            tokio::task::yield_now().await;
        }
        while self.store.give_back_dead() {
            tokio::task::yield_now().await;
        }
    }
}
