//! The near cache (L1): hot replies in memory, and the promise that none of them is stale.
//!
//! It knows keys, replies, epochs and time. It must never know connections, nodes or clients.
//!
//! - **I1** A fill is registered before its command is sent.
//! - **I2** An invalidation first kills the running fills of that key, then removes the entry; commit and
//!   invalidation of one key exclude each other.
//! - **I3** Who asks after an invalidation never joins a fill that began before it.
//! - **I4** A lost or silent upstream connection, a slot that moved, a failover, lag anywhere in our own queues: the
//!   epoch of what may be stale ends, and entries of it are misses. So are they while something that their node has
//!   said waits to be read: after the process was stopped, or a thread was held up.
//! - **I5** An entry never outlives its key: the server's TTL may only shorten ours, deadlines are monotonic, the
//!   round trip is subtracted. Where a policy is `capped` the server's TTL is not asked for: such an entry ends with the
//!   push of its key's removal, and at our own limit.
//! - **I6** Read your writes: once a session has its write's reply, no session of this daemon reads the older value;
//!   within one session's pipeline a read sees the writes before it and not the writes after it.
//!
//! How: every entry and every ticket carries the generation of its key from before the command was sent, and every
//! lookup and every commit compares it with the generation now ([`generations`]). An invalidation raises it, and from
//! that instant nothing older is served, wherever it lives. Removing the entry only frees its memory.

use std::cell::{Ref, RefCell};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

mod admission;
mod ahead;
mod entry;
mod explain;
mod fill;
mod generations;
mod gone;
mod hashing;
mod hot_set;
mod hottest;
mod samples;
mod store;
mod sweep;
mod why;

pub use entry::{Hit, Question, Reply};
pub use explain::{Explained, KeptReply};
pub use fill::{Lead, Ticket};
pub use samples::{SAMPLES_MAX, Sample};
pub use why::{Noted, Unknown, Why};

use bytes::Bytes;

use crate::clock::{self, Nanos};
use crate::invalidation::Invalidation;
use crate::key::Slot;
use crate::node::Epoch;
use crate::policy::{Admission, Terms};
use crate::resp::Resp;
use crate::settings::Setting;
use crate::stats::WorkerStats;
use admission::{Firsts, Scores};
use entry::{Cached, Entry, Found};
use fill::Fills;
use generations::{Generation, Generations};
use gone::{Gone, Listeners};
use hashing::Hashing;
use hot_set::HotSet;
use samples::Samples;
use store::Store;
use why::Reasons;

/// One in so many hits of the hot set is counted, and reported to the store.
const HOT_HITS_PER_REPORT: u64 = 64;

/// How long a fill is joined. The key may have expired since the node read it, and until the fill ends nobody here
/// knows: who asks later asks anew (I5).
pub const JOINABLE: Duration = Duration::from_millis(10);

/// Keys that were served wrong, of which the last are shown, and how much of each.
const MISMATCHES_MAX: usize = 8;
const MISMATCH_CHARS_MAX: usize = 128;

/// Commits of so many groups of keys may go on at once.
const COMMIT_LOCKS: usize = 64;

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
    /// Whether keys are kept that are invalidated more often than they are read, where no policy says otherwise.
    pub admission: Admission,
    /// Which part of the hits is sampled, if any is.
    pub sampled: Option<f64>,
    /// Whether several workers fill it, each over connections of its own: then replies of different connections are
    /// not in one order, and have to be compared.
    pub several_workers: bool,
}

/// What all workers share.
#[derive(Debug)]
pub struct SharedCache {
    limits: CacheLimits,
    ttl: Setting,
    negative_ttl: Setting,
    hashing: Hashing,
    generations: Generations,
    store: Store,
    /// The hot sets of all workers.
    listeners: Arc<Listeners>,
    /// Which keys are not worth an entry.
    scores: Scores,
    /// Which keys were read for the first time while it was full.
    firsts: Firsts,
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
    commits: [Commits; COMMIT_LOCKS],
}

/// The commits of a group of keys, when there are several workers.
#[derive(Debug, Default)]
struct Commits {
    /// They come one after the other. Nothing else waits for this.
    one_by_one: Mutex<()>,
    /// When the latest one was that kept its reply.
    latest: AtomicU64,
}

