//! What writes of keys that nobody reads cost those that are read, with room for all of them.

use serde::Serialize;

use crate::generated::Zipf;
use crate::near::{Near, Read};
use crate::request::Key;
use crate::trace::Size;

/// Parts of the operations that are such writes.
const PARTS: [f64; 5] = [0.0, 0.01, 0.05, 0.2, 0.5];

const READ_KEYS: usize = 100_000;
const WRITTEN_KEYS: Key = 1_000_000;
const READS: usize = 2_000_000;
const SIZE: Size = Size { key: 29, value: 100 };

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct OtherWrites {
    pub(crate) part: f64,
    /// Percent of the reads.
    pub(crate) hits: f64,
}

/// With each part of writes. The reads are the same ones each time.
pub(crate) fn measure(divisor: usize) -> Vec<OtherWrites> {
    let zipf = Zipf::new(READ_KEYS / divisor, 0.99);
    PARTS.into_iter().map(|part| OtherWrites { part, hits: hits(&zipf, READS / divisor, part) }).collect()
}

fn hits(zipf: &Zipf, reads: usize, part: f64) -> f64 {
    let (mut for_reads, mut for_writes) = (fastrand::Rng::with_seed(1), fastrand::Rng::with_seed(2));
    let mut near = Near::new(256 << 20);
    let mut hits = 0;
    for _ in 0..reads {
        while for_writes.f64() < part {
            near.write('w', for_writes.u32(..WRITTEN_KEYS), SIZE);
        }
        let key = zipf.draw(&mut for_reads) as Key;
        hits += usize::from(near.read('k', key, SIZE) == Read::Hit);
    }
    100.0 * hits as f64 / reads as f64
}
