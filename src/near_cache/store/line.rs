//! One line of memory of the index: a sequence, the generation of its keys, and where their entries lie.
//!
//! Readers take no lock: they note the sequence, read, and compare it afterwards (a seqlock). Whoever changes anything
//! makes it odd for that long, and larger in the end. All words are atomics, so a reader that loses reads nonsense and never
//! what nobody wrote; it throws that away.
//!
//! The generation says how often a key of this line was invalidated. A fill notes it before its command is sent, and its reply
//! is kept only if it is still the same, which is compared under the lock that an invalidation takes (I2).

use super::atomics::{AtomicU64, Ordering, fence, pause};

/// Places of a line, behind its head.
pub(super) const PLACES: usize = 7;

/// Words of a line: its head and its places.
pub(super) const LINE_WORDS: usize = PLACES + 1;

/// A line, wherever its words lie.
#[derive(Clone, Copy)]
pub(super) struct Line<'a>(&'a [AtomicU64; LINE_WORDS]);

/// The head of a line that nobody was writing: the sequence in the lower half, the generation in the upper one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head(u64);

/// Where an entry lies, how often that was hit, and a part of the hash of its key. 0 is no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(u64);

/// A line that nobody else changes until this is dropped.
pub(super) struct Locked<'a> {
    line: Line<'a>,
    head: u64,
}

/// Places that may be that of a key: a bit for each.
#[derive(Clone, Copy)]
pub(super) struct Matching(u32);

const SEQUENCE_BITS: u32 = 32;
const SEQUENCE_MASK: u64 = (1 << SEQUENCE_BITS) - 1;

const SPOT_BITS: u32 = 40;
const SPOT_MASK: u64 = (1 << SPOT_BITS) - 1;
const HITS_ONE: u64 = 1 << SPOT_BITS;
const HITS_MASK: u64 = 3 << SPOT_BITS;
const TAG_SHIFT: u32 = SPOT_BITS + 2;

// === impl Line ===

