//! Keeping a reply: written to the log first, and then, if nothing happened to its key, put into the index.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::body;
use super::entry::{self, EntryHead, EntryTerms, LookupKey, PART_BYTES_MAX};
use super::index::LINE_BYTES;
use super::large::{Large, LargeEntries};
use super::line::Place;
use super::queues::{Element, QueueKind, Segment};
use super::sizes::WORD_BYTES;
use super::{Bytes, Epoch, Event, MissReason, Slot, Store, StoreWriter, clock, tick};
use crate::cache::entry::{CacheQuery, Resp2};

/// A reply to be kept.
#[derive(Clone, Copy, Debug)]
pub(in crate::cache) struct NewEntry<'a> {
    pub(in crate::cache) hash: u64,
    /// From before its command was sent: of the key, and of its slot.
    pub(in crate::cache) generation: u32,
    pub(in crate::cache) slot_generation: u32,
    pub(in crate::cache) slot: Slot,
    pub(in crate::cache) epoch: &'a Epoch,
    /// In ticks.
    pub(in crate::cache) deadline: u32,
    pub(in crate::cache) query: &'a CacheQuery<'a>,
    pub(in crate::cache) reply: &'a Bytes,
    pub(in crate::cache) resp2: Resp2,
}

/// Why a reply is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum Refused {
    /// Its key, or its slot, is not what it was.
    Changed,
    /// There is no room, whatever goes.
    NoRoom,
    /// It alone is larger than all that is kept may be.
    TooLarge,
}

/// The index grows when so large a part of its places is in use: four of five.
const LOAD_MAX: (u64, u64) = (4, 5);

/// It shrinks when so small a part is in use while the budget is used up: one of two.
const LOAD_MIN: (u64, u64) = (1, 2);

/// Once begun, either continues until all homes are equally full. The index is growing if more than this part
/// is in use.
const LOAD_BETWEEN: (u64, u64) = (13, 20);

/// Lines that go for each insertion while the index shrinks.
const LINES_LESS: usize = 2;

/// Segments at the front whose entries were all hit before room is made regardless of hits.
const PATIENT_EVICTIONS: u32 = 16;

// === impl Store ===

impl Store {
    /// Keeps a reply, if the generations are still those that the fill noted.
    pub(in crate::cache) fn insert(&self, fill: &NewEntry<'_>) -> Result<(), Refused> {
        let lookup_key = LookupKey::new(fill.query);
        let mut writer = self.writer.lock();
        if self.slot_generation(fill.slot) != fill.slot_generation
            || self.generation(fill.hash) != fill.generation
        {
            return Err(Refused::Changed);
        }
        let Some(epoch_index) = self.epoch_index(&mut writer, fill.epoch) else {
            return Err(Refused::NoRoom);
        };
        let terms = EntryTerms {
            deadline: fill.deadline,
            epoch_index,
            slot: fill.slot.number(),
            slot_generation: fill.slot_generation,
            resp2: fill.resp2,
        };
        if !self.make_room(&mut writer, 0) {
            return Err(Refused::NoRoom);
        }
        let words = entry::words_of(lookup_key.asked.len(), fill.reply.len(), true);
        let is_large = words > self.sizes.entry_words_max()
            || lookup_key.asked.len() > PART_BYTES_MAX
            || fill.reply.len() > PART_BYTES_MAX;
        if is_large {
            return self.insert_large(&mut writer, fill, &lookup_key, &terms);
        }
        let which = self.queue_of(&mut writer, fill.hash, words * WORD_BYTES);
        let Some(spot) = self.room(&mut writer, words, which) else { return Err(Refused::NoRoom) };
        let chained = self.has_others(fill, &lookup_key);
        let head = EntryHead::new(&lookup_key, fill.reply.len(), chained, &terms);
        if let Some(open) = &mut writer.queues.of(which).open {
            open.used += head.words();
            open.entries += 1;
        }
        writer.epochs.note_written(epoch_index);
        body::write(self.at(spot), head, 0, lookup_key.asked, fill.reply);
        let linked = self.link(fill, &lookup_key, spot);
        match linked {
            Ok(()) => self.fit_index(&mut writer),
            Err(_) => self.let_go(spot),
        }
        self.note_bytes(&writer);
        linked
    }

    /// The index of an epoch. When all are in use everything goes, which happens once in tens of thousands
    /// of lost connections.
    fn epoch_index(&self, writer: &mut StoreWriter, epoch: &Epoch) -> Option<u16> {
        if let Some(index) = writer.epochs.index_of(epoch) {
            return Some(index);
        }
        self.empty(writer);
        writer.epochs.index_of(epoch)
    }

    /// Adds a line if they are fuller than they should be: more places than the entry needs that was added.
    /// Removes some if they are empty, and something else wants the room.
    fn fit_index(&self, writer: &mut StoreWriter) {
        let (entries, places) = (self.entries.load(Ordering::Relaxed), self.index.places() as u64);
        let is_at = |(part, of): (u64, u64)| entries * of >= places * part;
        let is_between = self.index.is_between();
        if is_at(LOAD_MAX) || (is_between && is_at(LOAD_BETWEEN)) {
            if self.make_room(writer, LINE_BYTES) {
                self.index.grow(|spot| self.hash_at(spot), |place| self.evict_place(place));
            }
        } else if (is_between || !is_at(LOAD_MIN)) && !self.has_room(writer, self.sizes.segment_bytes) {
            for _ in 0..LINES_LESS {
                if self.index.shrink(|spot| self.hash_at(spot), |place| self.evict_place(place))
                    && !self.index.is_between()
                {
                    self.index.give_back();
                }
            }
        }
    }

