//! Looking at what is kept, without a lock where that has to be fast.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::entry::{self, Copied, EntryHead, Sought};
use super::large::{Large, LargeReplies};
use super::line::{LINE_WORDS, Line, Locked, PLACES, Place};
use super::{REPLIES_MAX, Store};
use std::sync::atomic::AtomicU64;

/// A reply that was found. Whether it may be served is the caller's to see.
#[derive(Clone, Copy, Debug)]
pub(in crate::near_cache) struct Found {
    pub(in crate::near_cache) head: EntryHead,
    /// Where it lies: two looks at the same reply have the same, unless it was moved.
    pub(in crate::near_cache) spot: u64,
    at: usize,
    place: Place,
}

/// A reply with all that belongs to it, copied.
#[derive(Clone, Debug)]
pub(in crate::near_cache) struct Stored {
    pub(in crate::near_cache) head: EntryHead,
    pub(in crate::near_cache) spot: u64,
    pub(in crate::near_cache) command: &'static str,
    pub(in crate::near_cache) key: Vec<u8>,
    /// As they stand in a request.
    pub(in crate::near_cache) arguments: Vec<u8>,
    /// Bytes of the reply, and of all that keeping it takes.
    pub(in crate::near_cache) reply_bytes: usize,
    pub(in crate::near_cache) weight: usize,
}

/// Lines of an entry that are fetched ahead. Where more is read the CPU sees by itself that it is wanted.
const LINES_AHEAD: usize = 3;

// === impl Store ===

impl Store {
    /// Finds the reply to what is sought and puts it into `out`.
    #[inline]
    pub(in crate::near_cache) fn find(
        &self,
        hash: u64,
        sought: &Sought<'_>,
        out: &mut Copied,
    ) -> Option<Found> {
        let home = self.index.home(hash);
        let head = home.head();
        let found = self.find_in(home, hash, sought, out);
        if !home.is_still(head) || (found.is_none() && head.away() > 0) {
            return self.find_anywhere(hash, sought, out);
        }
        if let Some(found) = &found {
            home.note_hit(found.at, found.place);
        }
        found
    }

    /// The same in all lines where it may lie, until one was read that did not change meanwhile.
    #[inline(never)]
    fn find_anywhere(&self, hash: u64, sought: &Sought<'_>, out: &mut Copied) -> Option<Found> {
        loop {
            let lines = self.index.all(hash);
            let [home, ..] = lines;
            let of_home = home.head();
            for line in lines {
                let head = line.head();
                if let Some(found) = self.find_in(line, hash, sought, out)
                    && line.is_still(head)
                {
                    line.note_hit(found.at, found.place);
                    return Some(found);
                }
            }
            // Nothing comes, goes or moves without a change of its home.
            if home.is_still(of_home) {
                return None;
            }
        }
    }

    #[inline]
    fn find_in(&self, line: Line<'_>, hash: u64, sought: &Sought<'_>, out: &mut Copied) -> Option<Found> {
        for at in line.matching(hash) {
            let place = line.place(at);
            let Some(first) = place.spot() else { continue };
            let found = if LargeReplies::has_spot(first) {
                self.find_large(first, sought, out)
            } else {
                self.find_chained(first, sought, out)
            };
            if let Some((head, spot)) = found {
                return Some(Found { head, spot, at, place });
            }
        }
        None
    }

    #[inline]
    fn find_chained(&self, first: u64, sought: &Sought<'_>, out: &mut Copied) -> Option<(EntryHead, u64)> {
        let mut spot = first;
        // What is read while it changes may lead anywhere, also in a circle.
        for _ in 0..=REPLIES_MAX {
            let words = self.at(spot);
            let head = EntryHead::read(words)?;
            if head.may_answer(sought) {
                let body = words.get(head.body_at()..head.words())?;
                if entry::is_asked(body, sought.asked) {
                    entry::copy_reply(body, head, out);
                    return Some((head, spot));
                }
            }
            spot = Place::from_word(entry::next(words)?.load(Ordering::Relaxed)).spot()?;
        }
        None
    }

    #[cold]
    fn find_large(&self, spot: u64, sought: &Sought<'_>, out: &mut Copied) -> Option<(EntryHead, u64)> {
        let large = self.large.get(spot)?;
        let is_it = large.head.may_answer(sought) && *large.asked == *sought.asked;
        is_it.then(|| {
            out.share(large.reply.clone());
            (large.head, spot)
        })
    }

