//! Carries out the runs of many seeds, several at a time.

use std::ops::ControlFlow;
use std::panic;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

use crate::run::{Outcome, run};

/// Runs go on at once on so many threads at most.
const THREADS_MAX: usize = 4;

/// Carries out the run of each of `seeds`, and gives what comes of it to `judge`, until that has seen enough.
pub(crate) fn run_all(
    seeds: impl Iterator<Item = u64> + Send,
    mut judge: impl FnMut(u64, Outcome) -> ControlFlow<()>,
) {
    // The clock begins outside of any run.
    nearside::clock::now();
    let threads = thread::available_parallelism().map_or(1, |count| count.get().min(THREADS_MAX));
    let seeds = Mutex::new(seeds);
    let next = &|| seeds.lock().unwrap_or_else(PoisonError::into_inner).next();
    thread::scope(|scope| {
        let (outcomes, arrived) = mpsc::sync_channel(threads);
        for _ in 0..threads {
            let outcomes = outcomes.clone();
            scope.spawn(move || {
                while let Some(seed) = next() {
                    if outcomes.send((seed, run_or_say(seed))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(outcomes);
        for (seed, outcome) in arrived {
            if judge(seed, outcome).is_break() {
                return;
            }
        }
    });
}

/// One run; when it panics, it is said with which seed.
fn run_or_say(seed: u64) -> Outcome {
    panic::catch_unwind(|| run(seed, false)).unwrap_or_else(|cause| {
        println!("NEARSIDE_TEST_SEED={seed} cargo test --test sim -- --nocapture shows this panic again");
        panic::resume_unwind(cause)
    })
}
