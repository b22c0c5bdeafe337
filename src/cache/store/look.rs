//! Reads of the store, without a lock where that has to be fast.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::body;
use super::entry::{EntryHead, LookupKey};
use super::large::{Large, LargeEntries};
use super::line::{LINE_WORDS, Line, Locked, PLACES, Place};
use super::{Bytes, MissReason, REPLIES_MAX, Store};
use crate::cache::entry::Resp2;
use crate::net::write_queue::WriteQueue;
use crate::protocol::resp::scan::AHEAD_MAX;

/// A reply that was found. Whether it may be served is the caller's to see.
#[derive(Clone, Copy, Debug)]
pub(in crate::cache) struct Found {
    pub(in crate::cache) head: EntryHead,
    /// Its spot, which stays equal unless the entry is moved.
    pub(in crate::cache) spot: u64,
}

/// Where a reply is that was found and may be served: in the room of the output that it was found for.
#[derive(Debug)]
pub(in crate::cache) struct FoundReply {
    found: Found,
    /// A large reply, which stays where it is.
    large: Option<Arc<Large>>,
}

// === impl FoundReply ===

impl FoundReply {
    /// A reply that was copied to the room of an output.
    #[inline(always)]
    pub(in crate::cache) fn copied(found: Found) -> FoundReply {
        FoundReply { found, large: None }
    }

    #[inline(always)]
    pub(in crate::cache) fn spot(&self) -> u64 {
        self.found.spot
    }

    /// Its form in RESP2.
    #[inline(always)]
    pub(in crate::cache) fn resp2(&self) -> Resp2 {
        self.found.head.resp2()
    }

    /// Its bytes, if it lies in the room.
    #[inline(always)]
    pub(in crate::cache) fn len_in_room(&self) -> Result<usize, &Bytes> {
        match &self.large {
            None => Ok(self.found.head.reply_len()),
            Some(large) => Err(&large.reply),
        }
    }

    /// The reply; `out` is the output that it was found for.
    #[inline(always)]
    pub(in crate::cache) fn to_bytes(&self, out: &WriteQueue) -> Bytes {
        to_bytes(self.found.head.reply_len(), self.large.as_deref(), out)
    }
}

#[inline(never)]
fn to_bytes(len: usize, large: Option<&Large>, out: &WriteQueue) -> Bytes {
    large.map_or_else(|| Bytes::copy_from_slice(out.in_room(len)), |large| large.reply.clone())
}

/// A reply with all that belongs to it, copied.
#[derive(Clone, Debug)]
pub(in crate::cache) struct Stored {
    pub(in crate::cache) head: EntryHead,
    pub(in crate::cache) key: Vec<u8>,
    /// The arguments, as in a request.
    pub(in crate::cache) arguments: Vec<u8>,
    /// Bytes of the reply, and of all that keeping it takes.
    pub(in crate::cache) reply_bytes: usize,
    pub(in crate::cache) weight: usize,
}

/// Words of an entry that are prefetched: three cache lines. Beyond that the CPU prefetches by itself.
const WORDS_AHEAD: usize = 2 * LINE_WORDS + 1;

/// Reads of a line after which it counts as one without the key, if each was disturbed by a write: the server
/// behind knows.
const LOOKS_MAX: u32 = 1_000;

/// Entries, of some 200 bytes each, that fit into the second cache of any CPU.
const NEAR_ENTRIES_MAX: u64 = 1_024;

// === impl Store ===

impl Store {
    /// Finds the reply to a query in the usual case: the home of the key names it first, and is not being
    /// written. Copies it behind the waiting bytes of `out`.
    #[inline(always)]
    pub(in crate::cache) fn find_at_once(
        &self,
        hash: u64,
        lookup_key: &LookupKey<'_>,
        out: &mut WriteQueue,
    ) -> Option<Found> {
        let home = self.index.home(hash);
        let head = home.head();
        let at = home.matching(hash).next()?;
        let place = home.place(at);
        // That of a large reply is none of the log.
        let found = self.read(place.spot()?, lookup_key, out)?;
        if !home.is_still(head) {
            return None;
        }
        home.note_hit(at, place);
        Some(found)
    }

