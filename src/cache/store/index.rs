//! The index: lines that are the homes of keys, growing and shrinking by one line at a time.
//!
//! The homes are in groups of four to eight, one column beside the other: with 64 groups of five, group 3 has
//! the lines 3, 67, 131, 195 and 259. The lowest bits of a hash name the group, and the tag of the key says
//! which line of that: one of five equal parts of all tags for each. To grow, one group after the other gets
//! a line more, the next one in memory, and its keys are divided anew, which takes a look at their tags
//! alone. When all groups have eight they are twice as many groups of four, without a move: so the last step
//! divides the keys by the next bit of their hashes as well. So all homes are about equally full, whatever
//! their number is, which is why most of the places can be in use.
//!
//! What has no room at home lies in one of two lines not far behind it; when these are full, an entry that is
//! at home in one of the three moves on to another choice of its own. An entry comes, goes and moves only
//! while its home is locked. Several lines are locked in their order, or without waiting.
//!
//! The place of a home depends on the number of homes, the *shape*: code that locks a line, or reads its
//! generation, checks the shape again after that.
//!
//! A generation follows its keys: when a group is divided again, all its lines continue with the largest
//! number among them. So the number that belongs to a key never falls, rises with each invalidation of it,
//! and is the same at two instants only if there was none between them (I2).

use super::atomics::{AtomicU64, Ordering};
use super::line::{Head, LINE_WORDS, Line, Locked, OFFSET_MAX, PLACES, Place, others};
use super::pages::Pages;
use super::shape::Shape;

/// The lines.
#[derive(Debug)]
pub(super) struct Index {
    pages: Pages,
    pub(super) shape: AtomicU64,
    pub(super) homes_min: usize,
}

/// Lines behind the last home, for what has no room at home.
pub(super) const LINES_BEHIND: usize = OFFSET_MAX;

/// Bytes of a line.
pub(super) const LINE_BYTES: usize = LINE_WORDS * size_of::<u64>();

/// Locked lines: the home of a key, and where else its entry may lie, unless there is nothing and nothing
/// would come.
pub(super) struct Lines<'a> {
    index: &'a Index,
    numbers: [usize; 3],
    home: Locked<'a>,
    others: Option<[Locked<'a>; 2]>,
}

// === impl Lines ===

impl<'a> Lines<'a> {
    pub(super) fn generation(&self) -> u32 {
        self.home.generation()
    }

    /// The home first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Locked<'a>> {
        std::iter::once(&self.home).chain(self.others.iter().flatten())
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut Locked<'a>> {
        std::iter::once(&mut self.home).chain(self.others.iter_mut().flatten())
    }

    /// The word of a place of the line that is this choice of the key.
    pub(super) fn word(&self, choice: usize, at: usize) -> Option<&'a AtomicU64> {
        self.iter().nth(choice).map(|locked| locked.word(at))
    }

    /// Takes out the entry whose place is there.
    pub(super) fn clear(&mut self, choice: usize, at: usize) {
        if let Some(word) = self.word(choice, at) {
            word.store(Place::EMPTY.word(), Ordering::Relaxed);
            if choice > 0 {
                self.home.note_back();
            }
        }
    }

    /// Puts an entry in, wherever there is room. False when there is none.
    pub(super) fn put(&mut self, place: Place) -> bool {
        if let Some(at) = self.home.free() {
            self.home.set(at, place.chosen(0));
            return true;
        }
        let Some(others) = &mut self.others else { return false };
        self.index.put_away(self.numbers, &mut self.home, others, place)
    }

    /// The place of the entry that was hit least and is at home here.
    pub(super) fn coldest(&self) -> Option<(usize, Place)> {
        let at = self.home.coldest()?;
        Some((at, self.home.place(at)))
    }

    /// Brings an entry home to each of the lines which lies elsewhere, if there is room for it.
    pub(super) fn bring_home(&mut self) {
        let (index, numbers) = (self.index, self.numbers);
        self.iter_mut().zip(numbers).for_each(|(locked, number)| index.bring_home(number, locked));
    }

    fn give_up(self) {
        self.home.give_up();
        self.others.into_iter().flatten().for_each(Locked::give_up);
    }
}

