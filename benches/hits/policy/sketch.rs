//! How often keys were asked for lately, about: a count-min sketch of counters up to 15, halved from time to
//! time.

use crate::request::Key;

const ROWS: usize = 4;
const COUNT_MAX: u8 = 15;

/// The counters are halved when for each entry that there is room for so many requests have come.
const REQUESTS_PER_ENTRY: usize = 10;

#[derive(Debug)]
pub(super) struct Sketch {
    rows: [Box<[u8]>; ROWS],
    counted: usize,
    counted_max: usize,
}

// === impl Sketch ===

impl Sketch {
    /// For a cache with room for about so many entries.
    pub(super) fn new(entries: usize) -> Sketch {
        let width = (4 * entries).next_power_of_two().max(64);
        let rows = std::array::from_fn(|_| vec![0; width].into());
        Sketch { rows, counted: 0, counted_max: REQUESTS_PER_ENTRY * entries.max(16) }
    }

    pub(super) fn count(&mut self, key: Key) {
        for row in 0..ROWS {
            let at = self.place(key, row);
            let counter = &mut self.rows[row][at];
            *counter = (*counter + 1).min(COUNT_MAX);
        }
        self.counted += 1;
        if self.counted == self.counted_max {
            self.counted /= 2;
            self.rows.iter_mut().flat_map(|row| row.iter_mut()).for_each(|counter| *counter /= 2);
        }
    }

    pub(super) fn of(&self, key: Key) -> u64 {
        let counts = (0..ROWS).map(|row| self.rows[row][self.place(key, row)]);
        u64::from(counts.min().unwrap_or(0))
    }

    fn place(&self, key: Key, row: usize) -> usize {
        let mixed = fastrand::Rng::with_seed(u64::from(key) << 2 | row as u64).u64(..);
        mixed as usize & (self.rows[row].len() - 1)
    }
}
