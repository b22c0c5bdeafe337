//! The epochs of entries, by an index of 16 bits that an entry has room for.
//!
//! An index is used again when its epoch has ended and no entry in the log carries it. A worker has a copy of
//! the table, so a hit needs no lock: an index that is used again had an epoch that has ended, and a worker
//! looks an ended epoch of its copy up again.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::clock::Nanos;
use crate::node::Epoch;

/// How many indexes there are.
const INDEXES_MAX: usize = 1 << 16;

/// A table with at most this many rows is not searched for free ones.
const ROWS_MIN: usize = 64;

/// The table, which all workers share.
#[derive(Debug, Default)]
pub(super) struct EpochTable {
    rows: Vec<Row>,
    /// The index of each epoch, by the number of the epoch.
    indexes: HashMap<u64, u16, RandomState>,
    /// Rows that are free.
    free: Vec<u16>,
    /// The number of rows at which free ones are searched for next.
    next_look: usize,
}

#[derive(Debug)]
struct Row {
    epoch: Option<Epoch>,
    /// Entries in the log that carry the index, dead ones among them.
    entries: u64,
}

/// The copy of one worker.
#[derive(Debug, Default)]
pub(in crate::cache) struct EpochView(Vec<Option<Epoch>>);

// === impl EpochTable ===

impl EpochTable {
    /// The index of this epoch, which gets one if it is new. `None` when all are in use.
    pub(super) fn index_of(&mut self, epoch: &Epoch) -> Option<u16> {
        if let Some(index) = self.indexes.get(&epoch.number()) {
            return Some(*index);
        }
        if self.free.is_empty() && self.rows.len() >= self.next_look {
            self.give_back();
        }
        let row = Row { epoch: Some(epoch.clone()), entries: 0 };
        let index = match self.free.pop() {
            Some(index) => {
                self.rows[usize::from(index)] = row;
                index
            }
            None if self.rows.len() < INDEXES_MAX => {
                self.rows.push(row);
                (self.rows.len() - 1) as u16
            }
            None => return None,
        };
        self.indexes.insert(epoch.number(), index);
        Some(index)
    }

    /// Frees the indexes of epochs that have ended and have no entry in the log.
    fn give_back(&mut self) {
        for (index, row) in self.rows.iter_mut().enumerate() {
            if let Some(epoch) = &row.epoch
                && row.entries == 0
                && epoch.lease_until() == 0
            {
                self.indexes.remove(&epoch.number());
                row.epoch = None;
                self.free.push(index as u16);
            }
        }
        // So a search of all rows is little work for each epoch that begins.
        let used = self.rows.len() - self.free.len();
        self.next_look = (2 * used).clamp(ROWS_MIN, INDEXES_MAX);
    }

    /// Counts an entry with this index, which was written to the log.
    pub(super) fn note_written(&mut self, index: u16) {
        self.rows[usize::from(index)].entries += 1;
    }

    /// Counts an entry with this index less: it has left the log.
    pub(super) fn note_gone(&mut self, index: u16) {
        if let Some(row) = self.rows.get_mut(usize::from(index)) {
            row.entries = row.entries.saturating_sub(1);
        }
    }

    /// Forgets all entries: the log was emptied.
    pub(super) fn clear(&mut self) {
        self.rows.iter_mut().for_each(|row| row.entries = 0);
    }

    pub(super) fn view(&self) -> EpochView {
        EpochView(self.rows.iter().map(|row| row.epoch.clone()).collect())
    }

    pub(super) fn epoch(&self, index: u16) -> Option<&Epoch> {
        self.rows.get(usize::from(index))?.epoch.as_ref()
    }
}

// === impl EpochView ===

impl EpochView {
    /// The epoch with this index, as far as this worker has copied it.
    #[inline]
    pub(in crate::cache) fn epoch(&self, index: u16) -> Option<&Epoch> {
        self.0.get(usize::from(index))?.as_ref()
    }

    /// Copies the row; returns whether it had changed.
    pub(super) fn copy(&mut self, index: u16, table: &EpochTable) -> bool {
        let new = table.epoch(index);
        if self.epoch(index).map(Epoch::number) == new.map(Epoch::number) {
            return false;
        }
        let at = usize::from(index);
        if self.0.len() <= at {
            self.0.resize(at + 1, None);
        }
        self.0[at] = new.cloned();
        true
    }

    #[inline]
    pub(in crate::cache) fn is_servable(&self, index: u16, now: Nanos) -> bool {
        self.epoch(index).is_some_and(|epoch| epoch.is_servable(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i4_a_number_is_used_again_only_when_its_epoch_has_ended_and_left_nothing() {
        let (mut table, mut view) = (EpochTable::default(), EpochView::default());
        let (first, second) = (Epoch::begin(100), Epoch::begin(100));
        let index = table.index_of(&first).unwrap();
        assert_eq!(table.index_of(&first), Some(index));
        table.note_written(index);
        assert!(view.copy(index, &table) && !view.copy(index, &table));
        assert!(view.is_servable(index, 99) && !view.is_servable(index, 100));
        first.end();
        table.next_look = 0;
        let other = table.index_of(&second).unwrap();
        assert_ne!(other, index, "an entry of it lies in the log");
        table.note_gone(index);
        table.next_look = 0;
        let third = Epoch::begin(100);
        assert_eq!(table.index_of(&third), Some(index));
        assert!(!view.is_servable(index, 50), "what the copy says is that the first one has ended");
        assert!(view.copy(index, &table) && view.is_servable(index, 50));
        assert_eq!(table.epoch(index).map(Epoch::number), Some(third.number()));
    }

    #[test]
    fn when_all_numbers_are_in_use_there_is_none_until_one_is_free() {
        let mut table = EpochTable::default();
        let epochs: Vec<Epoch> = (0..INDEXES_MAX).map(|_| Epoch::begin(1)).collect();
        // One after the other would look through all rows for each.
        table.rows.extend(epochs.iter().map(|epoch| Row { epoch: Some(epoch.clone()), entries: 1 }));
        let late = Epoch::begin(1);
        assert_eq!(table.index_of(&late), None);
        epochs[7].end();
        assert_eq!(table.index_of(&late), None);
        table.note_gone(7);
        assert_eq!(table.index_of(&late), Some(7));
    }
}
