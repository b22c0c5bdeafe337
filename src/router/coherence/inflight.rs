//! Read your writes (I6): what a session has written and has not been answered for yet, and what else keeps
//! its order.
//!
//! While a write is on its way, another worker may still bring the older value into L1, and rightly so. The
//! session itself must not read that: its reads of such a key go upstream, behind the write.
//!
//! Reads in flight are treated alike: the reply to a read that is on its way may be newer than what L1 has
//! now, and a later read of its pipeline must not be answered with something older. It goes upstream as well,
//! or joins a fill that was not sent before that read.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use foldhash::fast::RandomState;
use smallvec::SmallVec;

use super::written_slots::WrittenSlots;
use crate::cache::{MissReason, SharedCache};
use crate::protocol::db::DbIndex;
use crate::protocol::key::{KeySlots, Slot};

/// The unanswered writes of one session, and its unanswered reads. Bounded by the answers that a session may
/// wait for.
#[derive(Debug, Default)]
pub struct Inflight {
    keys: RefCell<HashMap<Bytes, Unanswered, RandomState>>,
    /// The session wants nothing from L1.
    fresh: Cell<bool>,
    /// Writes that may touch any key.
    of_anything: Cell<u32>,
    /// Where anything was written so far, answered or not.
    written: WrittenSlots,
    /// How often something was sent upstream for the session.
    sent: Cell<u64>,
    /// How many writes of anything were begun.
    begun: Cell<u64>,
    /// The database in which the session's commands are executed. A session whose command has still to be
    /// sent begins no other one, so this is the database of the command at hand.
    database: Cell<DbIndex>,
    /// How many requests are carried out before anything behind them begins.
    held: Cell<u32>,
}

/// Keys for which room is kept when none is in flight.
const KEPT_KEYS_MAX: usize = 64;

/// Keys of one command: most have one.
pub(in crate::router) type InflightKeys = SmallVec<[Bytes; 1]>;

/// What of one key has not been answered.
#[derive(Debug, Default)]
struct Unanswered {
    writes: u32,
    reads: u32,
    /// When the latest of the reads was sent, as the near cache counts.
    latest_read: u64,
    /// How many reads and writes of it were begun since one has been unanswered.
    begun: u64,
}

/// What a read of a key must come behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::router) enum Dependency {
    /// Nothing: L1 may answer it.
    Nothing,
    /// A read that was sent then.
    Read(u64),
    /// A write.
    Write,
}

/// Nothing that the session asks from here on begins until this is dropped.
#[derive(Debug)]
pub struct Hold(Rc<Inflight>);

/// Reads on their way.
#[derive(Debug)]
pub(in crate::router) struct InflightRead {
    session: Rc<Inflight>,
    keys: InflightKeys,
    /// What had been begun of them, and of anything, when these were.
    begun: u64,
}

/// A write on its way. Its keys are dropped from L1 when it begins and again when it ends.
#[derive(Debug)]
pub(in crate::router) struct InflightWrite {
    session: Rc<Inflight>,
    keys: InflightKeys,
    of_anything: bool,
    cache: Option<Arc<SharedCache>>,
}

// === impl Inflight ===

impl Inflight {
    /// Nothing of a session that begins in `database`.
    pub fn of(database: DbIndex) -> Inflight {
        Inflight { database: Cell::new(database), ..Inflight::default() }
    }

    /// The database in which the session's commands are executed.
    #[inline]
    pub fn database(&self) -> DbIndex {
        self.database.get()
    }

    /// From here on the session's commands are executed in `database`.
    pub fn select(&self, database: DbIndex) {
        self.database.set(database);
    }

    /// Something is sent upstream for the session.
    pub(in crate::router) fn note_sent(&self) {
        self.sent.update(|count| count + 1);
    }

    /// A number that is another one once something more was sent upstream for the session.
    pub(in crate::router) fn sent(&self) -> u64 {
        self.sent.get()
    }

    /// Whether what the session asks next has to wait for what it asked last.
    #[inline]
    pub fn is_held(&self) -> bool {
        self.held.get() > 0
    }

    /// From now on the session wants nothing from L1, or what it has.
    pub fn want_fresh(&self, fresh: bool) {
        // The session is treated as if it waited for the reply to a write of anything.
        match (self.fresh.replace(fresh), fresh) {
            (false, true) => self.of_anything.update(|count| count + 1),
            (true, false) => self.of_anything.update(|count| count - 1),
            _ => {}
        }
    }

    /// Why a read of the session that comes behind a write is not answered from L1.
    pub(in crate::router) fn dependency_reason(&self) -> MissReason {
        if self.fresh.get() { MissReason::Fresh } else { MissReason::OwnWrite }
    }

    /// What of this session a read of `key` must come behind.
    #[inline]
    pub(in crate::router) fn dependency(&self, key: &[u8]) -> Dependency {
        match self.of_anything.get() == 0 && self.keys.borrow().is_empty() {
            true => Dependency::Nothing,
            false => self.dependency_of_writes(key),
        }
    }

    #[inline(never)]
    fn dependency_of_writes(&self, key: &[u8]) -> Dependency {
        if self.of_anything.get() > 0 {
            return Dependency::Write;
        }
        match self.keys.borrow().get(key) {
            None => Dependency::Nothing,
            Some(unanswered) if unanswered.writes > 0 => Dependency::Write,
            Some(unanswered) => Dependency::Read(unanswered.latest_read),
        }
    }

