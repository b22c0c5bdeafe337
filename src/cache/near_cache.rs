//! L1 as one worker uses it: the shared entries, the fills of the worker, and samples of its hits.

use std::cell::RefCell;
use std::sync::Arc;

use super::entry::CacheQuery;
use super::fill::Fills;
use super::miss_reason::MissReason;
use super::samples::{Sample, Samples};
use super::shared::SharedCache;
use super::store::{EpochView, LookupKey};
use crate::clock::Nanos;
use crate::net::write_queue::WriteQueue;
use crate::stats::WorkerStats;

/// Hits from one that is counted by its key to the next. With 64 the counting took a sixth of what a hit
/// costs, where very many keys are hit.
pub(super) const HITS_PER_COUNT: u64 = 1_024;

/// The near cache as one worker uses it. `T` is the outcome of a fill, as its followers get it.
#[derive(Debug)]
pub struct NearCache<T> {
    pub(super) shared: Arc<SharedCache>,
    /// The epochs of entries, as far as this worker has met them.
    pub(super) epochs: RefCell<EpochView>,
    pub(super) fills: RefCell<Fills<T>>,
    /// Samples of hits, if any are taken.
    pub(super) samples: Option<Samples>,
    /// A hit is counted or sampled when none of these bits is set in the number of hits.
    pub(super) sample_mask: u64,
    pub(super) stats: Arc<WorkerStats>,
}

// === impl NearCache ===

impl<T: Clone> NearCache<T> {
    /// Creates one worker's view of `shared`, counting in `stats`.
    pub fn new(shared: Arc<SharedCache>, stats: Arc<WorkerStats>) -> NearCache<T> {
        let samples = shared.limits.sampled.map(Samples::new);
        let one_in = samples.as_ref().map_or(HITS_PER_COUNT, Samples::one_in);
        let sample_mask = one_in.min(HITS_PER_COUNT) - 1;
        NearCache {
            shared,
            epochs: RefCell::default(),
            fills: RefCell::new(Fills::new()),
            samples,
            sample_mask,
            stats,
        }
    }

    /// What all workers share.
    pub fn shared(&self) -> &Arc<SharedCache> {
        &self.shared
    }

    /// The next sample, when there is one; never, if none are taken.
    pub async fn next_sample(&self) -> Sample {
        match &self.samples {
            Some(samples) => samples.next().await,
            None => std::future::pending().await,
        }
    }

    /// Whether the entry of a sample may still be served at `now`: no invalidation of it has arrived.
    pub fn is_still_served(&self, sample: &Sample, now: Nanos) -> bool {
        let hash = self.shared.store.hash(sample.key());
        let mut out = WriteQueue::default();
        let found = self.shared.store.find(hash, &LookupKey::new(&sample.query()), &mut out);
        found.is_some_and(|found| {
            // Its spot distinguishes it from an entry that was read after a change.
            found.spot == sample.spot && self.shared.why_dead(found.head, now).is_none()
        })
    }

    pub(super) fn note(&self, hash: u64, why: MissReason) {
        self.shared.reasons.note(hash, why);
    }

    pub(super) fn query_hash(&self, query: &CacheQuery<'_>) -> u64 {
        self.shared.store.hash_of((query.command, query.args))
    }
}
