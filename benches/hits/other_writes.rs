//! What writes of keys that nobody reads cost those that are read, with room for all of them.

use serde::Serialize;

use crate::generated::Zipf;
use crate::near::{Near, Read};
use crate::request::Key;
use crate::trace::Size;

/// Parts of the operations that are such writes.
const PARTS: [f64; 5] = [0.0, 0.01, 0.05, 0.2, 0.5];

const READ_KEYS: usize = 500_000;
const WRITTEN_KEYS: Key = 1_000_000;
const READS: usize = 1_500_000;
const SIZE: Size = Size { key: 29, value: 100 };
/// More than all entries take.
const BUDGET: u64 = 256 << 20;

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct OtherWrites {
    pub(crate) part: f64,
    /// Percent of the reads.
    pub(crate) hits: f64,
}

/// With each part of writes, the hits of the second half of the reads, which are the same ones each time.
pub(crate) fn measure(divisor: usize) -> Vec<OtherWrites> {
    let zipf = Zipf::new(READ_KEYS / divisor, 0.99);
    PARTS.into_iter().map(|part| OtherWrites { part, hits: hits(&zipf, READS / divisor, part) }).collect()
}

fn hits(zipf: &Zipf, reads: usize, part: f64) -> f64 {
    let (mut for_reads, mut for_writes) = (fastrand::Rng::with_seed(1), fastrand::Rng::with_seed(2));
    let mut near = Near::new(BUDGET);
    let mut hits = 0;
    for turn in 0..reads {
        while for_writes.f64() < part {
            near.write('w', for_writes.u32(..WRITTEN_KEYS), SIZE);
        }
        let key = zipf.draw(&mut for_reads) as Key;
        let is_hit = near.read('k', key, SIZE) == Read::Hit;
        hits += usize::from(is_hit && turn >= reads / 2);
    }
    100.0 * hits as f64 / (reads - reads / 2) as f64
}