// === impl Index ===

impl Index {
    /// An index that begins with `homes_min` homes, and may grow to `homes_max`.
    ///
    /// # Errors
    /// Those of [`Pages::new`].
    pub(super) fn new(homes_min: usize, homes_max: usize) -> std::io::Result<Index> {
        let lines = homes_max.max(homes_min).saturating_add(LINES_BEHIND);
        let pages = Pages::new(lines.saturating_mul(LINE_WORDS))?;
        Ok(Index { pages, shape: AtomicU64::new(Shape::of(homes_min, 0).0), homes_min })
    }

    #[inline]
    pub(super) fn shape(&self) -> Shape {
        Shape(self.shape.load(Ordering::Acquire))
    }

    /// A line, if there is one with this number now.
    pub(super) fn line(&self, number: usize) -> Option<Line<'_>> {
        (number < self.lines()).then(|| Line::new(&self.words()[number]))
    }

    /// How many lines there are now.
    pub(super) fn lines(&self) -> usize {
        self.shape().homes() + LINES_BEHIND
    }

    /// All lines that there may be.
    #[inline]
    pub(super) fn words(&self) -> &[[AtomicU64; LINE_WORDS]] {
        self.pages.words().as_chunks::<LINE_WORDS>().0
    }

    /// The home of the key with this hash.
    #[inline]
    pub(super) fn home(&self, hash: u64) -> Line<'_> {
        self.numbered(self.shape().home(hash))
    }

    /// All lines where entries of the key with this hash may lie, its home first.
    #[inline]
    pub(super) fn all(&self, hash: u64) -> [Line<'_>; 3] {
        let [home, second, third] = choices(self.shape().home(hash), hash);
        [self.numbered(home), self.numbered(second).chosen(1), self.numbered(third).chosen(2)]
    }

    #[inline]
    pub(super) fn numbered(&self, number: usize) -> Line<'_> {
        Line::new(&self.words()[number])
    }

    /// The home of the key with this hash, locked, and the other lines where its entries may lie. While the
    /// home is locked, none of its entries comes to these or leaves them, and they may be locked in their
    /// order.
    #[inline]
    pub(super) fn lock(&self, hash: u64) -> (Locked<'_>, [Line<'_>; 2]) {
        loop {
            let shape = self.shape();
            let [home, second, third] = choices(shape.home(hash), hash);
            let home = self.numbered(home).lock();
            if self.shape() == shape {
                return (home, [self.numbered(second).chosen(1), self.numbered(third).chosen(2)]);
            }
            home.give_up();
        }
    }

    /// All lines where something about the key with this hash lies or may come to, locked.
    pub(super) fn lock_all(&self, hash: u64) -> Lines<'_> {
        loop {
            let shape = self.shape();
            let numbers = choices(shape.home(hash), hash);
            let home = self.numbered(numbers[0]).lock();
            let is_alone = home.away() == 0 && home.free().is_some();
            let others = (!is_alone).then(|| self.lock_others(numbers));
            let lines = Lines { index: self, numbers, home, others };
            if self.shape() == shape {
                return lines;
            }
            lines.give_up();
        }
    }

    pub(super) fn lock_others(&self, [_, second, third]: [usize; 3]) -> [Locked<'_>; 2] {
        let second = self.numbered(second).chosen(1).lock();
        [second, self.numbered(third).chosen(2).lock()]
    }

    /// The generation of the key with this hash.
    pub(super) fn generation(&self, hash: u64) -> u32 {
        loop {
            let shape = self.shape();
            let head: Head = self.numbered(shape.home(hash)).head();
            if self.shape() == shape {
                return head.generation();
            }
        }
    }

    /// Bytes of all lines.
    pub(super) fn bytes(&self) -> usize {
        self.lines() * LINE_BYTES
    }

    /// Places of all homes.
    pub(super) fn places(&self) -> usize {
        self.shape().homes() * PLACES
    }

    /// Whether some groups have a line more than others.
    pub(super) fn is_between(&self) -> bool {
        let shape = self.shape();
        shape.homes() & ((1 << shape.group_bits()) - 1) != 0
    }

    /// Puts an entry into its second or third choice; its home, the first of these `numbers`, is full.
    pub(super) fn put_away(
        &self,
        numbers: [usize; 3],
        home: &mut Locked<'_>,
        others: &mut [Locked<'_>; 2],
        place: Place,
    ) -> bool {
        if !home.may_send_away() {
            return false;
        }
        let emptier = usize::from(others[1].used() < others[0].used());
        if let Some(at) = others[emptier].free() {
            others[emptier].set(at, place.chosen(emptier + 1));
            home.note_away();
            return true;
        }
        if let Some(at) = self.send_away(numbers[0], home) {
            home.set(at, place.chosen(0));
            return true;
        }
        for (other, number) in others.iter_mut().zip(&numbers[1..]) {
            if let Some(at) = self.send_away(*number, other) {
                other.set(at, place.chosen(other.choice()));
                home.note_away();
                return true;
            }
        }
        false
    }

    /// Moves some entry that is at home in the line with this number to another choice of its key: the place
    /// that is free then.
    fn send_away(&self, number: usize, locked: &mut Locked<'_>) -> Option<usize> {
        if !locked.may_send_away() {
            return None;
        }
        locked.at_home().find_map(|(at, place)| {
            (1..3).find_map(|choice| {
                // The thread that holds that line may wait for this one.
                let mut other = self.numbered(choices(number, place.tag())[choice]).try_lock()?;
                let Some(free) = other.free() else {
                    other.give_up();
                    return None;
                };
                other.set(free, place.chosen(choice));
                locked.set(at, Place::EMPTY);
                locked.note_away();
                Some(at)
            })
        })
    }

    /// Brings one entry home to the line with this number, if one lies elsewhere and there is room for it.
    fn bring_home(&self, number: usize, home: &mut Locked<'_>) {
        if home.away() == 0 {
            return;
        }
        let Some(free) = home.free() else { return };
        for offset in 1..=OFFSET_MAX {
            let line = self.numbered(number + offset);
            let Some((at, _)) = line.guests_from(offset).next() else { continue };
            let Some(mut other) = line.try_lock() else { continue };
            // A hit may have been counted meanwhile; only the holder of the home changes anything else of it.
            home.set(free, other.place(at).chosen(0));
            other.set(at, Place::EMPTY);
            home.note_back();
            return;
        }
    }

    /// Takes out all entries, calls `gone` with each, and leaves as many lines as at the beginning. Call it
    /// from one thread at a time. All lines are locked meanwhile.
    pub(super) fn empty(&self, mut gone: impl FnMut(Place)) {
        let shape = self.shape();
        let mut largest = None;
        for number in 0..shape.homes() + LINES_BEHIND {
            let mut locked = self.numbered(number).lock();
            for at in 1..=PLACES {
                let place = locked.place(at);
                if place.spot().is_some() {
                    locked.set(at, Place::EMPTY);
                    gone(place);
                }
            }
            while locked.away() > 0 {
                locked.note_back();
            }
            if number < shape.homes() {
                let generation = locked.generation();
                largest = Some(largest.map_or(generation, |largest| later(largest, generation)));
            }
            locked.keep();
        }
        self.shape.store(shape.changed(self.homes_min).0, Ordering::Release);
        for number in 0..shape.homes() + LINES_BEHIND {
            let mut locked = self.numbered(number).kept();
            locked.set_generation(largest.unwrap_or_default().wrapping_add(1));
        }
        self.give_back();
    }

    /// Gives back the memory of lines that are not there any more.
    pub(super) fn give_back(&self) {
        self.pages.give_back(self.lines() * LINE_WORDS..self.pages.words().len());
    }
}

/// The lines where an entry may lie whose home has this number: the home, and the second and third choice of
/// the key. The tag decides them, so the whole hash need not be known.
#[inline]
pub(super) fn choices(home: usize, hash: u64) -> [usize; 3] {
    let [second, third] = others(hash);
    [home, home + second, home + third]
}

/// The later of two numbers that wrap.
pub(super) fn later(one: u32, other: u32) -> u32 {
    if one.wrapping_sub(other) < 1 << 31 { one } else { other }
}
