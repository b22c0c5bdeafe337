//! The table that is printed, and latencies in few numbers.

use std::fmt;
use std::time::Duration;

/// Prints the head of the table.
pub(crate) fn print_head() {
    println!("| what | calm | under the fault | ratio | goal |\n|---|---|---|---|---|");
}

/// Prints a line of it.
pub(crate) fn print(what: &str, calm: impl fmt::Display, fault: impl fmt::Display, ratio: &str, goal: &str) {
    println!("| {what} | {calm} | {fault} | {ratio} | {goal} |");
}

/// What was measured of one thing, in any order.
#[derive(Default)]
pub(crate) struct Latencies {
    sorted: Vec<Duration>,
    /// Answered with an error, or not at all.
    pub(crate) failed: usize,
}

// === impl Latencies ===

impl Latencies {
    pub(crate) fn new(mut latencies: Vec<Duration>, failed: usize) -> Latencies {
        latencies.sort_unstable();
        Latencies { sorted: latencies, failed }
    }

    /// The latency that so many of a hundred do not exceed.
    pub(crate) fn at(&self, percent: usize) -> Duration {
        let last = self.sorted.len().saturating_sub(1);
        self.sorted.get((self.sorted.len() * percent / 100).min(last)).copied().unwrap_or_default()
    }

    pub(crate) fn longest(&self) -> Duration {
        self.sorted.last().copied().unwrap_or_default()
    }

    pub(crate) fn len(&self) -> usize {
        self.sorted.len()
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (p50, p99, longest) = (shown(self.at(50)), shown(self.at(99)), shown(self.longest()));
        write!(f, "p50 {p50}, p99 {p99}, longest {longest} of {}", self.len())?;
        if self.failed > 0 {
            write!(f, ", {} failed", self.failed)?;
        }
        Ok(())
    }
}

/// A time with three digits.
pub(crate) fn shown(time: Duration) -> String {
    let millis = time.as_secs_f64() * 1e3;
    let digits = if millis < 10.0 { 2 } else { usize::from(millis < 100.0) };
    format!("{millis:.digits$} ms")
}

/// How many times `calm` it is.
pub(crate) fn ratio(fault: Duration, calm: Duration) -> String {
    format!("{:.2}", fault.as_secs_f64() / calm.as_secs_f64())
}

/// The middle one.
pub(crate) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
