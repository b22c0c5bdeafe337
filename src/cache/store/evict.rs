//! Making room: what comes to the front of a queue moves on or goes.

use std::sync::atomic::Ordering;

use super::body;
use super::entry::EntryHead;
use super::index::Lines;
use super::large::LargeEntries;
use super::line::Place;
use super::queues::{Element, QueueKind, Segment};
use super::reinsertion::ReinsertionCost;
use super::sizes::WORD_BYTES;
use super::{AtomicU64, Event, MissReason, REPLIES_MAX, Store, StoreWriter, clock, tick};

/// The dead share from which on a segment is emptied before its turn.
const DEAD_PART: (u32, u32) = (1, 2);

/// The word that points to an entry, and the place of its key on which it hangs: which that is, of the line
/// that is which choice of the key.
#[derive(Clone, Copy)]
struct Pointer<'a> {
    choice: usize,
    at: usize,
    of_key: &'a AtomicU64,
    word: &'a AtomicU64,
}

/// What becomes of an entry whose segment is emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// It came to the front: it stays if it was hit often enough for its size.
    ByHits(ReinsertionCost),
    /// The segment was nearly dead: its live entries stay as they are.
    Stays,
    /// Nothing stays.
    Goes,
}

// === impl Rule ===

impl Rule {
    /// The queue that an entry with `hits` hits goes to, and the hits that it keeps; `None` when it is
    /// evicted. `hits_left` computes what a round costs.
    fn of(
        self,
        which: QueueKind,
        hits: u8,
        hits_left: impl FnOnce(ReinsertionCost, u8) -> Option<u8>,
    ) -> Option<(QueueKind, u8)> {
        match (self, which) {
            (Rule::Stays, _) => Some((which, hits)),
            (Rule::Goes, _) => None,
            (Rule::ByHits(_), _) if hits == 0 => None,
            (Rule::ByHits(reinsertion), QueueKind::Small) => {
                hits_left(reinsertion, hits).map(|_| (QueueKind::Main, 0))
            }
            (Rule::ByHits(reinsertion), QueueKind::Main) => {
                Some((QueueKind::Main, hits_left(reinsertion, hits)?))
            }
        }
    }
}

// === impl Store ===

impl Store {
    /// Empties one segment, or lets one large reply go. False when there is nothing left.
    pub(super) fn evict(&self, writer: &mut StoreWriter, patient: bool) -> bool {
        let rule = if patient { Rule::ByHits(self.reinsertion(writer)) } else { Rule::Goes };
        if let Some((which, segment)) = writer.queues.take(|segment| self.is_mostly_dead(segment)) {
            self.empty_segment(writer, which, segment, Rule::Stays);
            return true;
        }
        match writer.queues.next(self.sizes.segment_bytes, self.sizes.budget) {
            Some((which, Element::Segment(segment))) => {
                self.empty_segment(writer, which, segment, rule);
            }
            Some((which, large @ Element::Large { .. })) => {
                self.evict_large(writer, which, rule, large);
            }
            None => return false,
        }
        writer.ghost.fit(self.entries.load(Ordering::Relaxed) as usize);
        true
    }

    /// The rule for another round, by the present averages.
    pub(super) fn reinsertion(&self, writer: &StoreWriter) -> ReinsertionCost {
        let bytes = (writer.segments * self.sizes.segment_bytes) as u64 + self.large.bytes();
        ReinsertionCost::new(bytes, self.entries.load(Ordering::Relaxed), tick(clock::now()))
    }

    fn empty_segment(&self, writer: &mut StoreWriter, which: QueueKind, segment: Segment, rule: Rule) {
        let start = self.sizes.words(segment.number).start;
        let mut at = 0;
        while at < segment.used {
            let spot = (start + at) as u64;
            let words = self.at(spot);
            let Some(head) = EntryHead::read(words) else { break };
            let hash = self.hash_of_entry(words, head);
            if !self.move_or_drop(writer, (which, segment.since), rule, spot, head, hash) {
                writer.epochs.note_gone(head.epoch_index());
            }
            at += head.words();
        }
        writer.free.push(segment.number);
        writer.segments = writer.segments.saturating_sub(1);
    }

    /// Moves the entry at `spot`, which came into its queue at a tick, on, or lets it go; whether it was
    /// moved.
    fn move_or_drop(
        &self,
        writer: &mut StoreWriter,
        (which, since): (QueueKind, u32),
        rule: Rule,
        spot: u64,
        head: EntryHead,
        hash: u64,
    ) -> bool {
        let now = clock::now();
        let mut lines = self.index.lock_all(hash);
        let Some(Pointer { choice, at, of_key, word }) = self.pointer_to(&lines, hash, spot) else {
            return false;
        };
        let place = Place::from_word(word.load(Ordering::Relaxed));
        let hits = Place::from_word(of_key.load(Ordering::Relaxed)).hits();
        let why_dead = self.why_dead(head, now, || writer.epochs.epoch(head.epoch_index()).cloned());
        let bytes = head.words() * WORD_BYTES;
        let hits_left =
            |reinsertion: ReinsertionCost, hits| reinsertion.hits_left(hits, bytes, since, head.deadline());
        if why_dead.is_none()
            && let Some((to, left)) = rule.of(which, hits, hits_left)
            && let Some(moved) = self.move_to(writer, to, spot, head)
        {
            word.store(place.with(moved, left).word(), Ordering::Relaxed);
            self.note_kept(hash, hits, left);
            return true;
        }
        self.unlink(&mut lines, choice, at, word);
        let is_all = Place::from_word(of_key.load(Ordering::Relaxed)).spot().is_none();
        lines.bring_home();
        (self.on_event)(hash, Event::Gone(why_dead.unwrap_or(MissReason::Evicted)));
        if why_dead.is_none() && is_all {
            writer.ghost.put(hash);
        }
        false
    }

