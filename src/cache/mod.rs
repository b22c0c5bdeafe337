//! The near cache (L1): hot replies in memory, and the promise that none of them is stale.
//!
//! It knows keys, replies, epochs and time. It must never know connections, nodes or clients.
//!
//! - **I1** A fill is registered before its command is sent.
//! - **I2** An invalidation first kills the running fills of that key, then removes the entry; commit and
//!   invalidation of one key exclude each other.
//! - **I3** Who asks after an invalidation never joins a fill that began before it.
//! - **I4** A lost or silent upstream connection, a slot that moved, a failover, lag anywhere in our own
//!   queues: the epoch of what may be stale ends, and entries of it are misses. So are they while something
//!   that their node has said waits to be read: after the process was stopped, or a thread was held up.
//! - **I5** An entry never outlives its key: the server's TTL may only shorten ours, deadlines are monotonic,
//!   the round trip is subtracted. Where a policy is `capped` the server's TTL is not asked for: such an
//!   entry ends with the push of its key's removal, and at our own limit.
//! - **I6** Read your writes: once a session has its write's reply, no session of this daemon reads the older
//!   value; within one session's pipeline a read sees the writes before it and not the writes after it.
//!
//! How: the line of the index that a key belongs to has a generation ([`store`]). A ticket carries the one
//! from before the command was sent. An invalidation locks the line, raises it and takes the key's entries
//! out of the line, which is the only way to find them; a commit compares it under the same lock. What is
//! about slots and connections an entry says of itself: the number of its slot and the epoch that it was read
//! in, which every lookup compares.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

mod admission;
mod entry;
mod explain;
mod fill;
mod flush;
mod hashing;
mod hot_keys;
mod miss_reason;
pub mod policy;
mod prefetch;
mod samples;
mod store;
mod sweep;
pub mod warm;

pub use entry::{CacheQuery, CommandId, Hit, Resp2, VersionedReply};
pub use explain::{Explained, KeptReply};
pub use fill::{Lead, Ticket};
pub use flush::Flush;
pub use miss_reason::{MissReason, Noted, Unknown};
pub use samples::{SAMPLES_MAX, Sample};
pub use store::COMMANDS_MAX;

use bytes::Bytes;

use crate::cache::policy::{AdmissionRule, CacheTerms};
use crate::clock::{self, Nanos};
use crate::invalidation::Invalidation;
use crate::net::write_queue::WriteQueue;
use crate::node::Epoch;
use crate::protocol::key::Slot;
use crate::settings::Setting;
use crate::stats::WorkerStats;
use admission::ChurnFilter;
use fill::Fills;
use hot_keys::HotKeyCounts;
use miss_reason::Reasons;
use samples::Samples;
use store::{
    EntryHead, Event, Found, FoundReply, LeaseView, NewEntry, Refused, Sought, Store, TIME_MAX, tick,
};

/// One in so many hits is counted by its key. To count one in 64 took a sixth of what a hit costs, where very
/// many keys are hit.
const HITS_PER_COUNT: u64 = 1_024;

/// The keys that are hit most have one in so many parts of the budget.
const COUNTED_PART: u64 = 64;

/// Lines of the index looked at before others may lock them.
const LINES_AT_ONCE: usize = 64;

/// How long a fill is joined. The key may have expired since the node read it, and until the fill ends nobody
/// here knows: who asks later asks anew (I5).
pub const COALESCE_WINDOW: Duration = Duration::from_millis(10);

/// Keys that were served wrong, of which the last are shown, and how much of each.
const MISMATCHES_MAX: usize = 8;
const MISMATCH_CHARS_MAX: usize = 128;

/// Commits of so many groups of keys may go on at once.
const COMMIT_LOCKS: usize = 1_024;

/// How much is kept, and how long.
#[derive(Clone, Copy, Debug)]
pub struct CacheLimits {
    /// Bytes of all entries, with everything that keeping them takes.
    pub bytes_max: u64,
    /// A larger entry is not kept.
    pub entry_bytes_max: u32,
    /// No reply is kept longer.
    pub ttl: Duration,
    /// No reply about an absent key is kept longer. Nothing is pushed for an absent key whose slot moves.
    pub negative_ttl: Duration,
    /// Whether keys are kept that are invalidated more often than they are read, where no policy says
    /// otherwise.
    pub admission: AdmissionRule,
    /// Which part of the hits is sampled, if any is.
    pub sampled: Option<f64>,
    /// Whether several workers fill it, each over connections of its own: then replies of different
    /// connections are not in one order, and have to be compared.
    pub several_workers: bool,
}

