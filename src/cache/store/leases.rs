//! The epochs of entries, by a number of 16 bits that an entry has room for.
//!
//! A number is used again when its epoch has ended and nothing of it lies in the log. A worker has a copy of
//! the table, so that a hit asks nobody: a number that is used again had an epoch that has ended, and an
//! ended one in a copy is looked up anew.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::clock::Nanos;
use crate::node::Epoch;

/// Numbers there are.
const NUMBERS_MAX: usize = 1 << 16;

/// So many rows are never looked through for free ones.
const ROWS_MIN: usize = 64;

/// The table, which all workers share.
#[derive(Debug, Default)]
pub(super) struct Leases {
    rows: Vec<Row>,
    /// The numbers by that of the epoch.
    numbers: HashMap<u64, u16, RandomState>,
    /// Rows that are free.
    free: Vec<u16>,
    /// When there are so many rows, those that are free now are looked for.
    next_look: usize,
}

#[derive(Debug)]
struct Row {
    epoch: Option<Epoch>,
    /// Entries in the log that carry the number, dead ones among them.
    entries: u64,
}

/// The copy of one worker.
#[derive(Debug, Default)]
pub(in crate::cache) struct LeaseView(Vec<Option<Epoch>>);

// === impl Leases ===

impl Leases {
    /// The number of this epoch. None when all are in use.
    pub(super) fn number(&mut self, epoch: &Epoch) -> Option<u16> {
        if let Some(number) = self.numbers.get(&epoch.number()) {
            return Some(*number);
        }
        if self.free.is_empty() && self.rows.len() >= self.next_look {
            self.give_back();
        }
        let row = Row { epoch: Some(epoch.clone()), entries: 0 };
        let number = match self.free.pop() {
            Some(number) => {
                self.rows[usize::from(number)] = row;
                number
            }
            None if self.rows.len() < NUMBERS_MAX => {
                self.rows.push(row);
                (self.rows.len() - 1) as u16
            }
            None => return None,
        };
        self.numbers.insert(epoch.number(), number);
        Some(number)
    }

    /// Makes the numbers of epochs that have ended and left nothing behind free again.
    fn give_back(&mut self) {
        for (number, row) in self.rows.iter_mut().enumerate() {
            if let Some(epoch) = &row.epoch
                && row.entries == 0
                && epoch.lease_until() == 0
            {
                self.numbers.remove(&epoch.number());
                row.epoch = None;
                self.free.push(number as u16);
            }
        }
        // So that to look at all is little work for each epoch that begins.
        let used = self.rows.len() - self.free.len();
        self.next_look = (2 * used).clamp(ROWS_MIN, NUMBERS_MAX);
    }

    /// An entry with this number was written.
    pub(super) fn note_written(&mut self, number: u16) {
        self.rows[usize::from(number)].entries += 1;
    }

    /// An entry with this number is not in the log any more.
    pub(super) fn note_gone(&mut self, number: u16) {
        if let Some(row) = self.rows.get_mut(usize::from(number)) {
            row.entries = row.entries.saturating_sub(1);
        }
    }

    /// Nothing lies in the log any more.
    pub(super) fn clear(&mut self) {
        self.rows.iter_mut().for_each(|row| row.entries = 0);
    }

    pub(super) fn view(&self) -> LeaseView {
        LeaseView(self.rows.iter().map(|row| row.epoch.clone()).collect())
    }

    pub(super) fn epoch(&self, number: u16) -> Option<&Epoch> {
        self.rows.get(usize::from(number))?.epoch.as_ref()
    }
}

// === impl LeaseView ===

impl LeaseView {
    /// The epoch with this number, as far as it is known here.
    #[inline]
    pub(in crate::cache) fn epoch(&self, number: u16) -> Option<&Epoch> {
        self.0.get(usize::from(number))?.as_ref()
    }

    /// Copies the row; whether that brought anything new.
    pub(super) fn copy(&mut self, number: u16, leases: &Leases) -> bool {
        let new = leases.epoch(number);
        if self.epoch(number).map(Epoch::number) == new.map(Epoch::number) {
            return false;
        }
        let at = usize::from(number);
        if self.0.len() <= at {
            self.0.resize(at + 1, None);
        }
        self.0[at] = new.cloned();
        true
    }

    #[inline]
    pub(in crate::cache) fn is_seen(&self, number: u16, now: Nanos) -> bool {
        self.epoch(number).is_some_and(|epoch| epoch.is_seen(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i4_a_number_is_used_again_only_when_its_epoch_has_ended_and_left_nothing() {
        let (mut leases, mut view) = (Leases::default(), LeaseView::default());
        let (first, second) = (Epoch::begin(100), Epoch::begin(100));
        let number = leases.number(&first).unwrap();
        assert_eq!(leases.number(&first), Some(number));
        leases.note_written(number);
        assert!(view.copy(number, &leases) && !view.copy(number, &leases));
        assert!(view.is_seen(number, 99) && !view.is_seen(number, 100));
        first.end();
        leases.next_look = 0;
        let other = leases.number(&second).unwrap();
        assert_ne!(other, number, "an entry of it lies in the log");
        leases.note_gone(number);
        leases.next_look = 0;
        let third = Epoch::begin(100);
        assert_eq!(leases.number(&third), Some(number));
        assert!(!view.is_seen(number, 50), "what the copy says is that the first one has ended");
        assert!(view.copy(number, &leases) && view.is_seen(number, 50));
        assert_eq!(leases.epoch(number).map(Epoch::number), Some(third.number()));
    }

    #[test]
    fn when_all_numbers_are_in_use_there_is_none_until_one_is_free() {
        let mut leases = Leases::default();
        let epochs: Vec<Epoch> = (0..NUMBERS_MAX).map(|_| Epoch::begin(1)).collect();
        // One after the other would look through all rows for each.
        leases.rows.extend(epochs.iter().map(|epoch| Row { epoch: Some(epoch.clone()), entries: 1 }));
        let late = Epoch::begin(1);
        assert_eq!(leases.number(&late), None);
        epochs[7].end();
        assert_eq!(leases.number(&late), None);
        leases.note_gone(7);
        assert_eq!(leases.number(&late), Some(7));
    }
}