    /// Finds the reply in all lines where it may lie: reads again until no line changed meanwhile. What is
    /// large stays where it is ([`Store::held`]).
    pub(in crate::cache) fn find(
        &self,
        hash: u64,
        lookup_key: &LookupKey<'_>,
        out: &mut WriteQueue,
    ) -> Option<Found> {
        for _ in 0..LOOKS_MAX {
            let lines = self.index.all(hash);
            let [home, ..] = lines;
            let of_home = home.head();
            for line in lines {
                let head = line.head();
                if let Some((at, place, found)) = self.find_in(line, hash, lookup_key, out)
                    && line.is_still(head)
                {
                    line.note_hit(at, place);
                    return Some(found);
                }
                if of_home.away() == 0 {
                    break;
                }
            }
            // Nothing comes, goes or moves without a change of its home.
            if home.is_still(of_home) {
                return None;
            }
        }
        None
    }

    /// Copies the reply at this spot into the room of `out`, if it answers the query.
    #[inline(always)]
    fn read(&self, spot: u64, lookup_key: &LookupKey<'_>, out: &mut WriteQueue) -> Option<Found> {
        let words = self.log.words().get(spot as usize..)?;
        let head = EntryHead::read(words)?;
        if !head.may_answer(lookup_key) {
            return None;
        }
        let body = body::body_of(words, head, lookup_key)?;
        let (key, reply) = body.split_at_checked(lookup_key.asked.len() / 8)?;
        if !body::is_asked(key, reply, lookup_key.asked) {
            return None;
        }
        let room = out.room(head.reply_len());
        body::copy_reply(reply, lookup_key.asked.len() % 8, room);
        Some(Found { head, spot })
    }

    fn find_in(
        &self,
        line: Line<'_>,
        hash: u64,
        lookup_key: &LookupKey<'_>,
        out: &mut WriteQueue,
    ) -> Option<(usize, Place, Found)> {
        for at in line.matching(hash) {
            let place = line.place(at);
            let Some(first) = place.spot() else { continue };
            let found = if LargeEntries::has_spot(first) {
                self.find_large(first, lookup_key)
            } else {
                self.find_chained(first, lookup_key, out)
            };
            if let Some(found) = found {
                return Some((at, place, found));
            }
        }
        None
    }

    fn find_chained(&self, first: u64, lookup_key: &LookupKey<'_>, out: &mut WriteQueue) -> Option<Found> {
        let mut spot = first;
        // What is read while it changes may lead anywhere, also in a circle.
        for _ in 0..=REPLIES_MAX {
            let found = self.read(spot, lookup_key, out);
            if found.is_some() {
                return found;
            }
            spot = Place::from_word(body::next(self.at(spot))?.load(Ordering::Relaxed)).spot()?;
        }
        None
    }

    #[cold]
    fn find_large(&self, spot: u64, lookup_key: &LookupKey<'_>) -> Option<Found> {
        let large = self.large.get(spot)?;
        let is_it = large.head.may_answer(lookup_key) && *large.asked == *lookup_key.asked;
        is_it.then_some(Found { head: large.head, spot })
    }

    /// Where the reply is that was found: in the room of the output, unless it is one that stayed where it
    /// is. None if that went since.
    pub(in crate::cache) fn held(&self, found: Found) -> Option<FoundReply> {
        if !LargeEntries::has_spot(found.spot) {
            return Some(FoundReply::copied(found));
        }
        let large = self.large.get(found.spot)?;
        Some(FoundReply { found, large: Some(large) })
    }

    /// All replies about the key with this hash, the oldest first.
    pub(in crate::cache) fn replies(&self, hash: u64, key: &[u8]) -> Vec<Stored> {
        let lines = self.index.lock_all(hash);
        let mut replies = Vec::new();
        for locked in lines.iter() {
            for at in locked.matching(hash) {
                self.each_of(locked, at, |spot, head| {
                    replies.extend(self.stored(spot, head).filter(|stored| stored.key == key))
                });
            }
        }
        // The newest stands before the others.
        replies.reverse();
        replies
    }

    /// Looks at the replies of one key after the other, and how often their place was hit, in up to `count`
    /// lines from `from` on; where the next look begins. What comes and goes meanwhile may be met or not.
    /// Nothing is locked while `look` is called: it may ask the store.
    pub(in crate::cache) fn look_through(
        &self,
        from: usize,
        count: usize,
        mut look: impl FnMut(&[Stored], u8),
    ) -> Option<usize> {
        let mut found = Vec::new();
        let next = self.each_line(from, count, |locked| {
            for at in 1..=PLACES {
                let mut replies = Vec::new();
                self.each_of(locked, at, |spot, head| replies.extend(self.stored(spot, head)));
                if !replies.is_empty() {
                    found.push((replies, locked.place(at).hits()));
                }
            }
        });
        found.iter().for_each(|(replies, hits)| look(replies, *hits));
        next
    }

