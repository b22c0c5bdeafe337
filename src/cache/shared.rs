//! The part of L1 that all workers share: the entries, and what is known of keys without one. Invalidations
//! act here.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::admission::ChurnFilter;
use super::commit_order::Commits;
use super::generation::Generation;
use super::hot_keys::HotKeyCounts;
use super::miss_reason::{MissReason, Reasons};
use super::policy::{AdmissionRule, CacheTerms};
use super::store::{EntryHead, EpochView, Event, Store};
use crate::clock::{self, Nanos};
use crate::invalidation::Invalidation;
use crate::protocol::key::Slot;
use crate::settings::Setting;
use crate::stats::WorkerStats;

/// The counts of the keys that are hit most have one part in this many of the budget.
const COUNTED_PART: u64 = 64;

/// The last keys that were served wrong are shown, and this much of each.
const MISMATCHES_MAX: usize = 8;
const MISMATCH_CHARS_MAX: usize = 128;

/// Groups of keys of which one commit each may run at once.
const COMMIT_LOCKS: usize = 1_024;

/// How much is kept, and how long.
#[derive(Clone, Copy, Debug)]
pub struct CacheLimits {
    /// Bytes of all entries, with everything that is needed to keep them.
    pub bytes_max: u64,
    /// A larger entry is not kept.
    pub entry_bytes_max: u32,
    /// No reply is kept longer.
    pub ttl: Duration,
    /// No reply about an absent key is kept longer. Nothing is pushed for an absent key whose slot moves.
    pub negative_ttl: Duration,
    /// Whether keys that are invalidated more often than they are read are kept, if no policy says
    /// otherwise.
    pub admission: AdmissionRule,
    /// The share of the hits that is sampled, if any is.
    pub sampled: Option<f64>,
    /// Whether several workers fill L1, each over connections of its own: then replies of different
    /// connections have no common order, and have to be compared.
    pub several_workers: bool,
}

/// What all workers share.
#[derive(Debug)]
pub struct SharedCache {
    pub(super) limits: CacheLimits,
    pub(super) ttl: Setting,
    pub(super) negative_ttl: Setting,
    pub(super) store: Store,
    /// The keys that are not worth an entry.
    pub(super) scores: Arc<ChurnFilter>,
    /// The keys that are hit most.
    pub(super) counted: HotKeyCounts,
    /// The last keys that were served wrong, escaped; the newest first.
    pub(super) mismatches: Mutex<VecDeque<String>>,
    /// The reasons why keys have no entry.
    pub(super) reasons: Arc<Reasons>,
    /// Whether invalidations come over other connections than the replies that they are about.
    pub(super) separate_invalidation_stream: AtomicBool,
    /// Nothing is kept for now, because memory is scarce.
    pub(super) inserts_paused: AtomicBool,
    /// Whether replies come over several connections, and so in no common order.
    pub(super) several_connections: AtomicBool,
    /// When everything was dropped last; 0 if never.
    pub(super) emptied_at: AtomicU64,
    pub(super) commits: Box<[Commits]>,
}

// === impl SharedCache ===

impl SharedCache {
    /// An empty cache. Evictions are counted in `stats`.
    pub fn new(limits: CacheLimits, stats: Arc<WorkerStats>) -> SharedCache {
        let reasons = Arc::new(Reasons::new());
        let noting = reasons.clone();
        let counted_bytes = limits.bytes_max / COUNTED_PART;
        let scores = Arc::new(ChurnFilter::new());
        let scoring = scores.clone();
        let store = Store::new(limits.bytes_max - counted_bytes, move |hash, event| match event {
            Event::Kept => scoring.note_end(hash, true),
            Event::Gone(why) => {
                match why {
                    MissReason::Evicted => stats.l1_evictions.add(1),
                    MissReason::Expired => stats.l1_expirations.add(1),
                    _ => {}
                }
                noting.note(hash, why);
            }
        });
        let commits = std::iter::repeat_with(Commits::default).take(COMMIT_LOCKS).collect();
        SharedCache {
            ttl: Setting::of_duration(limits.ttl),
            negative_ttl: Setting::of_duration(limits.negative_ttl),
            limits,
            store,
            scores,
            counted: HotKeyCounts::new(counted_bytes),
            mismatches: Mutex::default(),
            reasons,
            separate_invalidation_stream: AtomicBool::new(false),
            inserts_paused: AtomicBool::new(false),
            several_connections: AtomicBool::new(limits.several_workers),
            emptied_at: AtomicU64::new(0),
            commits,
        }
    }

    /// Changes how long replies are kept at most. Those that are kept already keep their time.
    pub fn keep_for(&self, ttl: Option<Duration>, negative_ttl: Option<Duration>) {
        for (setting, new) in [(&self.ttl, ttl), (&self.negative_ttl, negative_ttl)] {
            if let Some(new) = new {
                setting.set_duration(new);
            }
        }
    }

