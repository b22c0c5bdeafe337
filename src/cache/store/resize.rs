//! Growing and shrinking the index: a group of homes gets a line more, or less, and its keys are distributed
//! again.

use super::atomics::Ordering;
use super::index::{Index, LINES_BEHIND, choices, later};
use super::line::{Locked, OFFSET_MAX, Place};
use super::shape::{GROUP_LINES, Shape};

// === impl Index ===

impl Index {
    /// Adds a line. `hash` returns the hash of the key whose entry is at a spot; `lost` is called with
    /// entries that have no room any more. Returns false when there may be no more lines. Call it from one
    /// thread at a time.
    pub(super) fn grow(&self, hash: impl Fn(u64) -> u64, lost: impl FnMut(Place)) -> bool {
        let shape = self.shape();
        let homes = shape.homes() + 1;
        if homes + LINES_BEHIND > self.words().len() {
            return false;
        }
        self.divide_anew(shape, shape.changed(homes), hash, lost);
        true
    }

    /// Removes the last line, with the arguments of [`Index::grow`]. Returns false when there are no more
    /// than at the beginning. Call it from one thread at a time.
    pub(super) fn shrink(&self, hash: impl Fn(u64) -> u64, lost: impl FnMut(Place)) -> bool {
        let shape = self.shape();
        let homes = shape.homes() - 1;
        if homes < self.homes_min {
            return false;
        }
        self.divide_anew(shape, shape.changed(homes), hash, lost);
        true
    }

    /// Divides the keys of one group among its lines as another shape has it, which has one line more or
    /// less.
    fn divide_anew(&self, from: Shape, to: Shape, hash: impl Fn(u64) -> u64, mut lost: impl FnMut(Place)) {
        let last = from.homes().max(to.homes()) - 1;
        let bits = if from.homes() < to.homes() { from.group_bits() } else { to.group_bits() };
        let (group, columns) = (last & ((1 << bits) - 1), last >> bits);
        let number_of = |column: usize| column << bits | group;
        let mut homes: Vec<Locked<'_>> =
            (0..=columns).map(|column| self.numbered(number_of(column)).lock()).collect();

        let before = if from.homes() < to.homes() { &homes[..columns] } else { &homes[..] };
        let largest = before.iter().map(Locked::generation).reduce(later).unwrap_or_default();
        // A line that went and comes again never has a number that it had before.
        let generation = largest.wrapping_add(u32::from(to.homes() < from.homes()));
        homes.iter_mut().for_each(|home| home.set_generation(generation));

        // Only when groups of eight become twice as many does it take more than the tag.
        let takes_hash = to.homes() > from.homes() && columns == 2 * GROUP_LINES - 1;
        let home_of = |place: Place| {
            let known = place.tag() | group as u64;
            to.home(place.spot().filter(|_| takes_hash).map_or(known, &hash))
        };
        let mut moved = Vec::new();
        for (column, home) in homes.iter_mut().enumerate() {
            let number = number_of(column);
            for (at, place) in home.at_home() {
                let to = home_of(place);
                if to != number {
                    moved.push((to, place));
                    home.set(at, Place::EMPTY);
                }
            }
            for offset in 1..=OFFSET_MAX {
                if home.away() == 0 {
                    break;
                }
                let line = self.numbered(number + offset);
                if line.guests_from(offset).next().is_none() {
                    continue;
                }
                let mut other = line.lock();
                for (at, place) in line.guests_from(offset) {
                    moved.push((home_of(place), place));
                    other.set(at, Place::EMPTY);
                    home.note_back();
                }
            }
        }
        for (number, place) in moved {
            let home = homes.get_mut(number >> bits).filter(|_| number & ((1 << bits) - 1) == group);
            let is_kept = home.is_some_and(|home| match home.free() {
                Some(at) => {
                    home.set(at, place.chosen(0));
                    true
                }
                None => {
                    let numbers = choices(number, place.tag());
                    self.put_away(numbers, home, &mut self.lock_others(numbers), place)
                }
            });
            if !is_kept {
                lost(place);
            }
        }
        // Before any of the homes is unlocked: a thread that waits for one checks the shape again then.
        self.shape.store(to.0, Ordering::Release);
    }
}
