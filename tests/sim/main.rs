//! The simulator: the real daemon against a model of a cluster, in virtual time, with everything that goes wrong drawn from
//! a seed. docs/coherence.md says what is simulated, what is not, and how to run it for longer.

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
mod words;

use std::collections::BTreeMap;
use std::env;
use std::time::Duration;

use run::{Counts, Outcome, run};
// Outside of a run it is the time on the wall.
use tokio::time::Instant;

/// How long seeds are tried when nobody says how long.
const SECONDS: u64 = 20;

/// Seeds that once broke a promise.
const KEPT: &[u64] = &[];

#[test]
fn the_promises_hold_whatever_happens() {
    nearside::clock::now();
    let mut total = Counts::default();
    if let Some(seed) = number("NEARSIDE_TEST_SEED") {
        return judge(seed, &run(seed, true), &mut total);
    }
    for seed in KEPT {
        judge(*seed, &run(*seed, false), &mut total);
    }
    let patience = Duration::from_secs(number("NEARSIDE_SIM_SECONDS").unwrap_or(SECONDS));
    let (began, mut runs) = (Instant::now(), 0);
    while began.elapsed() < patience {
        let seed = fastrand::Rng::new().u64(..1 << 32);
        judge(seed, &run(seed, false), &mut total);
        runs += 1;
    }
    println!("{runs} runs: {total:?}");
    for (what, count) in total.named() {
        assert!(count > 0, "in {runs} runs there was no {what}: nothing was tested");
    }
}

/// Tries seeds until one breaks the promise that NEARSIDE_SIM_SEEK names: the code was made wrong on purpose.
#[test]
fn a_promise_that_is_not_kept_is_seen() {
    let Ok(promise) = env::var("NEARSIDE_SIM_SEEK") else { return };
    nearside::clock::now();
    let patience = Duration::from_secs(number("NEARSIDE_SIM_SECONDS").unwrap_or(60));
    let (began, mut seed) = (Instant::now(), 0);
    let mut seen: BTreeMap<String, (u32, u64)> = BTreeMap::new();
    while began.elapsed() < patience && !seen.contains_key(&promise) {
        for breach in run(seed, false).breaches {
            seen.entry(format!("{:?}", breach.promise)).or_insert((0, seed)).0 += 1;
        }
        seed += 1;
    }
    println!("{seed} runs broke, with the first seed of each: {seen:?}");
    assert!(seen.contains_key(&promise), "{promise} is broken, and nobody saw it");
}

#[test]
fn a_seed_is_one_run() {
    nearside::clock::now();
    for seed in 0..4 {
        let (first, second) = (run(seed, true), run(seed, true));
        if first.fingerprint != second.fingerprint {
            let lines = first.lines.iter().zip(&second.lines);
            let differ = lines.enumerate().find(|(_, (one, other))| one != other);
            let at = differ.map_or(0, |(at, _)| at);
            let near = |lines: &[String]| lines[at.saturating_sub(12)..lines.len().min(at + 6)].join("\n");
            panic!("two runs of seed {seed} differ:\n{}\n\n{}", near(&first.lines), near(&second.lines));
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    Some(env::var(variable).ok()?.parse().expect("a number"))
}

fn judge(seed: u64, outcome: &Outcome, total: &mut Counts) {
    total.add(outcome.counts);
    if outcome.breaches.is_empty() {
        return;
    }
    for line in &outcome.lines {
        println!("{line}");
    }
    for breach in &outcome.breaches {
        println!("{breach}");
    }
    panic!("NEARSIDE_TEST_SEED={seed} cargo test --test sim -- --nocapture shows this run again");
}