impl<'a> Line<'a> {
    pub(super) fn new(words: &'a [AtomicU64; LINE_WORDS]) -> Line<'a> {
        Line(words)
    }

    /// The head, once nobody writes the line.
    #[inline]
    pub(super) fn head(self) -> Head {
        let mut looks = 0;
        loop {
            let head = self.0[0].load(Ordering::Acquire);
            if head & 1 == 0 {
                return Head(head);
            }
            looks += 1;
            pause(looks);
        }
    }

    /// Whether nothing was changed since `head`: then all that was read since is what stood there.
    #[inline]
    pub(super) fn is_still(self, head: Head) -> bool {
        fence(Ordering::Acquire);
        self.0[0].load(Ordering::Relaxed) == head.0
    }

    /// The places with the tag of `hash`, without a branch for each.
    #[inline]
    pub(super) fn matching(self, hash: u64) -> Matching {
        let tag = hash >> TAG_SHIFT;
        let [_, a, b, c, d, e, f, g] = self.0;
        let bit = |place: &AtomicU64, number: u32| {
            u32::from(place.load(Ordering::Relaxed) >> TAG_SHIFT == tag) << number
        };
        Matching((bit(a, 1) | bit(b, 2)) | (bit(c, 3) | bit(d, 4)) | (bit(e, 5) | bit(f, 6)) | bit(g, 7))
    }

    #[inline]
    pub(super) fn place(self, number: usize) -> Place {
        Place(self.0[number & PLACES].load(Ordering::Relaxed))
    }

    /// Counts a hit of the entry at `place`, which was read there. Loses against whoever changes it; then it does not count.
    #[inline]
    pub(super) fn note_hit(self, number: usize, place: Place) {
        if place.0 & HITS_MASK != HITS_MASK {
            let word = &self.0[number & PLACES];
            let _ = word.compare_exchange(place.0, place.0 + HITS_ONE, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Waits until nobody else writes the line, and keeps others from it.
    #[inline]
    pub(super) fn lock(self) -> Locked<'a> {
        let mut looks = 0;
        loop {
            let head = self.0[0].load(Ordering::Relaxed);
            let odd = head | 1;
            if head != odd
                && self.0[0].compare_exchange(head, odd, Ordering::Acquire, Ordering::Relaxed).is_ok()
            {
                // What is stored from here on is seen by nobody who does not see that the line is being written.
                fence(Ordering::Release);
                return Locked { line: self, head };
            }
            looks += 1;
            pause(looks);
        }
    }

    /// Brings the line into the cache of the CPU. The number means nothing.
    #[inline]
    pub(super) fn touch(self) -> u64 {
        self.0[0].load(Ordering::Relaxed)
    }
}

// === impl Head ===

impl Head {
    #[inline]
    pub(super) fn generation(self) -> u32 {
        (self.0 >> SEQUENCE_BITS) as u32
    }
}

// === impl Place ===

impl Place {
    pub(super) const EMPTY: Place = Place(0);

    /// Of an entry at `spot` whose key has this hash, hit so often: 0 to 3 times.
    pub(super) fn new(hash: u64, spot: u64, hits: u8) -> Place {
        Place(hash >> TAG_SHIFT << TAG_SHIFT).with(spot, hits)
    }

    /// The same key's, elsewhere.
    pub(super) fn with(self, spot: u64, hits: u8) -> Place {
        let tag = self.0 >> TAG_SHIFT << TAG_SHIFT;
        Place(tag | u64::from(hits & 3) << SPOT_BITS | (spot + 1) & SPOT_MASK)
    }

    pub(super) fn from_word(word: u64) -> Place {
        Place(word)
    }

    pub(super) fn word(self) -> u64 {
        self.0
    }

    /// Where the entry lies, if there is one.
    #[inline]
    pub(super) fn spot(self) -> Option<u64> {
        (self.0 & SPOT_MASK).checked_sub(1)
    }

    /// How often it was hit, up to 3.
    pub(super) fn hits(self) -> u8 {
        (self.0 >> SPOT_BITS) as u8 & 3
    }

    /// Whether it may be that of the key with this hash.
    #[inline]
    pub(super) fn is_of(self, hash: u64) -> bool {
        self.0 >> TAG_SHIFT == hash >> TAG_SHIFT && self.spot().is_some()
    }
}

// === impl Matching ===

impl Iterator for Matching {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let number = self.0.trailing_zeros() as usize;
        self.0 &= self.0 - 1;
        Some(number)
    }
}

// === impl Locked ===

impl<'a> Locked<'a> {
    pub(super) fn generation(&self) -> u32 {
        Head(self.head).generation()
    }

    /// Kills the fills that noted the generation before: those of this line's keys.
    #[inline]
    pub(super) fn raise(&mut self) {
        self.set_generation(self.generation().wrapping_add(1));
    }

    pub(super) fn set_generation(&mut self, generation: u32) {
        self.head = u64::from(generation) << SEQUENCE_BITS | self.head & SEQUENCE_MASK;
    }

    /// The word of a place, 1 to [`PLACES`], that only the holder changes, but for hits that are counted.
    pub(super) fn word(&self, number: usize) -> &'a AtomicU64 {
        &self.line.0[number & PLACES]
    }

    pub(super) fn place(&self, number: usize) -> Place {
        self.line.place(number)
    }

    #[inline]
    pub(super) fn matching(&self, hash: u64) -> Matching {
        self.line.matching(hash)
    }

    pub(super) fn set(&mut self, number: usize, place: Place) {
        self.word(number).store(place.0, Ordering::Relaxed);
    }

    /// A place that has no entry.
    pub(super) fn free(&self) -> Option<usize> {
        (1..=PLACES).find(|number| self.place(*number).spot().is_none())
    }

    /// The place that was hit least.
    pub(super) fn coldest(&self) -> usize {
        (1..=PLACES).min_by_key(|number| self.place(*number).hits()).unwrap_or(1)
    }
}

impl<'a> Locked<'a> {
    /// Gives up a line that may have been taken out of the index, where nothing was changed: its memory may have been given
    /// back meanwhile, and the line begun anew, locked by somebody else.
    pub(super) fn give_up(self) {
        let word = &self.line.0[0];
        let _ = word.compare_exchange(self.head | 1, self.next(), Ordering::Release, Ordering::Relaxed);
        std::mem::forget(self);
    }

    /// Both halves wrap by themselves, and neither into the other. No line that was ever locked has a sequence of 0, so that
    /// memory which was given back is not taken for one.
    fn next(&self) -> u64 {
        let sequence = (self.head.wrapping_add(2) & SEQUENCE_MASK).max(2);
        self.head & !SEQUENCE_MASK | sequence
    }
}

impl Drop for Locked<'_> {
    #[inline]
    fn drop(&mut self) {
        self.line.0[0].store(self.next(), Ordering::Release);
    }
}
