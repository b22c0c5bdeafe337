//! What goes and what stays, and what that leaves of the memory.

use super::tests::{found, key_of, live, put, store};
use super::*;

/// Reads keys, few of them often, and keeps what is missing.
fn read_skewed(store: &Store, reads: usize, seed: u64, value: impl Fn(usize) -> Vec<u8>) -> usize {
    let (mut random, epoch) = (fastrand::Rng::with_seed(seed), live());
    let mut hits = 0;
    for _ in 0..reads {
        let number = (random.f64().powi(3) * 40_000.0) as usize;
        let key = key_of(number);
        if found(store, &[&key]).is_some() {
            hits += 1;
        } else {
            put(store, &[&key], &value(number), &epoch).unwrap();
        }
    }
    hits
}

#[test]
fn what_moves_on_leaves_no_segment_half_written() {
    let (store, _) = store(1 << 20);
    read_skewed(&store, 200_000, 5, |_| vec![b'v'; 100]);
    let segments = store.lock().queues.clear();
    let used: usize = segments.iter().map(|segment| segment.used).sum();
    let room = segments.len() * store.sizes.segment_words();
    assert!(segments.len() > 200, "{}", segments.len());
    assert!(used * 100 >= room * 95, "{used} of {room} words");
}