    /// Notes that an entry stays because of its hits: it was worth its room, even if those hits are spent
    /// now.
    fn note_kept(&self, hash: u64, hits: u8, left: u8) {
        if hits > 0 && left == 0 {
            (self.on_event)(hash, Event::Kept);
        }
    }

    /// What points to the entry at `spot`.
    fn pointer_to<'a>(&'a self, lines: &Lines<'a>, hash: u64, spot: u64) -> Option<Pointer<'a>> {
        lines.iter().find_map(|locked| {
            locked.matching(hash).find_map(|at| {
                let mut word = locked.word(at);
                // No chain is longer; one that were would be a fault, and not one to hang in.
                for _ in 0..=REPLIES_MAX {
                    let here = Place::from_word(word.load(Ordering::Relaxed)).spot()?;
                    if here == spot {
                        return Some(Pointer { choice: locked.choice(), at, of_key: locked.word(at), word });
                    }
                    if LargeEntries::has_spot(here) {
                        return None;
                    }
                    word = body::next(self.at(here))?;
                }
                None
            })
        })
    }

    /// Copies an entry to the end of a queue, if there is room: where it lies then. Nothing else goes for it.
    fn move_to(&self, writer: &mut StoreWriter, which: QueueKind, spot: u64, head: EntryHead) -> Option<u64> {
        let words = head.words();
        let new = match self.room_in_open(writer, words, which) {
            Some(new) => new,
            None => {
                // The segment that is being emptied gives its room back in the end.
                self.open(writer, which)?;
                self.room_in_open(writer, words, which)?
            }
        };
        if let Some(open) = &mut writer.queues.of(which).open {
            open.used += words;
            open.entries += 1;
        }
        for (to, from) in self.at(new).iter().zip(self.at(spot)).take(words) {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        Some(new)
    }

    fn evict_large(&self, writer: &mut StoreWriter, which: QueueKind, rule: Rule, element: Element) {
        let Element::Large { spot, hash, bytes, epoch_index, since } = element else { return };
        let now = clock::now();
        let head = self.large.get(spot).map(|large| large.head);
        let why_dead = head
            .and_then(|head| self.why_dead(head, now, || writer.epochs.epoch(head.epoch_index()).cloned()));
        let mut lines = self.index.lock_all(hash);
        if let Some(Pointer { choice, at, word, .. }) = self.pointer_to(&lines, hash, spot) {
            let place = Place::from_word(word.load(Ordering::Relaxed));
            let stays = head.filter(|_| why_dead.is_none()).and_then(|head| {
                rule.of(which, place.hits(), |reinsertion, hits| {
                    reinsertion.hits_left(hits, bytes, since, head.deadline())
                })
            });
            if let Some((to, left)) = stays {
                word.store(place.with(spot, left).word(), Ordering::Relaxed);
                self.note_kept(hash, place.hits(), left);
                writer.queues.of(to).push(Element::Large {
                    spot,
                    hash,
                    bytes,
                    epoch_index,
                    since: tick(now),
                });
                return;
            }
            self.unlink(&mut lines, choice, at, word);
            lines.bring_home();
            (self.on_event)(hash, Event::Gone(why_dead.unwrap_or(MissReason::Evicted)));
            if why_dead.is_none() {
                writer.ghost.put(hash);
            }
        }
        writer.epochs.note_gone(epoch_index);
    }

    fn is_mostly_dead(&self, segment: &Segment) -> bool {
        let dead = self.dead.get(segment.number as usize).map_or(0, |dead| dead.load(Ordering::Relaxed));
        dead * DEAD_PART.1 > segment.entries * DEAD_PART.0
    }

    /// Gives back the memory of one segment that is mostly dead. False when there is none.
    pub(in crate::cache) fn give_back_dead(&self) -> bool {
        let mut writer = self.writer.lock();
        let taken = writer.queues.take(|segment| self.is_mostly_dead(segment));
        let Some((which, segment)) = taken else { return false };
        let words = self.sizes.words(segment.number);
        self.empty_segment(&mut writer, which, segment, Rule::Stays);
        self.log.give_back(words);
        self.note_bytes(&writer);
        true
    }

    /// Takes the reply at `spot`, which answers about the key with this hash, out of the index; whether it
    /// was there.
    pub(in crate::cache) fn remove(&self, hash: u64, spot: u64) -> bool {
        let mut lines = self.index.lock_all(hash);
        let pointer = self.pointer_to(&lines, hash, spot);
        if let Some(Pointer { choice, at, word, .. }) = pointer {
            self.unlink(&mut lines, choice, at, word);
        }
        pointer.is_some()
    }
}
