//! The store of L1: an index of lines over a log of segments, and the eviction that keeps both in their
//! budget.
//!
//! The index says where in the log the reply of a key lies; further replies about one key are linked to it.
//! Readers take no lock: a reader copies a reply out, and the sequence number of the line says afterwards
//! whether the copy is whole ([`line`]). A write to the log holds the one lock of all writers. An
//! invalidation locks only the home line of the key, and its two other lines if entries lie there.
//!
//! A segment may be overwritten because every entry of it was taken out of the index before, which raised the
//! sequence number of its line. A reader that was still copying such an entry sees that, and drops its copy.
//!
//! Must never know: epochs beyond whether one has ended, policies, connections. Begin with `mod.rs` (the
//! store and its lock), `look.rs` (a reader), `insert.rs` (a new entry) and `evict.rs` (what goes).
//!
//! - A line ([`line`]) is 64 bytes: a sequence number, a generation, and seven places. A place has 20 bits of
//!   the hash of a key, two bits that count hits, and the spot of the entry. A key whose home line is full
//!   lies in its second or third choice, among the 31 lines behind its home.
//! - The index ([`index`]) begins with one in 256 of the budget and grows by one line at a time when four of
//!   five places are in use, so no request waits for a table to be doubled. It shrinks in the same way.
//! - An entry ([`entry`]) is a head of 16 bytes, the request and the reply in RESP3. A reply of more than an
//!   eighth of a segment has memory of its own ([`large`]).
//! - The log has about 256 segments in two queues (S3-FIFO). New entries go into the small queue, which has a
//!   tenth of the budget. An entry that was hit by the time its segment reaches the front moves to the main
//!   queue; an entry of the main queue that was hit goes round again. All others go, and a key that returns
//!   soon ([`ghost`]) goes into the main queue at once.
//! - A round costs an entry of average size one hit ([`reinsertion`]). A larger entry needs more hits, or
//!   stays by chance. An entry that expires before its segment would reach the front again goes first.

use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use bytes::Bytes;

mod atomics;
mod body;
mod entry;
mod epochs;
mod evict;
mod ghost;
mod index;
mod insert;
mod large;
mod line;
mod link;
mod look;
mod pages;
mod queues;
mod reinsertion;
mod resize;
mod shape;
mod sizes;
mod ticks;

pub(super) use body::sole;
pub(super) use entry::{EntryHead, LookupKey};
pub(super) use epochs::EpochView;
pub(super) use insert::{NewEntry, Refused};
pub(super) use look::{Found, FoundReply, Stored};
pub(super) use ticks::{TIME_MAX, tick};

use super::hashing::Hashing;
use super::miss_reason::MissReason;
use crate::clock::{self, Nanos};
use crate::node::Epoch;
use crate::protocol::key::{SLOT_COUNT, Slot};
use epochs::EpochTable;
use ghost::Ghost;
use index::Index;
use large::LargeEntries;
use line::{Locked, Place};
use pages::Pages;
use parking_lot::Mutex;
use queues::Queues;
use sizes::Sizes;

/// Replies kept for one key at most; the oldest goes first. A hash read field by field has one for each
/// field.
pub(super) const REPLIES_MAX: usize = 128;

/// Moves of a slot after which all entries are dropped: half of the numbers that an entry can carry.
const MOVES_MAX: u32 = 1 << 15;

/// The replies of all keys, within a budget of bytes.
pub(super) struct Store {
    hashing: Hashing,
    sizes: Sizes,
    index: Index,
    log: Pages,
    large: LargeEntries,
    /// The number of each slot: how often it moved.
    slots: Box<[AtomicU32; SLOT_COUNT]>,
    /// Entries of each segment that are not in the index any more, as far as they were met. They are
    /// counted, not their bytes: to know those, an invalidation would have to look at the entry, which
    /// misses the CPU's caches.
    dead: Box<[AtomicU32]>,
    /// Places of the index that are in use.
    entries: AtomicU64,
    /// Bytes of the segments in use, and of the ghost queue.
    log_bytes: AtomicU64,
    writer: Mutex<StoreWriter>,
    on_event: Box<dyn Fn(u64, Event) + Send + Sync>,
}

