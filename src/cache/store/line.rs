//! A line of memory of the index: a sequence, the generation of its keys, and where their entries lie.
//!
//! Readers take no lock: they note the sequence, read, and compare it afterwards (a seqlock). A writer makes
//! it odd during its change, and larger in the end. All words are atomics, so a reader that loses the race
//! reads a mixture of old and new words, and throws that away.
//!
//! A line is the home of some keys: their first choice. An entry that has no room there lies in its second or
//! third choice, lines not far behind it, and its place says which it is. The home counts its entries in
//! other lines, so a reader knows whether it has to look there.
//!
//! The generation says how often a key of this line was invalidated. A fill notes it before its command is
//! sent, and its reply is kept only if it is still the same, which is compared under the lock that an
//! invalidation takes (I2).

use super::atomics::{AtomicU64, Ordering, fence, pause};

/// Places of a line, behind its head.
pub(super) const PLACES: usize = 7;

/// Words of a line: its head and its places.
pub(super) const LINE_WORDS: usize = PLACES + 1;

/// Lines behind its home within which an entry lies.
pub(super) const OFFSET_MAX: usize = 31;

/// A line, wherever its words lie, and which choice of the key that is looked for: 0 is its home.
#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    words: &'a [AtomicU64; LINE_WORDS],
    choice: usize,
}

/// The head of a line outside of a write, from the lowest bits: the sequence number, the number of entries of
/// its keys in other lines, and the generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head(u64);

/// Where an entry lies, how often that was hit, which choice of its key this line is, and a part of the hash
/// of its key, the tag. 0 is no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(u64);

/// A locked line, until this is dropped.
pub(super) struct Locked<'a> {
    line: Line<'a>,
    head: u64,
}

/// Places that may belong to a key: a bit for each.
#[derive(Clone, Copy)]
pub(super) struct Matching(u32);

const SEQUENCE_BITS: u32 = 28;
const SEQUENCE_MASK: u64 = (1 << SEQUENCE_BITS) - 1;
const AWAY_ONE: u64 = 1 << SEQUENCE_BITS;
const AWAY_MAX: usize = 15;
const GENERATION_SHIFT: u32 = 32;

const SPOT_BITS: u32 = 40;
const SPOT_MASK: u64 = (1 << SPOT_BITS) - 1;
const HITS_ONE: u64 = 1 << SPOT_BITS;
const HITS_MASK: u64 = 3 << SPOT_BITS;
const CHOICE_SHIFT: u32 = SPOT_BITS + 2;
const CHOICE_MASK: u64 = 3 << CHOICE_SHIFT;
const TAG_SHIFT: u32 = CHOICE_SHIFT + 2;

/// Bits of a tag.
pub(super) const TAG_BITS: u32 = u64::BITS - TAG_SHIFT;
const TAG_MASK: u64 = u64::MAX << TAG_SHIFT;

/// How far behind its home the second and the third choice of a key are, by bits of its tag that hardly have
/// a say in where its home is. They are two lines, the nearer one first.
#[inline]
pub(super) fn others(hash: u64) -> [usize; 2] {
    const HALF: u64 = OFFSET_MAX as u64 / 2;
    let (one, other) = (hash >> TAG_SHIFT & HALF, hash >> (TAG_SHIFT + HALF.trailing_ones()) & HALF);
    let (odd, even) = (2 * one as usize + 1, 2 * (other % HALF) as usize + 2);
    [odd.min(even), odd.max(even)]
}

// === impl Line ===

impl<'a> Line<'a> {
    pub(super) fn new(words: &'a [AtomicU64; LINE_WORDS]) -> Line<'a> {
        Line { words, choice: 0 }
    }

    /// This line as the given choice of a key.
    #[inline]
    pub(super) fn chosen(self, choice: usize) -> Line<'a> {
        Line { choice, ..self }
    }