    /// Makes sure that nothing older than this call is served for what `invalidation` names (I2). Safe from
    /// any thread; takes effect before it returns.
    pub fn invalidate(&self, invalidation: &Invalidation, stats: &WorkerStats) {
        match invalidation {
            Invalidation::Keys(keys) => {
                for key in keys {
                    self.invalidate_key(key, MissReason::Invalidated);
                }
                stats.l1_invalidations.add(keys.len() as u64);
            }
            Invalidation::Slots(slots) => {
                for slot in slots {
                    self.store.raise_slot(*slot);
                }
            }
            // The epoch that its entries carry has ended (I4).
            Invalidation::Node => {}
            Invalidation::All => {
                self.store.remove_all();
                self.reasons.clear();
                self.emptied_at.store(clock::now(), Ordering::Relaxed);
                stats.l1_flushes.add(1);
            }
        }
    }

    /// Makes sure that nothing older than this call is served for `key`. Returns whether an entry was
    /// removed, for the reason `why`.
    pub fn invalidate_key(&self, key: &[u8], why: MissReason) -> bool {
        let hash = self.store.hash(key);
        let Some(was_hit) = self.store.invalidate(hash) else { return false };
        self.reasons.note(hash, why);
        if matches!(why, MissReason::Invalidated | MissReason::Written) {
            self.scores.note_end(hash, was_hit);
        }
        true
    }

    /// Drops the entries of `key`, whose reply was found to be wrong, and remembers the key for INFO.
    pub fn note_mismatch(&self, key: &[u8]) {
        self.invalidate_key(key, MissReason::Mismatch);
        let shown = key.escape_ascii().to_string().chars().take(MISMATCH_CHARS_MAX).collect();
        let mut mismatches = self.mismatches.lock();
        mismatches.push_front(shown);
        mismatches.truncate(MISMATCHES_MAX);
    }

    /// The last keys that were served wrong, the newest first.
    pub fn mismatches(&self) -> Vec<String> {
        self.mismatches.lock().iter().cloned().collect()
    }

    /// Whether replies have to be compared with what is kept, because they and the invalidations come over
    /// several connections and in no common order.
    pub fn is_multi_stream(&self) -> bool {
        self.several_connections.load(Ordering::Relaxed)
            || self.separate_invalidation_stream.load(Ordering::Relaxed)
    }

    /// Notes that from now on a worker reads over several connections.
    pub fn note_multi_stream(&self) {
        self.several_connections.store(true, Ordering::Relaxed);
    }

    /// Sets whether invalidations come over other connections than the replies that they are about. When that
    /// ends, all entries must have been dropped before.
    pub fn set_separate_invalidation_stream(&self, elsewhere: bool) {
        self.separate_invalidation_stream.store(elsewhere, Ordering::Relaxed);
    }

    /// Invalidates `key` before a reply about it leaves that is not kept, if replies come over several
    /// connections: the reply may be newer than an entry, or than a running fill, and neither may be served
    /// after it.
    pub fn invalidate_if_unordered(&self, key: &[u8]) {
        if self.is_multi_stream() {
            self.invalidate_key(key, MissReason::ReadUnordered);
        }
    }

    pub(super) fn commits_of(&self, hash: u64) -> &Commits {
        &self.commits[hash as usize % COMMIT_LOCKS]
    }

    /// How long replies are kept at most on these terms, and those about absent keys.
    pub fn times_on(&self, terms: &CacheTerms) -> (Duration, Duration) {
        let ttl = terms.ttl.unwrap_or_else(|| self.ttl.duration());
        (ttl, terms.negative_ttl.unwrap_or_else(|| self.negative_ttl.duration()).min(ttl))
    }

    /// Entries and their bytes.
    pub fn size(&self) -> (u64, u64) {
        self.store.size()
    }

    /// The bytes of all that keeping the entries takes.
    pub fn bytes(&self) -> u64 {
        self.store.bytes()
    }

    /// The generation of a key, now.
    pub(super) fn generation(&self, hash: u64, slot: Slot) -> Generation {
        Generation { key: self.store.generation(hash), slot, moves: self.store.slot_generation(slot) }
    }

    pub(super) fn is_current(&self, hash: u64, generation: &Generation) -> bool {
        self.generation(hash, generation.slot) == *generation
    }

    /// Stops keeping replies, or begins again. Entries are not touched.
    pub fn pause_inserts(&self, empty: bool) {
        self.inserts_paused.store(empty, Ordering::Relaxed);
    }

    /// Why an entry may not be served at `now`, if it may not.
    pub(super) fn why_dead(&self, head: EntryHead, now: Nanos) -> Option<MissReason> {
        self.store.why_dead(head, now, || self.store.epoch(head.epoch_index()))
    }

    /// Why an entry may not be served at `now`, by a copy of the epochs: a walk over many entries takes no
    /// lock for each.
    pub(super) fn why_dead_by(&self, epochs: &EpochView, head: EntryHead, now: Nanos) -> Option<MissReason> {
        self.store.why_dead(head, now, || epochs.epoch(head.epoch_index()).cloned())
    }
}