/// The near cache as one worker uses it. `T` is the outcome of a fill, as its followers get it.
#[derive(Debug)]
pub struct NearCache<T> {
    shared: Arc<SharedCache>,
    hot: RefCell<HotSet>,
    /// What the store let go and the hot set may still have.
    gone: Arc<Gone>,
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
    Miss(Missed),
}

/// What a lookup noted before anything is sent: the generation of the key (I1).
#[derive(Clone, Copy, Debug)]
pub struct Missed {
    hash: u64,
    generation: Generation,
    /// When it was looked for.
    at: Nanos,
    /// A fill that was sent before this is none to join.
    behind: u64,
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
        let listeners = Arc::<Listeners>::default();
        let telling = listeners.clone();
        let store = Store::new(limits.bytes_max, move |hash, for_room| {
            if for_room {
                stats.l1_evictions.add(1);
                noting.note(hash, Why::Evicted);
            }
            telling.each(|gone| gone.note(hash));
        });
        let commits = std::array::from_fn(|_| Commits::default());
        SharedCache {
            ttl: Setting::of_duration(limits.ttl),
            negative_ttl: Setting::of_duration(limits.negative_ttl),
            limits,
            hashing: Hashing::new(),
            generations: Generations::new(),
            store,
            listeners,
            scores: Scores::new(),
            firsts: Firsts::new(limits.bytes_max),
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

    /// Makes sure that nothing older than this call is served for what `invalidation` names (I2). Safe from any
    /// thread; takes effect before it returns.
    pub fn invalidate(&self, invalidation: &Invalidation, stats: &WorkerStats) {
        match invalidation {
            Invalidation::Keys(keys) => {
                for key in keys {
                    self.invalidate_key(key, Why::Invalidated);
                }
                stats.l1_invalidations.add(keys.len() as u64);
            }
            Invalidation::Slots(slots) => {
                for slot in slots {
                    self.generations.raise_slot(*slot);
                }
            }
            // The epoch that its entries carry has ended (I4).
            Invalidation::Node => {}
            Invalidation::All => {
                self.generations.raise_all();
                self.store.remove_all();
                self.listeners.each(Gone::note_all);
                self.reasons.clear();
                self.emptied_at.store(clock::now(), Ordering::Relaxed);
                stats.l1_flushes.add(1);
            }
        }
    }

    /// Makes sure that nothing older than this call is served for `key`; whether an entry went, because of `why`.
    pub fn invalidate_key(&self, key: &[u8], why: Why) -> bool {
        let hash = self.hashing.hash(key);
        // The order is I2: from here on a running fill cannot commit, and a hot set cannot serve.
        self.generations.raise_key(hash);
        let Some(entry) = self.store.remove(hash, key) else { return false };
        self.reasons.note(hash, why);
        if matches!(why, Why::Invalidated | Why::Written) {
            self.scores.note_end(hash, entry.was_hit());
        }
        true
    }

    /// What was served of `key` was wrong: it goes, and is remembered for whoever reports.
    pub fn note_mismatch(&self, key: &[u8]) {
        self.invalidate_key(key, Why::Mismatch);
        let shown = key.escape_ascii().to_string().chars().take(MISMATCH_CHARS_MAX).collect();
        // Nobody panics while holding it.
        let mut mismatches = self.mismatches.lock().unwrap_or_else(PoisonError::into_inner);
        mismatches.push_front(shown);
        mismatches.truncate(MISMATCHES_MAX);
    }

    /// The last keys that were served wrong, the newest first.
    pub fn mismatches(&self) -> Vec<String> {
        self.mismatches.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Whether replies have to be compared with what is kept, because they and the invalidations come over several
    /// connections and in no common order.
    pub fn compares(&self) -> bool {
        self.several_connections.load(Ordering::Relaxed) || self.heard_elsewhere.load(Ordering::Relaxed)
    }

    /// From now on a worker reads over several connections.
    pub fn read_over_several(&self) {
        self.several_connections.store(true, Ordering::Relaxed);
    }

    /// From now on invalidations come over other connections than the replies that they are about, or not any more:
    /// then all that was kept before must have been dropped.
    pub fn hear_elsewhere(&self, elsewhere: bool) {
        self.heard_elsewhere.store(elsewhere, Ordering::Relaxed);
    }

    /// A reply about `key` that is not kept is about to leave. With several connections it may be newer than what another
    /// one brought in, or is about to: neither may be served after it.
    pub fn answered_otherwise(&self, key: &[u8]) {
        if self.compares() {
            self.invalidate_key(key, Why::Elsewhere);
        }
    }

    fn commits_of(&self, hash: u64) -> &Commits {
        &self.commits[hash as usize % COMMIT_LOCKS]
    }

    /// How long a reply may be kept from when its command was sent.
    fn time_to_keep(&self, terms: &Terms, lifetime: Lifetime) -> Duration {
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
    pub fn times_on(&self, terms: &Terms) -> (Duration, Duration) {
        let ttl = terms.ttl.unwrap_or_else(|| self.ttl.duration());
        (ttl, terms.negative_ttl.unwrap_or_else(|| self.negative_ttl.duration()).min(ttl))
    }

    /// Entries and their bytes.
    pub fn size(&self) -> (u64, u64) {
        self.store.size()
    }

    /// The bytes of all entries, as far as the store has counted.
    pub fn bytes(&self) -> u64 {
        self.store.bytes()
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
        let one_in = samples.as_ref().map_or(HOT_HITS_PER_REPORT, Samples::one_in);
        let closer_mask = one_in.min(HOT_HITS_PER_REPORT) - 1;
        let (hot, fills) = (HotSet::new(shared.limits.bytes_max), Fills::new());
        let gone = shared.listeners.add();
        let (hot, fills) = (RefCell::new(hot), RefCell::new(fills));
        NearCache { shared, hot, gone, fills, samples, closer_mask, stats }
    }

    /// What all workers share.
    pub fn shared(&self) -> &Arc<SharedCache> {
        &self.shared
    }

    /// Looks `question` up as of `now`. `slot` is asked for only on a miss.
    #[inline]
    pub fn lookup(&self, question: &Question<'_>, now: Nanos, slot: impl FnOnce() -> Slot) -> Lookup<'_> {
        let hash = self.shared.hashing.hash(question.key);
        if let Some(reply) = self.lookup_hot(hash, question, now) {
            return Lookup::Hit(Hit::hot(reply));
        }
        if let Some(hit) = self.lookup_stored(hash, question, now) {
            return Lookup::Hit(hit);
        }
        self.stats.l1_misses.bump();
        let generation = self.shared.generations.of(hash, slot());
        Lookup::Miss(Missed { hash, generation, at: now, behind: 0 })
    }

    #[inline]
    fn lookup_hot(&self, hash: u64, question: &Question<'_>, now: Nanos) -> Option<Ref<'_, Cached>> {
        let hot = self.hot.borrow();
        let reply = Ref::filter_map(hot, |hot| {
            let entry = hot.get(hash)?;
            let found =
                self.shared.generations.is_current(&entry.generation).then(|| entry.find(question, now));
            if let Some(Found::Live(reply, _)) = found { Some(reply) } else { None }
        });
        let reply = reply.ok()?;
        self.stats.l1_hits.bump();
        if self.stats.l1_hits.get() & self.closer_mask == 0 {
            self.look_closer(hash, question, &reply);
        }
        Some(reply)
    }

    /// What is done for a few hits of the hot set alone.
    #[cold]
    fn look_closer(&self, hash: u64, question: &Question<'_>, reply: &Cached) {
        let hot = self.hot.borrow();
        let Some(entry) = hot.get(hash) else { return };
        if self.stats.l1_hits.get().is_multiple_of(HOT_HITS_PER_REPORT) {
            entry.note_hits(HOT_HITS_PER_REPORT as u32);
            // Where something has to go, the store's policy must see which keys are hot. That costs several
            // times what the hit did.
            if self.shared.store.is_full() {
                self.shared.store.get(hash);
            }
        }
        self.sample(question, reply, entry);
    }

    /// Lets go of what the store has let go, even if nothing is looked up. Does not end.
    pub async fn let_go(&self) {
        loop {
            self.gone.many().await;
            self.tidy();
        }
    }

    #[inline]
    fn tidy(&self) {
        self.gone.take(|gone| self.hot.borrow_mut().let_go(gone));
    }

    fn sample(&self, question: &Question<'_>, reply: &Cached, entry: &Arc<Entry>) {
        if let Some(samples) = &self.samples
            && samples.look(self.stats.l1_hits.get(), question, reply, entry)
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
        self.shared.generations.is_current(&sample.entry.generation) && sample.is_live(now)
    }

    fn lookup_stored(&self, hash: u64, question: &Question<'_>, now: Nanos) -> Option<Hit<'_>> {
        self.tidy();
        let entry = self.shared.store.get(hash)?;
        if !self.shared.generations.is_current(&entry.generation) {
            self.shared.reasons.note(hash, self.shared.why_dead(&entry, now));
            return None;
        }
        let is_current = || self.shared.generations.is_current(&entry.generation);
        match entry.find(question, now) {
            // Whoever was just taking something in may have made the key stale meanwhile (I2).
            Found::Unseen(reply, _) if !(reply.look(now) && is_current()) => {
                self.stats.l1_unseen.bump();
                None
            }
            Found::Live(reply, place) | Found::Unseen(reply, place) => {
                self.stats.l1_hits.bump();
                entry.note_hits(1);
                self.sample(question, reply, &entry);
                self.hot.borrow_mut().put(hash, &entry);
                Some(Hit::stored(entry, place))
            }
            Found::Expired => {
                self.stats.l1_expirations.add(1);
                self.hot.borrow_mut().clear(hash);
                self.shared.store.remove(hash, question.key);
                self.shared.reasons.note(hash, Why::Expired);
                None
            }
            Found::Lost => {
                self.shared.reasons.note(hash, Why::Lost);
                None
            }
            Found::Nothing => None,
        }
    }

    /// What a lookup would have noted that is not made: the answer must be none that was sent for before `behind`.
    pub fn pass_over(&self, key: &[u8], now: Nanos, slot: Slot, behind: u64) -> Missed {
        self.stats.l1_misses.bump();
        let hash = self.shared.hashing.hash(key);
        Missed { hash, generation: self.shared.generations.of(hash, slot), at: now, behind }
    }

    /// Joins the fill that runs for `question` in this worker, if there is one to join (I3). Also says when it was sent.
    ///
    /// With several workers, one that was committed since may have brought in something newer, and it may have been
    /// served already.
    pub fn join(
        &self,
        missed: &Missed,
        question: &Question<'_>,
        now: Nanos,
    ) -> Option<(oneshot::Receiver<T>, u64)> {
        let is_good = |ticket: &Ticket| {
            let young = now < ticket.began + clock::nanos(JOINABLE);
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

    /// Whether a reply to what was missed is worth keeping on these terms. Counts, so it is asked once for each miss.
    pub fn admits(&self, missed: &Missed, terms: &Terms) -> bool {
        if self.shared.kept_empty.load(Ordering::Relaxed) {
            self.note(missed.hash, Why::NoMemory);
            return false;
        }
        if terms.admission.unwrap_or(self.shared.limits.admission) == Admission::Always {
            return true;
        }
        if !self.shared.scores.admits(missed.hash) {
            self.stats.l1_unworthy.add(1);
            self.note(missed.hash, Why::Unworthy);
            return false;
        }
        if self.shared.store.is_full() && !self.shared.firsts.was_read(missed.hash) {
            self.stats.l1_read_once.add(1);
            self.note(missed.hash, Why::ReadOnce);
            return false;
        }
        true
    }

    /// The ticket of a fill whose command goes out on the connection of `epoch`. `missed` must be from before the
    /// command was sent (I1).
    pub fn ticket(&self, missed: &Missed, epoch: Epoch) -> Ticket {
        let terms = Terms::default();
        Ticket { hash: missed.hash, generation: missed.generation, epoch, began: missed.at, terms }
    }

    /// Makes the caller the lead of the fill of `question`, whose tail is `tail`.
    pub fn lead(&self, question: &Question<'_>, tail: Bytes, ticket: Ticket) -> Lead<T> {
        self.fills.borrow_mut().lead(self.question_hash(question), question.command, tail, ticket)
    }

    /// Ends a fill: all followers get `outcome`.
    pub fn end(&self, lead: Lead<T>, outcome: &T) {
        self.fills.borrow_mut().end(lead, outcome);
    }

    /// Keeps `reply`, unless anything happened to the key since the ticket was made. `sent_at` is when the command
    /// was sent; `lifetime` what the server said of the key after it.
    ///
    /// With several workers, or where a policy has changes broadcast, replies and invalidations come over several
    /// connections and in no common order: this one may be older or newer than what was served, or is about to be kept.
    /// When two differ, neither is kept, and all of that is settled before the reply leaves: what this daemon has served is never followed by something older.
    pub fn commit(
        &self,
        ticket: &Ticket,
        question: &Question<'_>,
        reply: &Reply,
        lifetime: Lifetime,
        sent_at: Nanos,
    ) -> Commit {
        if !self.shared.compares() {
            return self.keep(ticket, question, reply, lifetime, sent_at);
        }
        let commits = self.shared.commits_of(ticket.hash);
        // Nobody panics while holding it, and it guards no data.
        let _one_by_one = commits.one_by_one.lock().unwrap_or_else(PoisonError::into_inner);
        let rival = self.kept_reply(ticket.hash, question);
        let differs = |rival: &Hit<'_>| *rival.for_version(Resp::Three) != *reply.resp3;
        let commit = match &rival {
            Some(rival) if differs(rival) => {
                self.note(ticket.hash, Why::Differed);
                Commit::Killed
            }
            _ => self.keep(ticket, question, reply, lifetime, sent_at),
        };
        if commit == Commit::Kept {
            commits.latest.fetch_max(clock::now(), Ordering::AcqRel);
        }
        if commit != Commit::Kept && rival.is_none_or(|rival| differs(&rival)) {
            self.shared.invalidate_key(question.key, Why::Differed);
        }
        commit
    }

    /// What the store would serve for `question` now.
    fn kept_reply(&self, hash: u64, question: &Question<'_>) -> Option<Hit<'_>> {
        let entry = self.shared.store.get(hash)?;
        let current = self.shared.generations.is_current(&entry.generation);
        match entry.find(question, clock::now()) {
            Found::Live(_, place) | Found::Unseen(_, place) if current => {
                Some(Hit::stored(entry.clone(), place))
            }
            _ => None,
        }
    }

    fn keep(
        &self,
        ticket: &Ticket,
        question: &Question<'_>,
        reply: &Reply,
        lifetime: Lifetime,
        sent_at: Nanos,
    ) -> Commit {
        let now = clock::now();
        let deadline = sent_at + clock::nanos(self.shared.time_to_keep(&ticket.terms, lifetime));
        if !self.shared.generations.is_current(&ticket.generation) || !ticket.epoch.is_live(now) {
            self.stats.l1_fills_killed.add(1);
            let is_changed = !self.shared.generations.is_current(&ticket.generation);
            self.note(ticket.hash, if is_changed { Why::Changed } else { Why::EpochEnded });
            return Commit::Killed;
        }
        if now >= deadline {
            self.note(ticket.hash, Why::TooShort);
            return Commit::NotKept;
        }
        if ticket.terms.value_max.is_some_and(|max| reply.value_len() > max) {
            self.note(ticket.hash, Why::TooLarge);
            return Commit::NotKept;
        }
        if question.len() + reply.len() > self.shared.limits.entry_bytes_max as usize {
            self.note(ticket.hash, Why::TooLarge);
            return Commit::NotKept;
        }
        let former = self.shared.store.get(ticket.hash).filter(|former| *former.key() == *question.key);
        let cached = Cached::new(question, reply, ticket.epoch.clone(), now, deadline);
        let entry = Entry::with(former.as_deref(), ticket.generation, cached, now);
        if entry.weight() > self.shared.limits.entry_bytes_max {
            self.note(ticket.hash, Why::TooLarge);
            return Commit::NotKept;
        }
        // An invalidation may come between the check above and this line, on another worker: the entry carries the
        // older generation then, and no lookup serves it (I2).
        self.shared.store.insert(ticket.hash, Arc::new(entry));
        self.stats.l1_fills.add(1);
        Commit::Kept
    }

    fn note(&self, hash: u64, why: Why) {
        self.shared.reasons.note(hash, why);
    }

    fn question_hash(&self, question: &Question<'_>) -> u64 {
        self.shared.hashing.hash((question.command, question.tail))
    }
}

// === impl Missed ===

impl Missed {
    /// The slot of the key.
    pub fn slot(&self) -> Slot {
        self.generation.slot()
    }
}

#[cfg(test)]
mod tests;
