//! The index: lines by the hash of a key, growing and shrinking by a pair of lines at a time (linear hashing).
//!
//! A key's home is one line; when that is full its entry lies in the neighbour, the other line of the pair, and when that is full
//! in another pair, which another part of its hash chooses. So an entry goes for want of a place only when 28 of them
//! are in use. Where the home is depends on how many lines there are, the *shape*: whoever locks a line looks at the shape once
//! more under the lock, and whoever reads one looks after reading.
//!
//! A generation follows its keys: when a pair is split both parts go on with the number that they had, and when two are
//! merged the new number is above both. So the number that belongs to a key never falls, rises with each invalidation of it,
//! and is the same at two instants only if there was none between them (I2).

use std::cmp::Ordering as Comparison;
use std::sync::atomic::{AtomicU64, Ordering};

use super::line::{Head, LINE_WORDS, Line, Locked, PLACES, Place};
use super::pages::Pages;

/// The lines.
#[derive(Debug)]
pub(super) struct Index {
    pages: Pages,
    shape: AtomicU64,
    lines_min: usize,
}

/// How many lines there are, how many bits of a hash choose one, and how often that became less: a line that went and came
/// again is not the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape(u64);

const LINES_BITS: u32 = 40;
const LINES_MASK: u64 = (1 << LINES_BITS) - 1;
const BITS_BITS: u32 = 6;
const TIMES_SHIFT: u32 = LINES_BITS + BITS_BITS;

/// Locked lines: those of the home of a key, and those of the other pair where its entry may lie.
pub(super) struct Lines<'a> {
    of_home: [Locked<'a>; 2],
    /// None where both are one pair.
    of_second: Option<[Locked<'a>; 2]>,
    /// Which of the first two is the home.
    home: usize,
}

/// What chooses the other pair of the key with this hash.
#[inline]
fn other(hash: u64) -> u64 {
    hash.rotate_left(32)
}

/// Bytes of a line.
pub(super) const LINE_BYTES: usize = LINE_WORDS * size_of::<u64>();

// === impl Shape ===

impl Shape {
    fn of(lines: usize, times: u64) -> Shape {
        let bits = lines.next_power_of_two().trailing_zeros();
        Shape(times << TIMES_SHIFT | u64::from(bits) << LINES_BITS | lines as u64 & LINES_MASK)
    }

    #[inline]
    pub(super) fn lines(self) -> usize {
        (self.0 & LINES_MASK) as usize
    }

    /// Which line is the home of the key with this hash.
    #[inline]
    fn home(self, hash: u64) -> usize {
        let bits = (self.0 >> LINES_BITS) as u32 & ((1 << BITS_BITS) - 1);
        let number = (hash & ((1 << bits) - 1)) as usize;
        if number < self.lines() { number } else { number - (1 << (bits - 1)) }
    }

    /// The line that the last pair came from: half of the lines of the next power of two before it.
    fn parent(self) -> usize {
        let last = self.lines() - 2;
        last - (1 << last.ilog2())
    }

    fn changed(self, lines: usize, is_less: bool) -> Shape {
        // It wraps after 2^18 times; who read a line meanwhile has long gone.
        Shape::of(lines, (self.0 >> TIMES_SHIFT) + u64::from(is_less))
    }
}

// === impl Lines ===

impl<'a> Lines<'a> {
    pub(super) fn home(&mut self) -> &mut Locked<'a> {
        &mut self.of_home[self.home]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Locked<'a>> {
        self.of_home.iter().chain(self.of_second.iter().flatten())
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Locked<'a>> {
        self.of_home.iter_mut().chain(self.of_second.iter_mut().flatten())
    }

    /// A line that has a free place, and which: the home if that has one.
    pub(super) fn free(&mut self) -> Option<(&mut Locked<'a>, usize)> {
        if let Some(at) = self.home().free() {
            return Some((self.home(), at));
        }
        self.iter_mut().find_map(|locked| {
            let at = locked.free()?;
            Some((locked, at))
        })
    }

    fn give_up(self) {
        self.of_home.into_iter().chain(self.of_second.into_iter().flatten()).for_each(Locked::give_up);
    }
}

// === impl Index ===

impl Index {
    /// An index that begins with `lines_min` lines, an even number of at least 2, and may grow to `lines_max`.
    pub(super) fn new(lines_min: usize, lines_max: usize) -> std::io::Result<Index> {
        let pages = Pages::new(lines_max.max(lines_min) * LINE_WORDS)?;
        Ok(Index { pages, shape: AtomicU64::new(Shape::of(lines_min, 0).0), lines_min })
    }

    #[inline]
    pub(super) fn shape(&self) -> Shape {
        Shape(self.shape.load(Ordering::Acquire))
    }

    /// Whether the shape is still this one. Asked behind the fence of [`Line::is_still`].
    #[inline]
    pub(super) fn is_still(&self, shape: Shape) -> bool {
        self.shape.load(Ordering::Relaxed) == shape.0
    }

