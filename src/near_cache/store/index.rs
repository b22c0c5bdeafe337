//! The index: lines by the hash of a key, growing and shrinking by a pair of lines at a time (linear hashing).
//!
//! A key's home is one line; when that is full its entry lies in the neighbour, the other line of the pair. Both lie in one
//! stretch of 128 bytes. Where the home is depends on how many lines there are, the *shape*: whoever locks a line looks at
//! the shape once more under the lock, and whoever reads one looks after reading.
//!
//! A generation follows its keys: when a pair is split both parts go on with the number that they had, and when two are
//! merged the new number is above both. So the number that belongs to a key never falls, rises with each invalidation of it,
//! and is the same at two instants only if there was none between them (I2).

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

    /// The home of the key with this hash, and its neighbour.
    #[inline]
    pub(super) fn pair(&self, shape: Shape, hash: u64) -> (Line<'_>, Line<'_>) {
        let home = shape.home(hash);
        let (lines, _) = self.pages.words().as_chunks::<LINE_WORDS>();
        (Line::new(&lines[home]), Line::new(&lines[home ^ 1]))
    }

    /// The home of the key with this hash, locked, and its neighbour.
    #[inline]
    pub(super) fn lock(&self, hash: u64) -> (Locked<'_>, Line<'_>) {
        loop {
            let shape = self.shape();
            let (home, neighbour) = self.pair(shape, hash);
            let locked = home.lock();
            if self.shape() == shape {
                return (locked, neighbour);
            }
            locked.give_up();
        }
    }

    /// The home of the key with this hash and its neighbour, both locked. Everybody who wants both takes the even one first.
    pub(super) fn lock_pair(&self, hash: u64) -> (Locked<'_>, Locked<'_>) {
        loop {
            let shape = self.shape();
            let home = shape.home(hash);
            let (lines, _) = self.pages.words().as_chunks::<LINE_WORDS>();
            let even = Line::new(&lines[home & !1]).lock();
            let odd = Line::new(&lines[home | 1]).lock();
            if self.shape() == shape {
                return if home & 1 == 0 { (even, odd) } else { (odd, even) };
            }
            odd.give_up();
            even.give_up();
        }
    }

    /// The generation of the key with this hash.
    pub(super) fn generation(&self, hash: u64) -> u32 {
        loop {
            let shape = self.shape();
            let head: Head = self.pair(shape, hash).0.head();
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
        let [Some(one), Some(other), Some(new_one), Some(new_other)] = lines else { return false };
        let mut from_pair = [one.lock(), other.lock()];
        let mut moved = [[false; PLACES]; 2];
        for (number, (old, new_line)) in from_pair.iter().zip([new_one, new_other]).enumerate() {
            // Somebody may still be looking at what the line was before the index shrank.
            let mut begun = new_line.lock();
            (1..=PLACES).for_each(|at| begun.set(at, Place::EMPTY));
            begun.set_generation(old.generation());
            let mut next = 1;
            for at in 1..=PLACES {
                let place = old.place(at);
                let Some(spot) = place.spot() else { continue };
                if grown.home(hash(spot)) >= new {
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

    /// As if an entry lay at the spot that is its hash.
    fn spot_of(hash: u64) -> u64 {
        hash & 0xff_ffff
    }

    fn put(index: &Index, hash: u64) {
        let (mut home, neighbour) = index.lock(hash);
        let place = Place::new(0, spot_of(hash), 0);
        match home.free() {
            Some(free) => home.set(free, place),
            None => {
                let mut neighbour = neighbour.lock();
                let free = neighbour.free().expect("the pair is full");
                neighbour.set(free, place);
            }
        }
    }

    fn has(index: &Index, hash: u64) -> bool {
        let (home, neighbour) = index.pair(index.shape(), hash);
        let is_it = |line: Line<'_>| (1..=PLACES).any(|at| line.place(at).spot() == Some(spot_of(hash)));
        is_it(home) || is_it(neighbour)
    }

    #[test]
    fn what_is_there_is_found_at_every_size() {
        let index = Index::new(2, 4_000).unwrap();
        let hashes: Vec<u64> = (0..2_000).map(|number: u64| number * 7_919 & 0xff_ffff).collect();
        for hash in &hashes {
            while index.shape().lines() * 2 < hashes.iter().position(|other| other == hash).unwrap() + 8 {
                assert!(index.grow(|spot| spot));
            }
            put(&index, *hash);
        }
        assert!(hashes.iter().all(|hash| has(&index, *hash)));
        while index.grow(|spot| spot) {
            assert!(hashes.iter().all(|hash| has(&index, *hash)), "{:?}", index.shape());
        }
        assert_eq!(index.shape().lines(), 4_000, "there may be no more");
        let mut lost = Vec::new();
        while index.shrink(|place| lost.extend(place.spot())) {}
        assert_eq!(index.shape().lines(), 2);
        let there = hashes.iter().filter(|hash| has(&index, **hash)).count();
        assert_eq!((there, lost.len()), (2 * PLACES, hashes.len() - 2 * PLACES));
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
                0 => _ = index.grow(|spot| spot),
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
        assert!(index.grow(|spot| spot) && index.shrink(|_| ()));
        assert_eq!(index.shape().lines(), before.lines());
        assert!(!index.is_still(before));
        let last = Shape(before.0 | u64::MAX << TIMES_SHIFT);
        assert_eq!(last.changed(2, true), before, "it wraps");
    }
}
