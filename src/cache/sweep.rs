//! Takes out what can never be served again: expired, or of a lost connection or moved slot.
//!
//! Lookups pass such entries over, so this is about memory and truthful counts, not about correctness. But
//! what is over must not lie there for as long as it takes the clock of deadlines to wrap.

use super::SharedCache;
use super::miss_reason::MissReason;
use crate::clock;
use crate::stats::WorkerStats;

/// Lines of the index looked at before others get their turn.
const BATCH: usize = 64;

pub(super) async fn sweep(cache: &SharedCache, stats: &WorkerStats) {
    let mut from = Some(0);
    while let Some(line) = from {
        let now = clock::now();
        let leases = cache.store.leases();
        let (dead, next) = cache.store.dead(line, BATCH, |head| cache.why_dead_by(&leases, head, now));
        for (hash, spot, why) in dead {
            if cache.store.remove(hash, spot) {
                cache.reasons.note(hash, why);
                if why == MissReason::Expired {
                    stats.l1_expirations.add(1);
                }
            }
        }
        from = next;
        tokio::task::yield_now().await;
    }
    while cache.store.give_back_dead() {
        tokio::task::yield_now().await;
    }
}
