//! Whether the model's formula for how many sidecars a write is pushed to holds: reads and writes one by one,
//! by chance.

use fastrand::Rng;
use serde::Serialize;

use crate::model::popularity;

/// One comparison.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Check {
    pub(crate) sidecars: usize,
    /// Reads of each sidecar for each write of anybody.
    pub(crate) reads_per_write: f64,
    /// Pushes for each write, as they were counted.
    pub(crate) counted: f64,
    /// As the formula says.
    pub(crate) said: f64,
}

const KEYS: usize = 1_000;
const SEED: u64 = 11;

/// Writes of each run, the first half of them to come to rest.
const WRITES: usize = 20_000;

pub(crate) fn checks() -> Vec<Check> {
    [(100, 1.0), (100, 0.01), (1_000, 0.1), (1_000, 0.001)].map(|(n, reads)| check(n, reads)).into()
}

fn check(sidecars: usize, reads_per_write: f64) -> Check {
    let mut random = Rng::with_seed(SEED);
    let shares = popularity(KEYS);
    let sums: Vec<f64> = shares
        .iter()
        .scan(0.0, |sum, share| {
            *sum += share;
            Some(*sum)
        })
        .collect();
    let mut readers = vec![vec![false; sidecars]; KEYS];
    let reads = reads_per_write * sidecars as f64;
    let (mut due, mut pushes) = (0.0, 0_u64);
    for write in 0..WRITES {
        due += reads;
        while due >= 1.0 {
            due -= 1.0;
            let point = random.f64();
            let key = sums.partition_point(|sum| *sum < point).min(KEYS - 1);
            readers[key][random.usize(..sidecars)] = true;
        }
        let key = &mut readers[random.usize(..KEYS)];
        if write >= WRITES / 2 {
            pushes += key.iter().filter(|reader| **reader).count() as u64;
        }
        key.fill(false);
    }
    let write_of_key = 1.0 / KEYS as f64;
    let told = |share: &f64| {
        let read = reads_per_write * share;
        read / (read + write_of_key) * write_of_key
    };
    let said = sidecars as f64 * shares.iter().map(told).sum::<f64>();
    Check { sidecars, reads_per_write, counted: pushes as f64 / (WRITES - WRITES / 2) as f64, said }
}