    /// The head, read outside of a write.
    #[inline]
    pub(super) fn head(self) -> Head {
        let mut looks = 0;
        loop {
            let head = self.words[0].load(Ordering::Acquire);
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
        self.words[0].load(Ordering::Relaxed) == head.0
    }

    /// The places with the tag of `hash`, of whose key the line is that choice, without a branch for each.
    #[inline]
    pub(super) fn matching(self, hash: u64) -> Matching {
        let lookup_key = (hash & TAG_MASK) >> CHOICE_SHIFT | self.choice as u64;
        let [_, a, b, c, d, e, f, g] = self.words;
        let bit = |place: &AtomicU64, number: u32| {
            u32::from(place.load(Ordering::Relaxed) >> CHOICE_SHIFT == lookup_key) << number
        };
        Matching((bit(a, 1) | bit(b, 2)) | (bit(c, 3) | bit(d, 4)) | (bit(e, 5) | bit(f, 6)) | bit(g, 7))
    }

    #[inline]
    pub(super) fn place(self, number: usize) -> Place {
        Place(self.words[number & PLACES].load(Ordering::Relaxed))
    }

    /// Counts a hit of the entry at `place`. If the place changes meanwhile, the hit does not count.
    #[inline]
    pub(super) fn note_hit(self, number: usize, place: Place) {
        if place.0 & HITS_MASK != HITS_MASK {
            let word = &self.words[number & PLACES];
            let _ = word.compare_exchange(place.0, place.0 + HITS_ONE, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Waits until the line is not locked, and locks it.
    #[inline]
    pub(super) fn lock(self) -> Locked<'a> {
        let mut looks = 0;
        loop {
            if let Some(locked) = self.try_lock() {
                return locked;
            }
            looks += 1;
            pause(looks);
        }
    }

    /// Locks the line, unless it is locked.
    #[inline]
    pub(super) fn try_lock(self) -> Option<Locked<'a>> {
        let head = self.words[0].load(Ordering::Relaxed);
        let odd = head | 1;
        if head == odd
            || self.words[0].compare_exchange(head, odd, Ordering::Acquire, Ordering::Relaxed).is_err()
        {
            return None;
        }
        // A reader that sees what is stored from here on also sees that the line is being written.
        fence(Ordering::Release);
        Some(Locked { line: self, head })
    }

    /// The line that [`Locked::keep`] keeps locked.
    pub(super) fn kept(self) -> Locked<'a> {
        Locked { line: self, head: self.words[0].load(Ordering::Relaxed) & !1 }
    }

    /// The places of the entries whose home is so far before this line.
    pub(super) fn guests_from(self, offset: usize) -> impl Iterator<Item = (usize, Place)> + use<'a> {
        let places = (1..=PLACES).map(move |number| (number, self.place(number)));
        places.filter(move |(_, place)| place.offset() == offset && place.spot().is_some())
    }

    /// Brings the line into the cache of the CPU. The number means nothing.
    #[inline]
    pub(super) fn prefetch(self) -> u64 {
        self.words[0].load(Ordering::Relaxed)
    }
}

// === impl Head ===

impl Head {
    #[inline]
    pub(super) fn generation(self) -> u32 {
        (self.0 >> GENERATION_SHIFT) as u32
    }

    /// How many entries of the line's keys lie in other lines.
    #[inline]
    pub(super) fn away(self) -> usize {
        (self.0 >> SEQUENCE_BITS) as usize & AWAY_MAX
    }
}

// === impl Place ===

impl Place {
    pub(super) const EMPTY: Place = Place(0);

    /// Of an entry at `spot` whose key has this hash, hit so often: 0 to 3 times.
    pub(super) fn new(hash: u64, spot: u64, hits: u8) -> Place {
        Place(hash & TAG_MASK).with(spot, hits)
    }

