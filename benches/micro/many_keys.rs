//! The near cache with so many keys that they are in no cache of the CPU. Only the time of these is measured:
//! their instructions are those of few keys.

use std::hint::black_box;

use crate::parts::{Cache, Part, SMALL, shared_of};

/// Each part there is, and how it is made.
pub(crate) const ALL: &[(&str, fn() -> Part)] = &[
    ("near cache, 16 hits ahead, 100,000 keys, uniform", || hits_ahead(100_000, uniform)),
    ("near cache, 16 hits ahead, 1 million keys, uniform", || hits_ahead(1_000_000, uniform)),
    ("near cache, 16 hits ahead, 5 million keys, zipf", || hits_ahead(5_000_000, zipf)),
    ("near cache, invalidate what is not kept, beside 1 million keys", invalidate_absent_beside_many),
];

/// Requests of one turn, whose keys are looked at ahead.
const AHEAD: usize = 16;

/// Turns that are drawn before anything is measured.
const DRAWN: usize = 1 << 20;

fn uniform(keys: usize) -> usize {
    fastrand::usize(..keys)
}

/// Zipf's law with exponent 1.
fn zipf(keys: usize) -> usize {
    (keys as f64).powf(fastrand::f64()) as usize - 1
}

/// Brings all keys in, but for the few that find no place.
fn fill(cache: &Cache, keys: usize) {
    (0..keys).for_each(|turn| cache.fill_one(turn));
    let found = (0..keys).filter(|turn| cache.lookup(*turn)).count();
    assert!(found * 1_000 >= keys * 999, "{found} of {keys}");
}

fn hits_ahead(keys: usize, draw: fn(usize) -> usize) -> Part {
    let cache = Cache::new(&shared_of(BYTES_MANY), "key", keys, SMALL);
    fill(&cache, keys);
    let drawn: Vec<usize> = (0..DRAWN).map(|_| draw(keys)).collect();
    let mut at = 0;
    let call = Box::new(move || {
        let turns = &drawn[at..at + AHEAD];
        at = (at + AHEAD) % DRAWN;
        cache.near.prefetch(b"", turns.iter().map(|turn| &cache.asked(*turn).key[..]));
        black_box(turns.iter().filter(|turn| cache.lookup(**turn)).count());
    });
    Part { operations: AHEAD, call }
}

fn invalidate_absent_beside_many() -> Part {
    let shared = shared_of(BYTES_MANY);
    fill(&Cache::new(&shared, "key", 1_000_000, SMALL), 1_000_000);
    let cache = Cache::new(&shared, "absent", 1_000_000, SMALL);
    let call = Box::new(move || cache.invalidate(uniform(1_000_000)));
    Part { operations: 1, call }
}

/// Room for five million keys, whatever the store.
const BYTES_MANY: u64 = 8 << 30;
