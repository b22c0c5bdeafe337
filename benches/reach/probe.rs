//! A client that asks one thing at a time, for as long as something else goes on, and notes how long each
//! answer took.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nearside::sandbox::{Address, SandboxClient};
use tokio::time::Instant;

use crate::figures::{self, Latencies};

/// Longer than anything here is meant to take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// Latencies are looked at in pieces of this length: what else the machine does comes in bursts.
const WINDOW: Duration = Duration::from_millis(500);

/// A client that asks.
pub(crate) struct Probe {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Sample>>,
}

/// All that it was answered.
pub(crate) struct Answers(Vec<Sample>);

struct Sample {
    asked_at: Instant,
    took: Duration,
    failed: bool,
}

/// A time in which all was as it is meant to be, or was not.
pub(crate) type Span = (Instant, Instant);

// === impl Probe ===

impl Probe {
    /// Asks `requests` in turn, with so long a pause between them.
    pub(crate) fn start(address: &Address, pause: Duration, requests: Vec<Vec<u8>>) -> Probe {
        let mut client = patient(address);
        let is_over = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let is_over = Arc::clone(&is_over);
            move || {
                let mut samples = Vec::new();
                let mut turns = requests.iter().cycle();
                while let (false, Some(request)) = (is_over.load(Ordering::Relaxed), turns.next()) {
                    let asked_at = Instant::now();
                    client.send_raw(request).unwrap();
                    let failed = client.receive().unwrap().is_error();
                    samples.push(Sample { asked_at, took: asked_at.elapsed(), failed });
                    thread::sleep(pause);
                }
                samples
            }
        });
        Probe { is_over, thread }
    }

    /// What it was answered until now.
    pub(crate) fn end(self) -> Answers {
        self.is_over.store(true, Ordering::Relaxed);
        Answers(self.thread.join().unwrap())
    }
}

// === impl Answers ===

impl Answers {
    /// Those to what was asked in `span`.
    pub(crate) fn within(&self, (from, until): Span) -> Latencies {
        let inside = self.0.iter().filter(|sample| sample.asked_at >= from && sample.asked_at < until);
        let (mut latencies, mut failed) = (Vec::new(), 0);
        for sample in inside {
            latencies.push(sample.took);
            failed += usize::from(sample.failed);
        }
        Latencies::new(latencies, failed)
    }

    /// The p99 of each window in `spans`, and of those the middle one; and how many answers were errors.
    pub(crate) fn windows(&self, spans: &[Span]) -> (Duration, usize) {
        let (mut found, mut failed) = (Vec::new(), 0);
        for &(from, until) in spans {
            let mut begin = from;
            while begin + WINDOW <= until {
                let latencies = self.within((begin, begin + WINDOW));
                failed += latencies.failed;
                found.push(latencies.at(99));
                begin += WINDOW;
            }
        }
        (figures::median(found), failed)
    }
}

/// A client that waits for as long as it takes.
pub(crate) fn patient(address: &Address) -> SandboxClient {
    let client = SandboxClient::connect(address).unwrap();
    client.set_timeout(PATIENCE).unwrap();
    client
}
