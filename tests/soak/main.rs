//! The soak: a checked load on a real cluster of six nodes and three daemons, while all that can break breaks.
//! The clients of the third one are in namespaces.
//!
//! `make soak` runs it for NEARSIDE_SOAK_SECONDS, from NEARSIDE_TEST_SEED; `cargo test --test soak` for a
//! minute from a fixed seed. The seed decides what is written, read and broken, and when; servers and threads
//! keep time of their own, so a run is repeated as far as these repeat themselves.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in what tests share as well")]
#![expect(clippy::print_stdout, reason = "what a run did is printed where cargo shows it")]

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "not all of what tests share is needed here")]
mod support;

mod audit;
mod deck;
mod entrance;
mod faults;
mod oracle;
mod reader;
mod report;
mod vanisher;
mod world;
mod writer;

use std::env;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

use entrance::ENTRANCES;
use faults::Faults;
use reader::Manner;
use report::Report;
use world::World;

const SEED: &str = "NEARSIDE_TEST_SEED";
const SECONDS: &str = "NEARSIDE_SOAK_SECONDS";

const SEED_DEFAULT: u64 = 20;
const SECONDS_DEFAULT: u64 = 60;

const WRITERS: u64 = 4;

/// Streams of random numbers of readers begin here, so that no two threads share one.
const READER_STREAMS: u64 = 100;

/// Ends the work of all threads when it goes, though it goes because this one has panicked: the scope waits
/// for them.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn nothing_that_is_served_is_wrong() {
    let number = |name: &str, default| env::var(name).map_or(default, |text| text.parse().unwrap());
    let (seed, seconds) = (number(SEED, SEED_DEFAULT), number(SECONDS, SECONDS_DEFAULT));
    println!("{SECONDS}={seconds} {SEED}={seed} make soak");
    let world = World::launch();
    let mut report = Report::new(seed, seconds);
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let random = |stream: u64| Rng::with_seed(seed.wrapping_mul(1_000).wrapping_add(stream));

    let (faults, ended) = thread::scope(|scope| {
        let world = &world;
        let ending = Ending(&world.is_over);
        for number in 0..WRITERS {
            scope.spawn(move || writer::run(world, number as usize, WRITERS as usize, random(number)));
        }
        let readers: Vec<_> = (0..ENTRANCES.len() * 4)
            .map(|number| {
                let random = random(READER_STREAMS + number as u64);
                let (entrance, version) = (number / 4, 2 + (number % 2) as u8);
                let manner = if number % 4 < 2 { Manner::Waits } else { Manner::Leaves };
                scope.spawn(move || reader::run(world, entrance, version, manner, random))
            })
            .collect();
        scope.spawn(move || vanisher::run(world, random(WRITERS + 1)));
        let mut faults = Faults::new(world, random(WRITERS + 2));
        let mut ended = Ok(());
        while Instant::now() < deadline && !world.is_violated_enough() && ended.is_ok() {
            ended = faults.round();
        }
        drop(ending);
        for reader in readers {
            report.add(&reader.join().unwrap());
        }
        (faults.counts, ended)
    });
    if ended.is_ok() {
        audit::audit_all(&world);
    }
    report.print_and_judge(&world, &faults);
    ended.expect("the cluster was not whole again: the figures above are those until then");
    for daemon in world.daemons {
        daemon.stop();
    }
}