/// What only the holder of the lock changes.
#[derive(Debug, Default)]
struct StoreWriter {
    queues: Queues,
    ghost: Ghost,
    epochs: EpochTable,
    /// Segments that were written before and are not in use.
    free: Vec<u32>,
    /// Segments from this one on were never written.
    fresh: u32,
    segments: usize,
}

/// What happens to an entry while room is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// It goes, and why.
    Gone(MissReason),
    /// It was hit, and stays for that. Its hits are counted from 0 again.
    Kept,
}

// === impl Store ===

impl Store {
    /// A store of at most `bytes_max`; `on_event` is called with the hash of each key to whose entry
    /// something happened while room was made.
    pub(super) fn new(bytes_max: u64, on_event: impl Fn(u64, Event) + Send + Sync + 'static) -> Store {
        Store::of(Sizes::of(bytes_max), on_event)
    }

    fn of(sizes: Sizes, on_event: impl Fn(u64, Event) + Send + Sync + 'static) -> Store {
        let (sizes, index, log) = sizes.memory().unwrap_or_else(|error| {
            tracing::error!(%error, bytes_max = sizes.budget, "L1 gets no memory, and keeps nothing: the kernel has no addresses for l1_size (ulimit -v)");
            let none = Sizes::of(0);
            none.memory()
                .unwrap_or_else(|_| std::alloc::handle_alloc_error(std::alloc::Layout::new::<[u64; 512]>()))
        });
        Store {
            hashing: Hashing::new(),
            index,
            log,
            large: LargeEntries::default(),
            slots: Box::new([const { AtomicU32::new(0) }; SLOT_COUNT]),
            dead: std::iter::repeat_with(AtomicU32::default).take(sizes.segments).collect(),
            entries: AtomicU64::new(0),
            log_bytes: AtomicU64::new(0),
            writer: Mutex::default(),
            on_event: Box::new(on_event),
            sizes,
        }
    }

    #[inline]
    pub(super) fn hash(&self, key: &[u8]) -> u64 {
        self.hashing.hash(key)
    }

    /// A hash of anything else.
    pub(super) fn hash_of(&self, value: impl std::hash::Hash) -> u64 {
        self.hashing.hash(value)
    }

    /// The generation of the key with this hash: how often it, or a key of the same line, was invalidated.
    pub(super) fn generation(&self, hash: u64) -> u32 {
        self.index.generation(hash)
    }

    /// How often the slot moved.
    #[inline]
    pub(super) fn slot_generation(&self, slot: Slot) -> u32 {
        self.slots[slot.index()].load(Ordering::Acquire)
    }

    /// Whether the slot of this entry has moved since its reply was asked for.
    #[inline]
    pub(super) fn is_moved(&self, head: EntryHead) -> bool {
        let slot = self.slots.get(usize::from(head.slot()));
        slot.is_none_or(|slot| slot.load(Ordering::Acquire) as u16 != head.slot_generation())
    }

    /// Why an entry that was read on this epoch may not be served at `now`, if it may not.
    pub(super) fn why_dead(
        &self,
        head: EntryHead,
        now: Nanos,
        epoch: impl FnOnce() -> Option<Epoch>,
    ) -> Option<MissReason> {
        if self.is_moved(head) {
            return Some(MissReason::Moved);
        }
        if head.is_over(tick(now)) {
            return Some(MissReason::Expired);
        }
        match epoch() {
            Some(epoch) if epoch.is_live(now) => None,
            Some(epoch) if epoch.was_emptied() => Some(MissReason::NodeFlushed),
            _ => Some(MissReason::Lost),
        }
    }

    /// What is known of this slot may be stale.
    pub(super) fn raise_slot(&self, slot: Slot) {
        let before = self.slots[slot.index()].fetch_add(1, Ordering::AcqRel);
        if before % MOVES_MAX == MOVES_MAX - 1 {
            self.remove_all();
        }
    }

