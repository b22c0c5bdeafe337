//! Making room: what comes to the front of a queue moves on or goes.

use std::sync::atomic::Ordering;

use super::entry::{self, EntryHead};
use super::large::LargeReplies;
use super::leases::Leases;
use super::line::{Locked, Place};
use super::queues::{Element, Segment, Which};
use super::{AtomicU64, Nanos, REPLIES_MAX, Store, Writer, clock, tick};

/// A segment of which so large a part is dead is emptied before its turn.
const DEAD_PART: (u32, u32) = (1, 2);

/// What becomes of an entry whose segment is emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// It came to the front: it stays if it was hit.
    ByHits,
    /// The segment was nearly dead: what is left of it stays as it is.
    Stays,
    /// Nothing stays.
    Goes,
}

// === impl Rule ===

impl Rule {
    /// In which queue what was hit so often goes on, and as how often hit; none when it goes.
    fn of(self, which: Which, hits: u8) -> Option<(Which, u8)> {
        match (self, which) {
            (Rule::Stays, _) => Some((which, hits)),
            (Rule::Goes, _) => None,
            (Rule::ByHits, _) if hits == 0 => None,
            (Rule::ByHits, Which::Small) => Some((Which::Main, 0)),
            (Rule::ByHits, Which::Main) => Some((Which::Main, hits - 1)),
        }
    }
}

// === impl Store ===

impl Store {
    /// Empties one segment, or lets one large reply go. False when there is nothing left.
    pub(super) fn evict(&self, writer: &mut Writer, patient: bool) -> bool {
        let rule = if patient { Rule::ByHits } else { Rule::Goes };
        let is_dead = |segment: &Segment| {
            let dead = self.dead.get(segment.number as usize).map_or(0, |dead| dead.load(Ordering::Relaxed));
            dead * DEAD_PART.1 > segment.entries * DEAD_PART.0
        };
        if let Some((which, segment)) = writer.queues.take(is_dead) {
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

    fn empty_segment(&self, writer: &mut Writer, which: Which, segment: Segment, rule: Rule) {
        let start = self.sizes.words(segment.number).start;
        let mut at = 0;
        while at < segment.used {
            let spot = (start + at) as u64;
            let words = self.at(spot);
            let Some(head) = EntryHead::read(words) else { break };
            let hash = self.hash_of_entry(words, head);
            if !self.settle(writer, which, rule, spot, head, hash) {
                writer.leases.note_gone(head.lease());
            }
            at += head.words();
        }
        writer.free.push(segment.number);
        writer.segments = writer.segments.saturating_sub(1);
    }

    /// Moves the entry at `spot` on, or lets it go; whether it was moved.
    fn settle(
        &self,
        writer: &mut Writer,
        which: Which,
        rule: Rule,
        spot: u64,
        head: EntryHead,
        hash: u64,
    ) -> bool {
        let now = clock::now();
        let mut lines = self.index.lock_all(hash);
        for locked in lines.iter_mut() {
            let Some((at, pointer)) = self.pointer_to(locked, hash, spot) else { continue };
            let place = Place::from_word(pointer.load(Ordering::Relaxed));
            let hits = locked.place(at).hits();
            let is_live = self.may_be_served(&writer.leases, head, now);
            if is_live
                && let Some((to, left)) = rule.of(which, hits)
                && let Some(moved) = self.move_to(writer, to, spot, head)
            {
                pointer.store(place.with(moved, left).word(), Ordering::Relaxed);
                return true;
            }
            self.unlink(locked, at, pointer);
            if is_live {
                (self.on_eviction)(hash);
                if which == Which::Small && locked.place(at).spot().is_none() {
                    writer.ghost.put(hash);
                }
            }
            return false;
        }
        false
    }

    fn may_be_served(&self, leases: &Leases, head: EntryHead, now: Nanos) -> bool {
        let is_live = leases.epoch(head.lease()).is_some_and(|epoch| epoch.is_live(now));
        is_live && !head.is_over(tick(now)) && !self.is_moved(head)
    }

    /// The place on which the entry at `spot` hangs, and the word that points to it.
    pub(super) fn pointer_to<'a>(
        &'a self,
        locked: &Locked<'a>,
        hash: u64,
        spot: u64,
    ) -> Option<(usize, &'a AtomicU64)> {
        for at in locked.matching(hash) {
            let mut pointer = locked.word(at);
            // No chain is longer; one that were would be a fault, and not one to hang in.
            for _ in 0..=REPLIES_MAX {
                let Some(here) = Place::from_word(pointer.load(Ordering::Relaxed)).spot() else { break };
                if here == spot {
                    return Some((at, pointer));
                }
                if LargeReplies::has_spot(here) {
                    break;
                }
                let Some(next) = entry::next(self.at(here)) else { break };
                pointer = next;
            }
        }
        None
    }

    /// Copies an entry to the end of a queue, if there is room: where it lies then. Nothing else goes for it.
    fn move_to(&self, writer: &mut Writer, which: Which, spot: u64, head: EntryHead) -> Option<u64> {
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

    fn evict_large(&self, writer: &mut Writer, which: Which, rule: Rule, large: Element) {
        let Element::Large { spot, hash, lease, .. } = large else { return };
        let mut lines = self.index.lock_all(hash);
        for locked in lines.iter_mut() {
            let Some((at, pointer)) = self.pointer_to(locked, hash, spot) else { continue };
            let place = locked.place(at);
            if let Some((to, left)) = rule.of(which, place.hits()) {
                locked.set(at, place.with(spot, left));
                writer.queues.of(to).push(large);
                return;
            }
            self.unlink(locked, at, pointer);
            (self.on_eviction)(hash);
            if which == Which::Small {
                writer.ghost.put(hash);
            }
            break;
        }
        writer.leases.note_gone(lease);
    }

    /// Takes the reply at `spot`, which answers about the key with this hash, out of the index; whether it was there.
    pub(in crate::near_cache) fn remove(&self, hash: u64, spot: u64) -> bool {
        let mut lines = self.index.lock_all(hash);
        for locked in lines.iter_mut() {
            if let Some((at, pointer)) = self.pointer_to(locked, hash, spot) {
                self.unlink(locked, at, pointer);
                return true;
            }
        }
        false
    }
}
