//! The near cache of two workers: what one pays for what the other does at the same time.

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use criterion::Criterion;

use crate::parts::{self, Cache, LARGE, SMALL};

/// What the other worker does all the time.
#[derive(Clone, Copy)]
enum Other {
    Nothing,
    LooksUp,
    FillsAndInvalidates,
}

/// What is looked up: how many keys, with values of how many bytes.
const LOOKUPS: [(usize, usize, &str); 2] = [(16, SMALL, "hits"), (512, LARGE, "hits of 16 KiB")];

/// Keys that the other worker brings in and invalidates.
const CHANGING_KEYS: usize = 64;

/// Measures lookups of one worker, by what the other one does.
pub(crate) fn measure(criterion: &mut Criterion) {
    for (keys, value_bytes, found) in LOOKUPS {
        for (other, doing) in [
            (Other::Nothing, "idle"),
            (Other::LooksUp, "the same"),
            (Other::FillsAndInvalidates, "fills and invalidates"),
        ] {
            let mut made = None;
            criterion.bench_function(&format!("near cache, {found}, other worker: {doing}"), |bencher| {
                let (shared, cache) = made.get_or_insert_with(|| {
                    let shared = parts::shared();
                    let cache = Cache::new(&shared, "key", keys, value_bytes);
                    cache.fill();
                    (shared, cache)
                });
                let (shared, stop, begun) = (&*shared, AtomicBool::new(false), Barrier::new(2));
                thread::scope(|scope| {
                    scope.spawn(|| {
                        let cache = match other {
                            Other::FillsAndInvalidates => {
                                Cache::new(shared, "changing", CHANGING_KEYS, SMALL)
                            }
                            Other::Nothing | Other::LooksUp => Cache::new(shared, "key", keys, value_bytes),
                        };
                        begun.wait();
                        other.work(&cache, &stop);
                    });
                    begun.wait();
                    let mut turn = 0;
                    bencher.iter(|| {
                        black_box(cache.lookup(turn));
                        turn += 1;
                    });
                    stop.store(true, Ordering::Relaxed);
                });
            });
        }
    }
}

// === impl Other ===

impl Other {
    fn work(self, cache: &Cache, stop: &AtomicBool) {
        let mut turn = 0;
        while !stop.load(Ordering::Relaxed) {
            match self {
                Other::Nothing => return,
                Other::LooksUp => assert!(cache.lookup(turn)),
                Other::FillsAndInvalidates => {
                    cache.fill_one(turn);
                    cache.invalidate(turn);
                }
            }
            turn += 1;
        }
    }
}