    #[inline]
    pub(super) fn line(&self, number: usize) -> Option<Line<'_>> {
        self.pages.words().as_chunks::<LINE_WORDS>().0.get(number).map(Line::new)
    }

    #[inline]
    fn lines(&self) -> &[[AtomicU64; LINE_WORDS]] {
        self.pages.words().as_chunks::<LINE_WORDS>().0
    }

    /// The home of the key with this hash.
    #[inline]
    pub(super) fn home(&self, shape: Shape, hash: u64) -> Line<'_> {
        Line::new(&self.lines()[shape.home(hash)])
    }

    /// All lines where what is about the key with this hash may lie, its home first.
    #[inline]
    pub(super) fn all(&self, shape: Shape, hash: u64) -> [Line<'_>; 4] {
        let (lines, (home, second)) = (self.lines(), (shape.home(hash), shape.home(other(hash))));
        [home, home ^ 1, second, second ^ 1].map(|number| Line::new(&lines[number]))
    }

    /// The home of the key with this hash, locked, and the other lines where what is about it may lie. Nothing comes to those
    /// while the home is locked.
    #[inline]
    pub(super) fn lock(&self, hash: u64) -> (Locked<'_>, [Line<'_>; 3]) {
        loop {
            let shape = self.shape();
            let [home, others @ ..] = self.all(shape, hash);
            let locked = home.lock();
            if self.shape() == shape {
                return (locked, others);
            }
            locked.give_up();
        }
    }

    /// All lines where what is about the key with this hash may lie, locked. Everybody who wants several takes the first ones
    /// first.
    pub(super) fn lock_all(&self, hash: u64) -> Lines<'_> {
        loop {
            let shape = self.shape();
            let (home, second) = (shape.home(hash), shape.home(other(hash)));
            let lock = |number: usize| Line::new(&self.lines()[number]).lock();
            let pair = |number: usize| [lock(number & !1), lock(number | 1)];
            let (of_home, of_second) = match (home | 1).cmp(&(second | 1)) {
                Comparison::Less => {
                    let of_home = pair(home);
                    (of_home, Some(pair(second)))
                }
                Comparison::Equal => (pair(home), None),
                Comparison::Greater => {
                    let of_second = pair(second);
                    (pair(home), Some(of_second))
                }
            };
            let lines = Lines { of_home, of_second, home: home & 1 };
            if self.shape() == shape {
                return lines;
            }
            lines.give_up();
        }
    }

    /// The generation of the key with this hash.
    pub(super) fn generation(&self, hash: u64) -> u32 {
        loop {
            let shape = self.shape();
            let head: Head = self.home(shape, hash).head();
            if self.shape() == shape {
                return head.generation();
            }
        }
    }

    /// Bytes of all lines.
    pub(super) fn bytes(&self) -> usize {
        self.shape().lines() * LINE_BYTES
    }

    /// Places of all lines.
    pub(super) fn places(&self) -> usize {
        self.shape().lines() * PLACES
    }

    /// Adds a pair of lines, to which goes what belongs there of the pair that it is split from; `hash` says the hash of
    /// the key whose entry lies at a spot. False when there may be no more. One at a time.
    pub(super) fn grow(&self, hash: impl Fn(u64) -> u64) -> bool {
        let shape = self.shape();
        let new = shape.lines();
        let grown = shape.changed(new + 2, false);
        let from = grown.parent();
        let lines = [from, from + 1, new, new + 1].map(|number| self.line(number));
        let [Some(one), Some(two), Some(new_one), Some(new_two)] = lines else { return false };
        let mut from_pair = [one.lock(), two.lock()];
        let mut moved = [[false; PLACES]; 2];
        for (number, (old, new_line)) in from_pair.iter().zip([new_one, new_two]).enumerate() {
            // Somebody may still be looking at what the line was before the index shrank.
            let mut begun = new_line.lock();
            (1..=PLACES).for_each(|at| begun.set(at, Place::EMPTY));
            begun.set_generation(old.generation());
            let mut next = 1;
            for at in 1..=PLACES {
                let place = old.place(at);
                let Some(spot) = place.spot() else { continue };
                let hash = hash(spot);
                let is_at_home = shape.home(hash) & !1 == from;
                if grown.home(if is_at_home { hash } else { other(hash) }) >= new {
                    begun.set(next, place);
                    next += 1;
                    moved[number][at - 1] = true;
                }
            }
        }
        self.shape.store(grown.0, Ordering::Release);
        for (old, moved) in from_pair.iter_mut().zip(moved) {
            (1..=PLACES).filter(|at| moved[at - 1]).for_each(|at| old.set(at, Place::EMPTY));
        }
        true
    }

    /// Removes the last pair of lines and puts what it has to the pair that it was split from; `lost` is told of what has no
    /// room there. False when there are no more than at the beginning. One at a time.
    pub(super) fn shrink(&self, mut lost: impl FnMut(Place)) -> bool {
        let shape = self.shape();
        let lines = shape.lines();
        if lines <= self.lines_min {
            return false;
        }
        let (last, to) = (lines - 2, shape.parent());
        let all = [to, to + 1, last, last + 1].map(|number| self.line(number));
        let [Some(one), Some(other), Some(gone_one), Some(gone_other)] = all else { return false };
        let (mut one, mut other) = (one.lock(), other.lock());
        let mut gone = [gone_one.lock(), gone_other.lock()];
        for (kept, gone) in [&mut one, &mut other].into_iter().zip(&gone) {
            kept.set_generation(above(kept.generation(), gone.generation()));
        }
        for (number, gone) in gone.iter_mut().enumerate() {
            for at in 1..=PLACES {
                let place = gone.place(at);
                if place.spot().is_none() {
                    continue;
                }
                gone.set(at, Place::EMPTY);
                let (home, neighbour) =
                    if number == 0 { (&mut one, &mut other) } else { (&mut other, &mut one) };
                match (home.free(), neighbour.free()) {
                    (Some(free), _) => home.set(free, place),
                    (None, Some(free)) => neighbour.set(free, place),
                    (None, None) => lost(place),
                }
            }
        }
        // Before any of the locks is given up: who waits for one looks at the shape once more then.
        self.shape.store(shape.changed(last, true).0, Ordering::Release);
        true
    }

    /// Gives back the memory of lines that are not there any more.
    pub(super) fn give_back(&self) {
        let from = self.shape().lines() * LINE_WORDS;
        self.pages.give_back(from..self.pages.words().len());
    }
}

