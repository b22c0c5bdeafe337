//! The simulator: the real daemon before a model of a cluster, in virtual time, with everything that goes
//! wrong drawn from a seed. "The simulator" in docs/coherence.md says what is real and what is a
//! model.
//!
//! ```text
//! cargo test --test sim                                      the seeds that every change has to pass
//! NEARSIDE_TEST_SEED=108 cargo test --test sim -- --nocapture    one seed once more, with all that happened
//! NEARSIDE_SIM_SECONDS=600 cargo test --test sim                 seeds that nobody has tried, for so long
//! ```

#![expect(clippy::expect_used, reason = "a panic is how a test fails")]
#![expect(clippy::print_stdout, reason = "the seed of a failure goes to whoever runs the test")]

mod clients;
mod cluster;
mod commands;
mod conn;
mod faults;
mod history;
mod log;
mod oracle;
mod pipe;
mod run;
mod seeds;
mod words;

use std::collections::BTreeMap;
use std::env;
use std::ops::ControlFlow;
use std::thread;
use std::time::Duration;

use run::{Counts, Outcome, run};
// Outside of a run it is the time on the wall.
use tokio::time::Instant;

/// The seeds that are tried when nobody says which: about a minute on two cores.
const SEEDS: u64 = 80;

/// Seeds that once broke a promise; the last one shows that a lease which nobody looks at is missed.
const KEPT: &[u64] = &[75, 108, 1_220_395_428, 215_508_734];

#[test]
fn the_promises_hold_whatever_happens() {
    if let Some(seed) = number("NEARSIDE_TEST_SEED") {
        return replay(seed);
    }
    let (mut total, mut runs, mut broken) = (Counts::default(), 0_u32, Vec::new());
    let judge = |seed, outcome: Outcome| {
        total.add(outcome.counts);
        runs += 1;
        if !outcome.breaches.is_empty() {
            println!("NEARSIDE_TEST_SEED={seed} cargo test --test sim -- --nocapture shows this run again:");
            outcome.breaches.iter().for_each(|breach| println!("{breach}"));
            broken.push(seed);
        }
        ControlFlow::Continue(())
    };
    match number("NEARSIDE_SIM_SECONDS") {
        Some(seconds) => {
            let (began, patience) = (Instant::now(), Duration::from_secs(seconds));
            let fresh = std::iter::repeat_with(|| fastrand::u64(..1 << 32));
            seeds::run_all(fresh.take_while(move |_| began.elapsed() < patience), judge);
        }
        None => seeds::run_all(known_seeds(), judge),
    }
    println!("{runs} runs: {total:?}");
    assert!(broken.is_empty(), "the seeds {broken:?} broke promises; above stands how to see each again");
    for (what, count) in total.named() {
        assert!(count > 0, "in {runs} runs there was no {what}: nothing was tested");
    }
}

/// Whether the seeds that every change has to pass would find that the promise which NEARSIDE_SIM_SEEK names
/// is broken.
#[test]
#[ignore = "tests/mutations runs it, on code that was made wrong on purpose"]
fn a_promise_that_is_not_kept_is_seen() {
    let promise = env::var("NEARSIDE_SIM_SEEK").expect("NEARSIDE_SIM_SEEK names the promise that is broken");
    let (began, mut runs) = (Instant::now(), 0_u32);
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    seeds::run_all(known_seeds(), |seed, outcome| {
        runs += 1;
        for breach in outcome.breaches {
            seen.entry(format!("{:?}", breach.promise)).or_insert(seed);
        }
        if seen.contains_key(&promise) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    println!("{runs} runs in {} s broke, each with a seed: {seen:?}", began.elapsed().as_secs());
    assert!(seen.contains_key(&promise), "{promise} is broken, and nobody saw it");
}

#[test]
fn a_seed_is_one_run() {
    nearside::clock::now();
    for seed in 0..4 {
        // On threads of their own: nothing that a thread has done before may matter.
        let [first, second] = [(); 2]
            .map(|()| thread::spawn(move || run(seed, true)))
            .map(|run| run.join().expect("the run ends without a panic"));
        if first.fingerprint == second.fingerprint {
            continue;
        }
        let lines = first.lines.iter().zip(&second.lines);
        let differ = lines.enumerate().find(|(_, (one, other))| one != other);
        let at = differ.map_or(0, |(at, _)| at);
        let near = |lines: &[String]| lines[at.saturating_sub(12)..lines.len().min(at + 6)].join("\n");
        panic!("two runs of seed {seed} differ:\n{}\n\n{}", near(&first.lines), near(&second.lines));
    }
}

/// The seeds that every change has to pass, with those first that once broke a promise.
fn known_seeds() -> impl Iterator<Item = u64> + Send {
    KEPT.iter().copied().chain((0..SEEDS).filter(|seed| !KEPT.contains(seed)))
}

/// One run with everything that happened in it.
fn replay(seed: u64) {
    nearside::clock::now();
    let outcome = run(seed, true);
    outcome.lines.iter().for_each(|line| println!("{line}"));
    println!("seed {seed}, fingerprint {:016x}: {:?}", outcome.fingerprint, outcome.counts);
    outcome.breaches.iter().for_each(|breach| println!("{breach}"));
    assert!(outcome.breaches.is_empty(), "seed {seed} broke promises");
}

fn number(variable: &str) -> Option<u64> {
    Some(env::var(variable).ok()?.parse().expect("a number"))
}
