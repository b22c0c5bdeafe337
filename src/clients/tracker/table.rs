//! Which clients read which keys, by slot: a slot that moves takes its keys along.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use crate::protocol::key::{SLOT_COUNT, Slot};

/// The keys and their readers. Readers that have left are among them, at most as many as others.
#[derive(Debug, Default)]
pub(super) struct ReaderTable {
    slots: BTreeMap<Slot, HashMap<Bytes, Vec<u64>>>,
    keys: usize,
    items: usize,
    /// The number of items at which readers that have left are removed.
    sweep_at: usize,
}

/// With fewer items readers that have left are not searched.
const SWEPT_ITEMS_MIN: usize = 1_024;

// === impl ReaderTable ===

impl ReaderTable {
    /// How many keys there are.
    pub(super) fn keys(&self) -> usize {
        self.keys
    }

    /// How many pairs of key and reader there are.
    pub(super) fn items(&self) -> usize {
        self.items
    }

    /// Adds client `id` as a reader of `key`.
    pub(super) fn add(&mut self, key: &Bytes, id: u64) {
        let keys = self.slots.entry(Slot::of(key)).or_default();
        let ids = match keys.get_mut(key) {
            Some(ids) => ids,
            None => {
                self.keys += 1;
                keys.entry(key.clone()).or_default()
            }
        };
        if let Err(place) = ids.binary_search(&id) {
            self.items += 1;
            ids.insert(place, id);
        }
    }

    /// Removes readers that have left, if there are twice as many items as after the last time. So a read
    /// costs no more than a few steps for this.
    pub(super) fn sweep(&mut self, is_here: impl Fn(u64) -> bool) {
        if self.items < self.sweep_at {
            return;
        }
        for keys in self.slots.values_mut() {
            keys.retain(|_, ids| {
                ids.retain(|id| is_here(*id));
                !ids.is_empty()
            });
        }
        self.slots.retain(|_, keys| !keys.is_empty());
        self.keys = self.slots.values().map(HashMap::len).sum();
        self.items = self.slots.values().flat_map(HashMap::values).map(Vec::len).sum();
        self.sweep_at = (2 * self.items).max(SWEPT_ITEMS_MIN);
    }

    /// Takes the readers of `key` out.
    pub(super) fn take(&mut self, key: &[u8]) -> Vec<u64> {
        let slot = Slot::of(key);
        let Some(keys) = self.slots.get_mut(&slot) else { return Vec::new() };
        let Some(ids) = keys.remove(key) else { return Vec::new() };
        if keys.is_empty() {
            self.slots.remove(&slot);
        }
        self.keys -= 1;
        self.items -= ids.len();
        ids
    }

    /// Removes client `id` as a reader of `key`.
    pub(super) fn remove(&mut self, key: &Bytes, id: u64) {
        for other in self.take(key).into_iter().filter(|other| *other != id) {
            self.add(key, other);
        }
    }

    /// Takes out everything in `slot`.
    pub(super) fn take_slot(&mut self, slot: Slot) -> HashMap<Bytes, Vec<u64>> {
        let keys = self.slots.remove(&slot).unwrap_or_default();
        self.keys -= keys.len();
        self.items -= keys.values().map(Vec::len).sum::<usize>();
        keys
    }

    /// Takes out any key, with its readers.
    pub(super) fn take_any(&mut self) -> Option<(Bytes, Vec<u64>)> {
        let from = Slot::from_number(fastrand::u64(..SLOT_COUNT as u64))?;
        let keys = self.slots.range(from..).next().or_else(|| self.slots.iter().next())?.1;
        let key = keys.keys().next()?.clone();
        let ids = self.take(&key);
        Some((key, ids))
    }
}