/// A number that follows both, as numbers that wrap follow each other.
fn above(one: u32, other: u32) -> u32 {
    let larger = if one.wrapping_sub(other) < 1 << 31 { one } else { other };
    larger.wrapping_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash_of(number: u64) -> u64 {
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(7) & !0xffff | number
    }

    /// As if the number of the entry were its spot.
    fn spot_of(hash: u64) -> u64 {
        hash & 0xffff
    }

    fn put(index: &Index, hash: u64) {
        let mut lines = index.lock_all(hash);
        let (locked, free) = lines.free().expect("all are full");
        locked.set(free, Place::new(0, spot_of(hash), 0));
    }

    fn has(index: &Index, hash: u64) -> bool {
        let is_it = |line: &Line<'_>| (1..=PLACES).any(|at| line.place(at).spot() == Some(spot_of(hash)));
        index.all(index.shape(), hash).iter().any(is_it)
    }

    #[test]
    fn what_is_there_is_found_at_every_size() {
        let index = Index::new(2, 4_000).unwrap();
        let hashes: Vec<u64> = (0..2_000).map(hash_of).collect();
        for hash in &hashes {
            while index.shape().lines() * 2 < hashes.iter().position(|other| other == hash).unwrap() + 8 {
                assert!(index.grow(hash_of));
            }
            put(&index, *hash);
        }
        assert!(hashes.iter().all(|hash| has(&index, *hash)));
        while index.grow(hash_of) {
            assert!(hashes.iter().all(|hash| has(&index, *hash)), "{:?}", index.shape());
        }
        assert_eq!(index.shape().lines(), 4_000, "there may be no more");
        let mut lost = Vec::new();
        while index.shrink(|place| lost.extend(place.spot())) {}
        assert_eq!(index.shape().lines(), 2);
        let there = hashes.iter().filter(|hash| has(&index, **hash)).count();
        assert_eq!(there + lost.len(), hashes.len());
        assert!(there <= 2 * PLACES && there > PLACES, "{there}");
        index.give_back();
        assert_eq!(hashes.iter().filter(|hash| has(&index, **hash)).count(), there);
    }

    #[test]
    fn i2_the_generation_of_a_key_never_falls_and_is_the_same_only_if_nothing_happened() {
        let index = Index::new(2, 64).unwrap();
        let mut random = fastrand::Rng::with_seed(3);
        let hashes: Vec<u64> = (0..200).map(|_| random.u64(..)).collect();
        // Near the end, so that it wraps.
        for number in 0..2 {
            index.line(number).unwrap().lock().set_generation(u32::MAX - 20);
        }
        let mut noted: Vec<u32> = hashes.iter().map(|hash| index.generation(*hash)).collect();
        for _ in 0..20_000 {
            match random.u8(..4) {
                0 => _ = index.grow(hash_of),
                1 => _ = index.shrink(|_| ()),
                _ => {
                    let at = random.usize(..hashes.len());
                    index.lock(hashes[at]).0.raise();
                    assert_ne!(index.generation(hashes[at]), noted[at], "I2");
                }
            }
            for (hash, noted) in hashes.iter().zip(&mut noted) {
                let now = index.generation(*hash);
                assert!(now.wrapping_sub(*noted) < 1 << 31, "it fell from {noted} to {now}");
                *noted = now;
            }
        }
    }

    #[test]
    fn a_shape_that_was_left_is_not_the_same_when_it_comes_again() {
        let index = Index::new(2, 8).unwrap();
        let before = index.shape();
        assert!(index.grow(hash_of) && index.shrink(|_| ()));
        assert_eq!(index.shape().lines(), before.lines());
        assert!(!index.is_still(before));
        let last = Shape(before.0 | u64::MAX << TIMES_SHIFT);
        assert_eq!(last.changed(2, true), before, "it wraps");
    }
}