/// What all workers share.
#[derive(Debug)]
pub struct SharedCache {
    limits: CacheLimits,
    ttl: Setting,
    negative_ttl: Setting,
    store: Store,
    /// Which keys are not worth an entry.
    scores: Arc<ChurnFilter>,
    /// Which keys are hit most.
    counted: HotKeyCounts,
    /// The last keys that were served though the server had something else, escaped; the newest first.
    mismatches: Mutex<VecDeque<String>>,
    /// Why keys are not here.
    reasons: Arc<Reasons>,
    /// Whether invalidations come over other connections than the replies that they are about.
    heard_elsewhere: AtomicBool,
    /// Nothing is kept for now: there is no memory for it.
    kept_empty: AtomicBool,
    /// Whether replies come over several connections, and so in no common order.
    several_connections: AtomicBool,
    /// When everything was dropped last; 0 if never.
    emptied_at: AtomicU64,
    commits: Box<[Commits]>,
}

/// The commits of a group of keys, when replies come over several connections.
#[derive(Debug, Default)]
struct Commits {
    /// They come one after the other. Nothing else waits for this.
    one_by_one: Mutex<Connections>,
    /// When the latest one was that kept its reply.
    latest: AtomicU64,
}

/// Over which connections the replies of a group of keys came that were kept.
#[derive(Debug, Default)]
struct Connections {
    /// The number of the epoch of the latest one.
    epoch: u64,
    /// No reply came later over any other connection.
    others_until: Nanos,
}

/// The near cache as one worker uses it. `T` is the outcome of a fill, as its followers get it.
#[derive(Debug)]
pub struct NearCache<T> {
    shared: Arc<SharedCache>,
    /// The epochs of entries, as far as this worker has met them.
    leases: RefCell<LeaseView>,
    fills: RefCell<Fills<T>>,
    /// Hits to be checked, if any are.
    samples: Option<Samples>,
    /// A hit is looked at more closely when none of these bits is set in the number of hits.
    closer_mask: u64,
    stats: Arc<WorkerStats>,
}

/// The answer to a lookup.
#[derive(Debug)]
pub enum Lookup<'a> {
    /// The reply.
    Hit(Hit<'a>),
    /// Not here. What was noted for a fill.
    Miss(MissToken),
}

/// What a lookup noted before anything is sent: the generation of the key (I1).
#[derive(Clone, Copy, Debug)]
pub struct MissToken {
    hash: u64,
    generation: Generation,
    /// When it was looked for.
    at: Nanos,
    /// A fill that was sent before this is none to join.
    behind: u64,
}

/// What must still be so when a reply is kept: how often its key, or one beside it in the index, was
/// invalidated, and how often its slot moved. Numbers of 32 bits would have to wrap around while a fill runs
/// to deceive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Generation {
    key: u32,
    slot: Slot,
    moves: u32,
}

/// How long the key that a reply speaks of will live, as the server said after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Until it is changed.
    Unbounded,
    /// So much longer, counted from when the command was sent.
    Bounded(Duration),
    /// There is no such key.
    Absent,
}

