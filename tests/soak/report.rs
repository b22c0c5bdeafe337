//! What a run did and found, printed and judged: a run that did next to nothing fails as well.

use std::sync::atomic::Ordering;

use hdrhistogram::Histogram;
use nearside::clock::Nanos;

use crate::faults::Counts;
use crate::world::World;

/// What one reader met.
pub(crate) struct Readings {
    pub(crate) reads: u64,
    pub(crate) spared: u64,
    pub(crate) errors: u64,
    /// Replies that a reader did not wait for.
    pub(crate) left: u64,
    /// How long what was written elsewhere was not seen, in microseconds: in calm times and in others.
    calm: Histogram<u64>,
    faulty: Histogram<u64>,
}

/// A whole run.
pub(crate) struct Report {
    command: String,
    seconds: u64,
    all: Readings,
}

/// A run that takes longer has met every kind of fault.
const LONG_SECONDS: u64 = 300;

// === impl Readings ===

impl Readings {
    pub(crate) fn new() -> Readings {
        let histogram = || Histogram::new(3).unwrap();
        Readings { reads: 0, spared: 0, errors: 0, left: 0, calm: histogram(), faulty: histogram() }
    }

    /// For so long after it was replaced elsewhere a state was still served.
    pub(crate) fn note(&mut self, stale_for: Nanos, was_bad: bool) {
        let histogram = if was_bad { &mut self.faulty } else { &mut self.calm };
        histogram.record(stale_for / 1_000).unwrap();
    }
}

// === impl Report ===

impl Report {
    pub(crate) fn new(seed: u64, seconds: u64) -> Report {
        let command = format!("NEARSIDE_SOAK_SECONDS={seconds} NEARSIDE_TEST_SEED={seed} make soak");
        Report { command, seconds, all: Readings::new() }
    }

    pub(crate) fn add(&mut self, one: &Readings) {
        self.all.reads += one.reads;
        self.all.spared += one.spared;
        self.all.errors += one.errors;
        self.all.left += one.left;
        self.all.calm.add(&one.calm).unwrap();
        self.all.faulty.add(&one.faulty).unwrap();
    }

    pub(crate) fn print_and_judge(&self, world: &World, faults: &Counts) {
        let all = &self.all;
        let count = |number: &std::sync::atomic::AtomicU64| number.load(Ordering::Relaxed);
        let hits: u64 = world.daemons.iter().map(|daemon| daemon.counter("l1_hits")).sum();
        println!("command: {}", self.command);
        println!(
            "reads: {} judged, {} spared (keys of a failover, until their new owner was asked), {} refused, {} not waited for; {hits} hits of L1",
            all.reads, all.spared, all.errors, all.left
        );
        println!(
            "writes: {} acknowledged, {} refused, {} in doubt",
            count(&world.writes),
            count(&world.refused_writes),
            count(&world.doubted_writes)
        );
        println!("faults: {}, {} clients vanished", faults.shown(), count(&world.vanished));
        println!("written elsewhere until no longer served, in us:");
        print_distribution("calm times", &all.calm);
        print_distribution("faulty times", &all.faulty);
        let violations = world.violations();
        println!("violations: {}", violations.len());
        violations.iter().for_each(|violation| println!("  {violation}"));
        assert!(violations.is_empty(), "{} violations: {}", violations.len(), self.command);
        assert!(hits > all.reads / 4, "{hits} hits beside {} reads: L1 was hardly used", all.reads);
        assert!(all.reads > 1_000 * self.seconds.min(10), "only {} reads", all.reads);
        assert!(all.spared < all.reads, "most reads were spared");
        assert!(all.calm.len() > 100 && all.faulty.len() > 100, "hardly a write was followed by a read");
        let missing = faults.missing();
        assert!(self.seconds < LONG_SECONDS || missing.is_empty(), "never happened: {missing:?}");
    }
}

fn print_distribution(what: &str, micros: &Histogram<u64>) {
    let at = |quantile| micros.value_at_quantile(quantile);
    println!(
        "  {what}: {} replaced, {} of them not served a single time after that; p50 {} p90 {} p99 {} max {}",
        micros.len(),
        micros.count_at(0),
        at(0.5),
        at(0.9),
        at(0.99),
        micros.max()
    );
}