    /// All replies about the key with this hash, the oldest first.
    pub(in crate::near_cache) fn replies(&self, hash: u64, key: &[u8]) -> Vec<Stored> {
        let lines = self.index.lock_all(hash);
        let mut replies = Vec::new();
        for locked in lines.iter() {
            for at in locked.matching(hash) {
                self.each_of(locked, at, |stored| {
                    replies.extend(Some(stored).filter(|stored| stored.key == key))
                });
            }
        }
        // The newest stands before the others.
        replies.reverse();
        replies
    }

    /// Looks at the replies of one key after the other, and how often their place was hit, in up to `count` lines from `from`
    /// on; where the next look begins. What comes and goes meanwhile may be met or not. Nothing is locked while `look` is
    /// called: it may ask the store.
    pub(in crate::near_cache) fn look_through(
        &self,
        from: usize,
        count: usize,
        mut look: impl FnMut(&[Stored], u8),
    ) -> Option<usize> {
        let lines = self.index.lines();
        let to = from.saturating_add(count).min(lines);
        for number in from..to {
            let Some(line) = self.index.line(number) else { break };
            let locked = line.lock();
            let places = std::array::from_fn::<_, PLACES, _>(|at| {
                let mut replies = Vec::new();
                self.each_of(&locked, at + 1, |stored| replies.push(stored));
                (replies, locked.place(at + 1).hits())
            });
            locked.give_up();
            for (replies, hits) in places.iter().filter(|(replies, _)| !replies.is_empty()) {
                look(replies, *hits);
            }
        }
        (to < lines).then_some(to)
    }

    fn each_of(&self, locked: &Locked<'_>, at: usize, mut each: impl FnMut(Stored)) {
        let Some(spot) = locked.place(at).spot() else { return };
        if let Some(large) = LargeReplies::has_spot(spot).then(|| self.large.get(spot)) {
            return large.into_iter().for_each(|large| each(self.stored_large(spot, &large)));
        }
        let mut next = Some(spot);
        // No chain is longer.
        for _ in 0..=REPLIES_MAX {
            let Some(spot) = next else { return };
            let words = self.at(spot);
            let Some(head) = EntryHead::read(words) else { return };
            each(self.stored(spot, words, head));
            next = entry::next(words).and_then(|word| Place::from_word(word.load(Ordering::Relaxed)).spot());
        }
    }

    fn stored(&self, spot: u64, words: &[AtomicU64], head: EntryHead) -> Stored {
        let body = words.get(head.body_at()..).unwrap_or_default();
        let asked = entry::bytes(body, 0, head.asked_len());
        let weight = head.words() * 8 + self.sizes.place_bytes();
        self.stored_of(head, spot, asked, head.reply_len(), weight)
    }

    fn stored_large(&self, spot: u64, large: &Arc<Large>) -> Stored {
        self.stored_of(large.head, spot, large.asked.to_vec(), large.reply.len(), large.bytes())
    }

    fn stored_of(
        &self,
        head: EntryHead,
        spot: u64,
        asked: Vec<u8>,
        reply_bytes: usize,
        weight: usize,
    ) -> Stored {
        let key = entry::key(head, &asked).to_vec();
        let arguments = if head.is_sole() { entry::sole(&asked) } else { asked };
        Stored { head, spot, command: self.name(head.command()), key, arguments, reply_bytes, weight }
    }

    /// Asks for the memory that lookups of these hashes will need: of all at once, and what the next step needs after that.
    #[inline]
    pub(in crate::near_cache) fn fetch(&self, hashes: &[u64]) {
        let homes = || hashes.iter().map(|hash| (self.index.home(*hash), *hash));
        black_box(homes().map(|(home, _)| home.touch()).fold(0, |all, one| all ^ one));
        let mut all = 0;
        for (home, hash) in homes() {
            let spot = home.matching(hash).next().and_then(|at| home.place(at).spot());
            let words = spot.map(|spot| self.at(spot)).unwrap_or_default();
            for line in 0..LINES_AHEAD {
                all ^= words.get(line * LINE_WORDS).map_or(0, |word| word.load(Ordering::Relaxed));
            }
        }
        black_box(all);
    }
}