    /// Kills the fills of this key that run, and drops all that is kept of it: whether anything was, and if
    /// so whether it had been hit. Another key that has an equal tag in this line, one of some 200,000, goes
    /// with it: to compare keys would read the log.
    #[inline]
    pub(super) fn invalidate(&self, hash: u64) -> Option<bool> {
        let (mut home, others) = self.index.lock(hash);
        home.raise();
        let mut was_hit = None;
        self.drop_places(&mut home, hash, &mut was_hit);
        if home.away() > 0 {
            for other in others {
                let dropped = self.drop_places(&mut other.lock(), hash, &mut was_hit);
                (0..dropped).for_each(|_| home.note_back());
            }
        }
        was_hit
    }

    /// How many there were, and in `was_hit` what was known of them.
    #[inline]
    fn drop_places(&self, locked: &mut Locked<'_>, hash: u64, was_hit: &mut Option<bool>) -> usize {
        let mut dropped = 0;
        for at in locked.matching(hash) {
            let place = locked.place(at);
            if let Some(spot) = place.spot() {
                *was_hit = (*was_hit).max(Some(place.hits() > 0));
                locked.set(at, Place::EMPTY);
                self.let_go(spot);
                self.entries.fetch_sub(1, Ordering::Relaxed);
                dropped += 1;
            }
        }
        dropped
    }

    /// What this place was of is not in the index any more.
    fn forget(&self, place: Place) {
        if let Some(spot) = place.spot() {
            self.let_go(spot);
            self.entries.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The entry at this spot is not in the index any more.
    fn let_go(&self, spot: u64) {
        if LargeEntries::has_spot(spot) {
            self.large.remove(spot);
        } else if let Some(dead) = self.dead.get(self.sizes.segment_of(spot)) {
            dead.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The words of the log from a spot on.
    #[inline]
    fn at(&self, spot: u64) -> &[AtomicU64] {
        self.log.words().get(spot as usize..).unwrap_or_default()
    }

    /// Entries, and the bytes of all that keeping them takes.
    pub(super) fn size(&self) -> (u64, u64) {
        (self.entries.load(Ordering::Relaxed), self.bytes())
    }

    /// The bytes of all that keeping the entries takes.
    pub(super) fn bytes(&self) -> u64 {
        self.log_bytes.load(Ordering::Relaxed) + self.index.bytes() as u64 + self.large.bytes()
    }

    /// Drops everything, kills the fills that run, and gives the memory back.
    pub(super) fn remove_all(&self) {
        let mut writer = self.writer.lock();
        self.empty(&mut writer);
    }

    fn empty(&self, writer: &mut StoreWriter) {
        self.index.empty(|place| {
            // Entries of the log need no call one by one.
            if let Some(spot) = place.spot().filter(|spot| LargeEntries::has_spot(*spot)) {
                self.large.remove(spot);
            }
        });
        self.entries.store(0, Ordering::Relaxed);
        writer.queues = Queues::default();
        writer.free.clear();
        writer.fresh = 0;
        self.log.give_back(0..self.log.words().len());
        writer.segments = 0;
        writer.ghost.clear();
        writer.epochs.clear();
        self.note_bytes(writer);
    }

    fn note_bytes(&self, writer: &StoreWriter) {
        let bytes = writer.segments * self.sizes.segment_bytes + writer.ghost.bytes();
        self.log_bytes.store(bytes as u64, Ordering::Relaxed);
    }

    /// Copies the epoch with this index to a worker; returns whether it was new there.
    #[cold]
    pub(super) fn copy_epoch(&self, view: &mut EpochView, index: u16) -> bool {
        view.copy(index, &self.writer.lock().epochs)
    }

    /// A copy of all epochs as they are now. One that begins later may get the number of one that has ended.
    pub(super) fn epochs(&self) -> EpochView {
        self.writer.lock().epochs.view()
    }

    /// The epoch with this index.
    pub(super) fn epoch(&self, index: u16) -> Option<Epoch> {
        self.writer.lock().epochs.epoch(index).cloned()
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("sizes", &self.sizes)
            .field("entries", &self.entries)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod evict_tests;
#[cfg(test)]
mod index_tests;
#[cfg(test)]
mod line_tests;
#[cfg(test)]
mod tests;
