//! Many latencies as three numbers, and bytes for each client.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

/// Latencies, as they are collected.
pub(crate) struct Latencies(Histogram<u64>);

// === impl Latencies ===

impl Latencies {
    pub(crate) fn add(&mut self, latency: Duration) {
        self.0.saturating_record(latency.as_nanos() as u64);
    }

    /// The latency that so many of a hundred do not exceed, in microseconds.
    pub(crate) fn micros(&self, percentile: f64) -> f64 {
        self.0.value_at_percentile(percentile) as f64 / 1e3
    }
}

impl Default for Latencies {
    fn default() -> Latencies {
        Latencies(Histogram::new_with_bounds(100, 60_000_000_000, 3).unwrap())
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9.0} {:>9.0} {:>9.0}", self.micros(50.0), self.micros(99.0), self.micros(100.0))
    }
}

/// How much a process grew for each of `count` clients, in KiB.
pub(crate) fn kib_each(before: u64, after: u64, count: usize) -> f64 {
    (after as f64 - before as f64) / 1024.0 / count as f64
}

/// The middle of some numbers.
pub(crate) fn median(numbers: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = numbers.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