/// What became of a fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// The reply is kept.
    Kept,
    /// Something changed while it ran: the reply is an answer, but not one to keep.
    Killed,
    /// It would outlive its time, or is larger than an entry or, by its policy, a value may be.
    NotKept,
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
            heard_elsewhere: AtomicBool::new(false),
            kept_empty: AtomicBool::new(false),
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

    /// Makes sure that nothing older than this call is served for `key`; whether an entry went, because of
    /// `why`.
    pub fn invalidate_key(&self, key: &[u8], why: MissReason) -> bool {
        let hash = self.store.hash(key);
        let Some(was_hit) = self.store.invalidate(hash) else { return false };
        self.reasons.note(hash, why);
        if matches!(why, MissReason::Invalidated | MissReason::Written) {
            self.scores.note_end(hash, was_hit);
        }
        true
    }

    /// What was served of `key` was wrong: it goes, and is remembered for whoever reports.
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
        self.several_connections.load(Ordering::Relaxed) || self.heard_elsewhere.load(Ordering::Relaxed)
    }

    /// From now on a worker reads over several connections.
    pub fn note_multi_stream(&self) {
        self.several_connections.store(true, Ordering::Relaxed);
    }

    /// From now on invalidations come over other connections than the replies that they are about, or not any
    /// more: then all that was kept before must have been dropped.
    pub fn set_split_tracking(&self, elsewhere: bool) {
        self.heard_elsewhere.store(elsewhere, Ordering::Relaxed);
    }

    /// A reply about `key` that is not kept is about to leave. With several connections it may be newer than
    /// what another one brought in, or is about to: neither may be served after it.
    pub fn invalidate_if_unordered(&self, key: &[u8]) {
        if self.is_multi_stream() {
            self.invalidate_key(key, MissReason::Elsewhere);
        }
    }

    fn commits_of(&self, hash: u64) -> &Commits {
        &self.commits[hash as usize % COMMIT_LOCKS]
    }

    /// How long a reply may be kept from when its command was sent.
    fn time_to_keep(&self, terms: &CacheTerms, lifetime: Lifetime) -> Duration {
        let (ttl, negative_ttl) = self.times_on(terms);
        let cap = match lifetime {
            Lifetime::Absent => negative_ttl,
            Lifetime::Unbounded | Lifetime::Bounded(_) => ttl,
        };
        let cap = match terms.ttl_jitter {
            0 => cap,
            jitter => cap.mul_f64(1.0 - f64::from(jitter) / 1_000.0 * fastrand::f64()),
        };
        if let Lifetime::Bounded(left) = lifetime { left.min(cap) } else { cap }
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
    fn generation(&self, hash: u64, slot: Slot) -> Generation {
        Generation { key: self.store.generation(hash), slot, moves: self.store.slot_generation(slot) }
    }

    fn is_current(&self, hash: u64, generation: &Generation) -> bool {
        self.generation(hash, generation.slot) == *generation
    }

    /// Keeps nothing from now on, or keeps what is read again. What is there is not touched.
    pub fn keep_empty(&self, empty: bool) {
        self.kept_empty.store(empty, Ordering::Relaxed);
    }

    /// Drops the entries that can never be served again, a few at a time, and gives way in between.
    pub async fn sweep(&self, stats: &WorkerStats) {
        sweep::sweep(self, stats).await;
    }
}

// === impl NearCache ===

impl<T: Clone> NearCache<T> {
    /// One worker's view of `shared`, counting in `stats`.
    pub fn new(shared: Arc<SharedCache>, stats: Arc<WorkerStats>) -> NearCache<T> {
        let samples = shared.limits.sampled.map(Samples::new);
        let one_in = samples.as_ref().map_or(HITS_PER_COUNT, Samples::one_in);
        let closer_mask = one_in.min(HITS_PER_COUNT) - 1;
        NearCache {
            shared,
            leases: RefCell::default(),
            fills: RefCell::new(Fills::new()),
            samples,
            closer_mask,
            stats,
        }
    }

    /// What all workers share.
    pub fn shared(&self) -> &Arc<SharedCache> {
        &self.shared
    }