    /// Something of `key` is begun; returns how much of it was by now.
    fn begin(&self, key: &Bytes, begin: impl FnOnce(&mut Unanswered)) -> u64 {
        let mut keys = self.keys.borrow_mut();
        let unanswered = keys.entry(key.clone()).or_default();
        unanswered.begun += 1;
        begin(unanswered);
        unanswered.begun
    }

    /// Something of `key` was answered, or failed.
    fn answered(&self, key: Bytes, answered: impl FnOnce(&mut Unanswered)) {
        let mut keys = self.keys.borrow_mut();
        if let Entry::Occupied(mut entry) = keys.entry(key) {
            let unanswered = entry.get_mut();
            answered(unanswered);
            if unanswered.writes == 0 && unanswered.reads == 0 {
                entry.remove();
                if keys.is_empty() && keys.capacity() > KEPT_KEYS_MAX {
                    *keys = HashMap::default();
                }
            }
        }
    }

    /// Something in `slots` is written, whichever keys.
    pub(in crate::router) fn note_written(&self, slots: KeySlots) {
        match slots {
            KeySlots::None => {}
            KeySlots::One(slot) => self.written.note(slot),
            KeySlots::Several => self.written.note_all(),
        }
    }

    /// The slots that the session may have written to since it began.
    pub(in crate::router) fn written(&self) -> impl Iterator<Item = Slot> {
        self.written.slots()
    }
}

// === impl Hold ===

impl Hold {
    /// Holds what `session` asks next.
    pub fn of(session: &Rc<Inflight>) -> Hold {
        session.held.update(|count| count + 1);
        Hold(session.clone())
    }

    /// The session that is held.
    pub fn session(&self) -> &Rc<Inflight> {
        &self.0
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.held.update(|count| count - 1);
    }
}

// === impl InflightRead ===

impl InflightRead {
    /// Begins a read of `keys`, which was sent at `number`, as the near cache counts.
    pub(in crate::router) fn begin(session: &Rc<Inflight>, keys: InflightKeys, number: u64) -> InflightRead {
        let begin_key = |key| {
            session.begin(key, |unanswered| {
                unanswered.reads += 1;
                unanswered.latest_read = unanswered.latest_read.max(number);
            })
        };
        if let [key] = keys.as_slice() {
            let begun = begin_key(key) + session.begun.get();
            return InflightRead { session: session.clone(), keys, begun };
        }
        keys.iter().for_each(|key| _ = begin_key(key));
        // A key that is named twice was begun twice by now.
        let mut read = InflightRead { session: session.clone(), keys, begun: 0 };
        read.begun = read.begun_by_now();
        read
    }

    /// What is read.
    pub(in crate::router) fn keys(&self) -> &[Bytes] {
        &self.keys
    }

    /// Whether the session has begun nothing since then that touches these keys, so they may be read again.
    pub(in crate::router) fn is_latest(&self) -> bool {
        self.begun == self.begun_by_now()
    }

    /// Grows with all that is begun. The keys are unanswered as long as this lives, so their counts are kept.
    fn begun_by_now(&self) -> u64 {
        let keys = self.session.keys.borrow();
        let of_keys = self.keys.iter().filter_map(|key| keys.get(key)).map(|unanswered| unanswered.begun);
        of_keys.sum::<u64>() + self.session.begun.get()
    }
}

impl Drop for InflightRead {
    /// The reads have been answered, or failed. What L1 has from here on is no older.
    fn drop(&mut self) {
        for key in self.keys.drain(..) {
            self.session.answered(key, |unanswered| unanswered.reads -= 1);
        }
    }
}

// === impl InflightWrite ===

impl InflightWrite {
    /// Begins a write of `keys`, which are all in `slot` if that is known: from here on no running fill of
    /// them commits, and none is joined.
    pub(in crate::router) fn begin(
        session: &Rc<Inflight>,
        keys: InflightKeys,
        slot: Option<Slot>,
        cache: Option<Arc<SharedCache>>,
    ) -> InflightWrite {
        for key in &keys {
            debug_assert!(slot.is_none_or(|slot| slot == Slot::of(key)), "a key in another slot");
            session.begin(key, |unanswered| unanswered.writes += 1);
            session.written.note(slot.unwrap_or_else(|| Slot::of(key)));
        }
        let write = InflightWrite { session: session.clone(), keys, of_anything: false, cache };
        write.invalidate();
        write
    }

    /// The write may touch keys that it does not name.
    pub(in crate::router) fn of_anything(self) -> InflightWrite {
        if self.keys.is_empty() {
            self.session.written.note_all();
        }
        self.before_all_reads()
    }

    /// All reads of the session go upstream until this has ended.
    pub(in crate::router) fn before_all_reads(mut self) -> InflightWrite {
        self.of_anything = true;
        self.session.of_anything.update(|count| count + 1);
        self.session.begun.update(|count| count + 1);
        self
    }

    fn invalidate(&self) {
        if let Some(cache) = &self.cache {
            for key in &self.keys {
                cache.invalidate_key(key, MissReason::Written);
            }
        }
    }
}

impl Drop for InflightWrite {
    /// The write has been answered, or failed, or its session is over: whatever was read meanwhile may be
    /// older.
    fn drop(&mut self) {
        self.invalidate();
        for key in self.keys.drain(..) {
            self.session.answered(key, |unanswered| unanswered.writes -= 1);
        }
        if self.of_anything {
            self.session.of_anything.update(|count| count - 1);
        }
    }
}