    /// An entry was taken out of the index, because there is no place for it.
    pub(super) fn evict_place(&self, place: Place) {
        if let Some(spot) = place.spot() {
            (self.on_event)(self.hash_at(spot), Event::Gone(MissReason::Evicted));
            self.forget(place);
        }
    }

    /// The hash of the key whose entry lies at this spot.
    pub(super) fn hash_at(&self, spot: u64) -> u64 {
        if LargeEntries::has_spot(spot) {
            return self.large.get(spot).map_or(0, |large| large.hash);
        }
        let words = self.at(spot);
        EntryHead::read(words).map_or(0, |head| self.hash_of_entry(words, head))
    }

    pub(super) fn hash_of_entry(&self, words: &[AtomicU64], head: EntryHead) -> u64 {
        let asked = body::bytes(words.get(head.body_at()..).unwrap_or_default(), 0, head.asked_len());
        self.hash(body::key(head, &asked))
    }

    /// The queue that a new entry of `bytes` bytes goes into.
    fn queue_of(&self, writer: &mut StoreWriter, hash: u64, bytes: usize) -> QueueKind {
        let is_known = writer.ghost.take(hash);
        if is_known && self.reinsertion(writer).admits_returning(bytes) {
            QueueKind::Main
        } else {
            QueueKind::Small
        }
    }

    /// A spot for `words` words at the end of a queue, after evictions if need be; `None` if there is none.
    fn room(&self, writer: &mut StoreWriter, words: usize, which: QueueKind) -> Option<u64> {
        if let Some(spot) = self.room_in_open(writer, words, which) {
            return Some(spot);
        }
        if !self.make_room(writer, self.sizes.segment_bytes) {
            return None;
        }
        // What was moved on for that may have opened a segment already, which has room left.
        if let Some(spot) = self.room_in_open(writer, words, which) {
            return Some(spot);
        }
        self.open(writer, which)?;
        self.room_in_open(writer, words, which)
    }

    /// Evicts until `bytes` bytes fit. Returns false if everything is too little.
    fn make_room(&self, writer: &mut StoreWriter, bytes: usize) -> bool {
        let mut evictions = 0;
        while !self.has_room(writer, bytes) {
            // Even if all entries are hit all the time, one has to go, and soon.
            if !self.evict(writer, evictions < PATIENT_EVICTIONS) {
                return false;
            }
            evictions += 1;
        }
        true
    }

    /// A spot for `words` words in the open segment of a queue, if it has the room.
    pub(super) fn room_in_open(
        &self,
        writer: &mut StoreWriter,
        words: usize,
        which: QueueKind,
    ) -> Option<u64> {
        let open = writer.queues.of(which).open.as_ref()?;
        let has_room = open.used + words <= self.sizes.segment_words();
        has_room.then(|| (self.sizes.words(open.number).start + open.used) as u64)
    }

    /// Whether the budget has `bytes` bytes left.
    fn has_room(&self, writer: &StoreWriter, bytes: usize) -> bool {
        let used = writer.segments * self.sizes.segment_bytes + writer.ghost.bytes() + self.index.bytes();
        used as u64 + self.large.bytes() + bytes as u64 <= self.sizes.budget
    }

    /// Opens a segment at the end of a queue, behind the one that was open. None when there are no more.
    pub(super) fn open(&self, writer: &mut StoreWriter, which: QueueKind) -> Option<()> {
        let number = match writer.free.pop() {
            Some(number) => number,
            None if (writer.fresh as usize) < self.sizes.segments => {
                writer.fresh += 1;
                writer.fresh - 1
            }
            None => return None,
        };
        writer.segments += 1;
        if let Some(dead) = self.dead.get(number as usize) {
            dead.store(0, Ordering::Relaxed);
        }
        // A reader that sees what is written from here on also sees that the former entry was taken out of
        // the index.
        fence(Ordering::Release);
        let queue = writer.queues.of(which);
        if let Some(full) =
            queue.open.replace(Segment { number, used: 0, entries: 0, since: tick(clock::now()) })
        {
            queue.push(Element::Segment(full));
        }
        Some(())
    }

    #[cold]
    fn insert_large(
        &self,
        writer: &mut StoreWriter,
        fill: &NewEntry<'_>,
        lookup_key: &LookupKey<'_>,
        terms: &EntryTerms,
    ) -> Result<(), Refused> {
        let head = EntryHead::new(lookup_key, 0, false, terms);
        // The caller's reply may be a piece of something larger.
        let reply = Bytes::copy_from_slice(fill.reply);
        let large = Large { head, asked: lookup_key.asked.into(), hash: fill.hash, reply };
        let bytes = large.bytes();
        if (bytes + self.index.bytes()) as u64 > self.sizes.budget {
            // Nothing goes for what has no room in the end.
            return Err(Refused::TooLarge);
        }
        if !self.make_room(writer, bytes) {
            return Err(Refused::NoRoom);
        }
        let which = self.queue_of(writer, fill.hash, bytes);
        let spot = self.large.put(large);
        writer.epochs.note_written(terms.epoch_index);
        let StoreWriter { queues, epochs, .. } = &mut *writer;
        let queue = queues.of(which);
        let since = tick(clock::now());
        queue.push(Element::Large { spot, hash: fill.hash, bytes, epoch_index: terms.epoch_index, since });
        // What is written all the time goes all the time, and never comes to the front.
        queue.drop_gone(|spot| self.large.get(spot).is_some(), |index| epochs.note_gone(index));
        let linked = self.link(fill, lookup_key, spot);
        match linked {
            Ok(()) => self.fit_index(writer),
            Err(_) => self.large.remove(spot),
        }
        self.note_bytes(writer);
        linked
    }
}