    /// This place, for an entry of its key at another spot.
    pub(super) fn with(self, spot: u64, hits: u8) -> Place {
        let key = self.0 >> CHOICE_SHIFT << CHOICE_SHIFT;
        Place(key | u64::from(hits & 3) << SPOT_BITS | (spot + 1) & SPOT_MASK)
    }

    /// This place, in a line that is the given choice of its key.
    pub(super) fn chosen(self, choice: usize) -> Place {
        Place(self.0 & !CHOICE_MASK | (choice as u64) << CHOICE_SHIFT & CHOICE_MASK)
    }

    /// How far behind its home its line is.
    pub(super) fn offset(self) -> usize {
        let choice = ((self.0 & CHOICE_MASK) >> CHOICE_SHIFT) as usize;
        choice.checked_sub(1).map_or(0, |other| others(self.0)[other & 1])
    }

    /// The part of the hash of its key that the place has, at its position in a hash.
    pub(super) fn tag(self) -> u64 {
        self.0 & TAG_MASK
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
        let below = self.head & ((1 << GENERATION_SHIFT) - 1);
        self.head = u64::from(generation) << GENERATION_SHIFT | below;
    }

    pub(super) fn line(&self) -> Line<'a> {
        self.line
    }

    /// The number of this line among the choices of the key.
    pub(super) fn choice(&self) -> usize {
        self.line.choice
    }

    pub(super) fn away(&self) -> usize {
        Head(self.head).away()
    }

    /// Whether one more entry of the line's keys may lie elsewhere.
    pub(super) fn may_send_away(&self) -> bool {
        self.away() < AWAY_MAX
    }

    /// Notes that an entry of the line's keys lies in another line now.
    pub(super) fn note_away(&mut self) {
        self.head += AWAY_ONE;
    }

    /// Notes that an entry of the line's keys lies in another line no more.
    pub(super) fn note_back(&mut self) {
        debug_assert!(self.away() > 0, "none was away");
        self.head -= if self.away() > 0 { AWAY_ONE } else { 0 };
    }

    /// The word of a place, 1 to [`PLACES`], that only the holder changes, but for hits that are counted.
    pub(super) fn word(&self, number: usize) -> &'a AtomicU64 {
        &self.line.words[number & PLACES]
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

    /// How many entries it has.
    pub(super) fn used(&self) -> usize {
        (1..=PLACES).filter(|number| self.place(*number).spot().is_some()).count()
    }

    /// The places of the entries that are at home here.
    pub(super) fn at_home(&self) -> impl Iterator<Item = (usize, Place)> + use<'a> {
        self.line.guests_from(0)
    }

    /// The place that was hit least, of those of entries that are at home here.
    pub(super) fn coldest(&self) -> Option<usize> {
        self.at_home().min_by_key(|(_, place)| place.hits()).map(|(at, _)| at)
    }
}

impl<'a> Locked<'a> {
    /// Gives up a lock on a line that may have left the index, without a change: its memory may have been
    /// given back meanwhile, and the line used again and locked by another thread.
    pub(super) fn give_up(self) {
        let word = &self.line.words[0];
        let _ = word.compare_exchange(self.head | 1, self.next(), Ordering::Release, Ordering::Relaxed);
        std::mem::forget(self);
    }

    /// Keeps the line locked beyond the life of this, until [`Line::kept`] is dropped.
    pub(super) fn keep(self) {
        // Now the head says all that this knew.
        self.line.words[0].store(self.head | 1, Ordering::Relaxed);
        std::mem::forget(self);
    }

    /// The sequence and the generation wrap by themselves, and neither into the other. No line that was ever
    /// locked has a sequence of 0, so that memory which was given back is not taken for one.
    fn next(&self) -> u64 {
        let sequence = (self.head.wrapping_add(2) & SEQUENCE_MASK).max(2);
        self.head & !SEQUENCE_MASK | sequence
    }
}

impl Drop for Locked<'_> {
    #[inline]
    fn drop(&mut self) {
        self.line.words[0].store(self.next(), Ordering::Release);
    }
}