    /// The replies in up to `count` lines from `from` on of whose heads `why` says that they can never be
    /// served again: the hash of the key, where it lies, and why. Then where the next look begins. Keys
    /// are looked at of those alone.
    pub(in crate::cache) fn dead(
        &self,
        from: usize,
        count: usize,
        why: impl Fn(EntryHead) -> Option<MissReason>,
    ) -> (Vec<(u64, u64, MissReason)>, Option<usize>) {
        let mut dead = Vec::new();
        let next = self.each_line(from, count, |locked| {
            for at in 1..=PLACES {
                self.each_of(locked, at, |spot, head| {
                    dead.extend(why(head).map(|why| (self.hash_at(spot), spot, why)));
                });
            }
        });
        (dead, next)
    }

    fn each_line(&self, from: usize, count: usize, mut each: impl FnMut(&Locked<'_>)) -> Option<usize> {
        let lines = self.index.lines();
        let to = from.saturating_add(count).min(lines);
        for number in from..to {
            let Some(line) = self.index.line(number) else { break };
            let locked = line.lock();
            each(&locked);
            locked.give_up();
        }
        (to < lines).then_some(to)
    }

    /// The replies of the key that has a place, the newest first: where each lies, and its head.
    fn each_of(&self, locked: &Locked<'_>, at: usize, mut each: impl FnMut(u64, EntryHead)) {
        let Some(first) = locked.place(at).spot() else { return };
        if LargeEntries::has_spot(first) {
            return self.large.get(first).into_iter().for_each(|large| each(first, large.head));
        }
        let mut next = Some(first);
        // No chain is longer.
        for _ in 0..=REPLIES_MAX {
            let Some(spot) = next else { return };
            let words = self.at(spot);
            let Some(head) = EntryHead::read(words) else { return };
            each(spot, head);
            next = body::next(words).and_then(|word| Place::from_word(word.load(Ordering::Relaxed)).spot());
        }
    }

    fn stored(&self, spot: u64, head: EntryHead) -> Option<Stored> {
        if LargeEntries::has_spot(spot) {
            let large = self.large.get(spot)?;
            return Some(self.stored_of(head, large.asked.to_vec(), large.reply.len(), large.bytes()));
        }
        let body = self.at(spot).get(head.body_at()..).unwrap_or_default();
        let asked = body::bytes(body, 0, head.asked_len());
        let weight = head.words() * 8 + self.sizes.place_bytes();
        Some(self.stored_of(head, asked, head.reply_len(), weight))
    }

    fn stored_of(&self, head: EntryHead, asked: Vec<u8>, reply_bytes: usize, weight: usize) -> Stored {
        let key = body::key(head, &asked).to_vec();
        let arguments = if head.is_key_only() { body::sole(&asked) } else { asked };
        Stored { head, key, arguments, reply_bytes, weight }
    }

    /// Whether so little is kept that it lies in the caches of the CPU anyhow.
    #[inline]
    pub(in crate::cache) fn is_near(&self) -> bool {
        self.entries.load(Ordering::Relaxed) <= NEAR_ENTRIES_MAX
    }

    /// Asks for the memory that lookups of these hashes will need: of all at once, and what the next step
    /// needs after that.
    #[inline]
    pub(in crate::cache) fn prefetch(&self, hashes: &[u64]) {
        let mut all = 0;
        for hashes in hashes.chunks(AHEAD_MAX) {
            // Any line will do in the place of those that are not there.
            let mut homes = [self.index.home(0); AHEAD_MAX];
            for (home, hash) in homes.iter_mut().zip(hashes) {
                *home = self.index.home(*hash);
                all ^= home.prefetch();
            }
            black_box(all);
            for (home, hash) in homes.iter().zip(hashes) {
                let spot = home.matching(*hash).next().and_then(|at| home.place(at).spot());
                let words = spot.and_then(|spot| self.log.words().get(spot as usize..)?.first_chunk());
                all ^= words.map_or(0, |words: &[AtomicU64; WORDS_AHEAD]| {
                    words.iter().step_by(LINE_WORDS).fold(0, |all, word| all ^ word.load(Ordering::Relaxed))
                });
            }
        }
        black_box(all);
    }
}