    /// Looks `question` up as of `now`; what is there is put behind what waits in `out`. `slot` is asked for
    /// only on a miss.
    #[inline(always)]
    pub fn lookup<'o>(
        &self,
        question: &CacheQuery<'_>,
        now: Nanos,
        slot: impl FnOnce() -> Slot,
        out: &'o mut WriteQueue,
    ) -> Lookup<'o> {
        let hash = self.shared.store.hash(question.key);
        if let Some((held, resp2)) = self.serve(hash, question, now, out) {
            self.stats.l1_hits.bump();
            if self.stats.l1_hits.get() & self.closer_mask == 0 {
                let sampled = self.samples.as_ref().map(|_| held.to_bytes(out));
                self.look_closer(*question, held.spot(), sampled);
            }
            return Lookup::Hit(Hit::new(out, held, resp2));
        }
        self.stats.l1_misses.bump();
        let generation = self.shared.generation(hash, slot());
        Lookup::Miss(MissToken { hash, generation, at: now, behind: 0 })
    }

    /// Finds what may be served, and puts it into the room of `out`, if it is none of the large ones; how
    /// RESP2 has it.
    #[inline(always)]
    fn serve(
        &self,
        hash: u64,
        question: &CacheQuery<'_>,
        now: Nanos,
        out: &mut WriteQueue,
    ) -> Option<(FoundReply, Resp2)> {
        if let Some(found) = self.shared.store.find_at_once(hash, &Sought::new(question), out)
            && !found.head.is_over(tick(now))
            && !self.shared.store.is_moved(found.head)
            && self.leases.borrow().is_seen(found.head.lease(), now)
        {
            return Some((FoundReply::copied(found), found.head.resp2()));
        }
        let found = self.serve_otherwise(hash, *question, now, out)?;
        Some((self.shared.store.held(found)?, found.head.resp2()))
    }

    /// The same wherever it lies, and whatever has to be looked at first.
    #[inline(never)]
    fn serve_otherwise(
        &self,
        hash: u64,
        question: CacheQuery<'_>,
        now: Nanos,
        out: &mut WriteQueue,
    ) -> Option<Found> {
        let sought = Sought::new(&question);
        let mut was_looked = false;
        loop {
            let found = self.shared.store.find(hash, &sought, out)?;
            let head = found.head;
            if head.is_over(tick(now)) || self.shared.store.is_moved(head) {
                self.pass_by(hash, head, found.spot, now);
                return None;
            }
            if self.leases.borrow().is_seen(head.lease(), now) {
                return Some(found);
            }
            // What is learned, or taken in, meanwhile may be about this key: all is done anew.
            if !self.look(hash, head, now, &mut was_looked) {
                return None;
            }
        }
    }

    /// What is there and not to be served.
    #[cold]
    fn pass_by(&self, hash: u64, head: EntryHead, spot: u64, now: Nanos) {
        let Some(why) = self.shared.why_dead(head, now) else { return };
        if why == MissReason::Expired && self.shared.store.remove(hash, spot) {
            self.stats.l1_expirations.add(1);
        }
        self.note(hash, why);
    }

    /// Looks at the connection that an entry came over: whether it is worth to look at the entry once more.
    #[cold]
    fn look(&self, hash: u64, head: EntryHead, now: Nanos, was_looked: &mut bool) -> bool {
        if self.shared.store.copy_lease(&mut self.leases.borrow_mut(), head.lease()) {
            return true;
        }
        let epoch = self.leases.borrow().epoch(head.lease()).cloned();
        let Some(epoch) = epoch.filter(|epoch| epoch.is_live(now)) else {
            let was_emptied = self.leases.borrow().epoch(head.lease()).is_some_and(Epoch::was_emptied);
            self.note(hash, if was_emptied { MissReason::NodeFlushed } else { MissReason::Lost });
            return false;
        };
        let is_seen = !std::mem::replace(was_looked, true) && epoch.look(now);
        if !is_seen {
            self.stats.l1_unseen.bump();
        }
        is_seen
    }

    /// What is done for a few hits alone.
    #[cold]
    fn look_closer(&self, question: CacheQuery<'_>, spot: u64, reply: Option<Bytes>) {
        let hits = self.stats.l1_hits.get();
        if hits.is_multiple_of(HITS_PER_COUNT) {
            self.shared.counted.note(question.key);
        }
        if let (Some(samples), Some(reply)) = (&self.samples, reply)
            && samples.look(hits, &question, spot, reply)
        {
            self.stats.shadow_skipped.add(1);
        }
    }

    /// The next hit that is to be checked, when there is one; never, where none are sampled.
    pub async fn next_sample(&self) -> Sample {
        match &self.samples {
            Some(samples) => samples.next().await,
            None => std::future::pending().await,
        }
    }

    /// Whether what a sample served may still be served at `now`: nothing was heard that speaks against it.
    pub fn is_still_served(&self, sample: &Sample, now: Nanos) -> bool {
        let hash = self.shared.store.hash(sample.key());
        let mut out = WriteQueue::default();
        let found = self.shared.store.find(hash, &Sought::new(&sample.question()), &mut out);
        found.is_some_and(|found| {
            // Where it lies is what tells it from one that was read after a change.
            found.spot == sample.spot && self.shared.why_dead(found.head, now).is_none()
        })
    }

    /// What a lookup would have noted that is not made: the answer must be none that was sent for before
    /// `behind`.
    pub fn miss_without_lookup(&self, key: &[u8], now: Nanos, slot: Slot, behind: u64) -> MissToken {
        self.stats.l1_misses.bump();
        let hash = self.shared.store.hash(key);
        MissToken { hash, generation: self.shared.generation(hash, slot), at: now, behind }
    }

    /// Joins the fill that runs for `question` in this worker, if there is one to join (I3). Also says when
    /// it was sent.
    ///
    /// With several workers, one that was committed since may have brought in something newer, and it may
    /// have been served already.
    pub fn join(
        &self,
        missed: &MissToken,
        question: &CacheQuery<'_>,
        now: Nanos,
    ) -> Option<(oneshot::Receiver<T>, u64)> {
        let is_good = |ticket: &Ticket| {
            let young = now < ticket.began + clock::nanos(COALESCE_WINDOW);
            young
                && ticket.generation == missed.generation
                && ticket.epoch.is_live(now)
                && ticket.began > self.shared.commits_of(missed.hash).latest.load(Ordering::Acquire)
        };
        let mut fills = self.fills.borrow_mut();
        let joined = fills.join(self.question_hash(question), question, missed.behind, is_good)?;
        self.stats.l1_coalesced.add(1);
        self.shared.scores.note_end(missed.hash, true);
        Some(joined)
    }

    /// Counts what is sent upstream in this worker: whoever gets a higher number is sent later.
    pub fn next_number(&self) -> u64 {
        self.fills.borrow_mut().next_number()
    }

    /// Whether a reply to what was missed is worth keeping on these terms. Counts, so it is asked once for
    /// each miss.
    pub fn admits(&self, missed: &MissToken, terms: &CacheTerms) -> bool {
        if self.shared.kept_empty.load(Ordering::Relaxed) {
            self.note(missed.hash, MissReason::NoMemory);
            return false;
        }
        if terms.admission.unwrap_or(self.shared.limits.admission) == AdmissionRule::Always {
            return true;
        }
        if !self.shared.scores.admits(missed.hash) {
            self.stats.l1_unworthy.add(1);
            self.note(missed.hash, MissReason::WriteHeavy);
            return false;
        }
        true
    }

    /// The ticket of a fill whose command goes out on the connection of `epoch`. `missed` must be from before
    /// the command was sent (I1).
    pub fn ticket(&self, missed: &MissToken, epoch: Epoch) -> Ticket {
        let terms = CacheTerms::default();
        Ticket { hash: missed.hash, generation: missed.generation, epoch, began: missed.at, terms }
    }

    /// Makes the caller the lead of the fill of `question`, whose tail is `tail`.
    pub fn begin_fill(&self, question: &CacheQuery<'_>, tail: Bytes, ticket: Ticket) -> Lead<T> {
        self.fills.borrow_mut().begin(self.question_hash(question), question.command, tail, ticket)
    }

    /// Ends a fill: all followers get `outcome`.
    pub fn finish_fill(&self, lead: Lead<T>, outcome: &T) {
        self.fills.borrow_mut().finish(lead, outcome);
    }

    /// Keeps `reply`, unless anything happened to the key since the ticket was made. `sent_at` is when the
    /// command was sent; `lifetime` what the server said of the key after it.
    ///
    /// With several workers, or where a policy has changes broadcast, replies and invalidations come over
    /// several connections and in no common order: this one may be older or newer than what was served,
    /// or is about to be kept. When two differ, neither is kept, and all of that is settled before the
    /// reply leaves: what this daemon has served is never followed by something older.
    pub fn commit(
        &self,
        ticket: &Ticket,
        question: &CacheQuery<'_>,
        reply: &VersionedReply,
        lifetime: Lifetime,
        sent_at: Nanos,
    ) -> Commit {
        if !self.shared.is_multi_stream() {
            return self.keep(ticket, question, reply, lifetime, sent_at);
        }
        let commits = self.shared.commits_of(ticket.hash);
        let mut connections = commits.one_by_one.lock();
        let latest = commits.latest.load(Ordering::Acquire);
        let rival = self.kept_reply(ticket.hash, question);
        let differs = |rival: &Bytes| *rival != reply.resp3;
        let commit = match &rival {
            Some(rival) if differs(rival) => {
                self.note(ticket.hash, MissReason::Differed);
                Commit::Killed
            }
            _ if self.crosses(ticket, question.key, connections.others_until(&ticket.epoch, latest)) => {
                return self.end_all(question.key);
            }
            _ => self.keep(ticket, question, reply, lifetime, sent_at),
        };
        if commit == Commit::Kept {
            connections.note(&ticket.epoch, latest);
            commits.latest.fetch_max(clock::now(), Ordering::AcqRel);
        }
        if commit != Commit::Kept && rival.is_none_or(|rival| differs(&rival)) {
            self.shared.invalidate_key(question.key, MissReason::Differed);
        }
        commit
    }

    /// Whether something else about the key is kept, or was, that came over another connection of the same
    /// worker since the ticket was made: which of the two is newer, nobody can tell. What one of the
    /// connections has to say of the key may be held up for long, behind something large.
    ///
    /// Several workers read so all the time. What they are told is not held up, or only together with what
    /// they read.
    fn crosses(&self, ticket: &Ticket, key: &[u8], others_until: Nanos) -> bool {
        let is_over_it = |lease: u16| {
            self.shared.store.epoch(lease).is_some_and(|epoch| epoch.number() == ticket.epoch.number())
        };
        !self.shared.limits.several_workers
            && self.shared.several_connections.load(Ordering::Relaxed)
            && (others_until > ticket.began
                || self
                    .shared
                    .store
                    .replies(ticket.hash, key)
                    .iter()
                    .any(|kept| !is_over_it(kept.head.lease())))
    }

    /// Drops all that is kept of a key, also what is about to be.
    fn end_all(&self, key: &[u8]) -> Commit {
        self.shared.invalidate_key(key, MissReason::Elsewhere);
        self.stats.l1_fills_killed.add(1);
        Commit::Killed
    }

    /// What the store would serve for `question` now.
    fn kept_reply(&self, hash: u64, question: &CacheQuery<'_>) -> Option<Bytes> {
        let mut out = WriteQueue::default();
        let found = self.shared.store.find(hash, &Sought::new(question), &mut out)?;
        let is_served = self.shared.why_dead(found.head, clock::now()).is_none();
        if is_served { self.shared.store.held(found).map(|held| held.to_bytes(&out)) } else { None }
    }

    fn keep(
        &self,
        ticket: &Ticket,
        question: &CacheQuery<'_>,
        reply: &VersionedReply,
        lifetime: Lifetime,
        sent_at: Nanos,
    ) -> Commit {
        let now = clock::now();
        let time = clock::nanos(self.shared.time_to_keep(&ticket.terms, lifetime)).min(TIME_MAX);
        let deadline = tick(sent_at + time);
        if !ticket.epoch.is_live(now) {
            return self.killed(ticket);
        }
        if now >= sent_at + time || deadline == tick(now) {
            self.note(ticket.hash, MissReason::TooShort);
            return Commit::NotKept;
        }
        if !question.is_well_formed() {
            self.note(ticket.hash, MissReason::OddRequest);
            return Commit::NotKept;
        }
        let is_too_large = ticket.terms.value_max.is_some_and(|max| reply.value_len() > max)
            || question.len() + reply.resp3.len() > self.shared.limits.entry_bytes_max as usize;
        if is_too_large {
            self.note(ticket.hash, MissReason::TooLarge);
            return Commit::NotKept;
        }
        let fill = NewEntry {
            hash: ticket.hash,
            generation: ticket.generation.key,
            slot_generation: ticket.generation.moves,
            slot: ticket.generation.slot,
            epoch: &ticket.epoch,
            deadline,
            question,
            reply: &reply.resp3,
            resp2: reply.resp2_form(),
        };
        match self.shared.store.insert(&fill) {
            Ok(()) => {
                self.stats.l1_fills.add(1);
                Commit::Kept
            }
            Err(Refused::Changed) => self.killed(ticket),
            Err(refused) => {
                let why =
                    if refused == Refused::TooLarge { MissReason::TooLarge } else { MissReason::Evicted };
                self.note(ticket.hash, why);
                Commit::NotKept
            }
        }
    }

    fn killed(&self, ticket: &Ticket) -> Commit {
        self.stats.l1_fills_killed.add(1);
        let is_changed = !self.shared.is_current(ticket.hash, &ticket.generation);
        self.note(ticket.hash, if is_changed { MissReason::Changed } else { MissReason::EpochEnded });
        Commit::Killed
    }

    fn note(&self, hash: u64, why: MissReason) {
        self.shared.reasons.note(hash, why);
    }

    fn question_hash(&self, question: &CacheQuery<'_>) -> u64 {
        self.shared.store.hash_of((question.command, question.args))
    }
}

// === impl Connections ===

impl Connections {
    /// No reply came later over any connection but that of `epoch`, when the latest of all came at `latest`.
    fn others_until(&self, epoch: &Epoch, latest: Nanos) -> Nanos {
        if self.epoch == epoch.number() { self.others_until } else { latest }
    }

    /// One was kept that came over that of `epoch`; the one before it came at `latest`.
    fn note(&mut self, epoch: &Epoch, latest: Nanos) {
        self.others_until = self.others_until(epoch, latest);
        self.epoch = epoch.number();
    }
}

// === impl Missed ===

impl MissToken {
    /// The slot of the key.
    pub fn slot(&self) -> Slot {
        self.generation.slot
    }
}

#[cfg(test)]
mod tests;
