//! Time as the daemon counts it: nanoseconds of the monotonic clock, small enough for an atomic.
//!
//! Cores take `now` as an argument. The clock is read once for each batch of requests: everything in the
//! batch had been sent by then, so an answer that was right at that instant is right.

use std::sync::LazyLock;
use std::time::Duration;

use tokio::time::Instant;

/// Nanoseconds since shortly before the process began. Never 0, so that 0 can mean "ended".
pub type Nanos = u64;

static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The monotonic clock, now.
pub fn now() -> Nanos {
    // One second is added, so that no reading is ever 0 or near it.
    nanos(ORIGIN.elapsed()) + 1_000_000_000
}

/// A duration in nanoseconds; what does not fit (584 years) is cut.
pub fn nanos(duration: Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 2)
}

/// The instant of a reading, for timers.
pub fn instant(at: Nanos) -> Instant {
    *ORIGIN + Duration::from_nanos(at.saturating_sub(1_000_000_000))
}

/// Limits the log lines about events that clients or nodes can cause at will: one line in ten seconds, with
/// the count.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogThrottle {
    /// The earliest time of the next line.
    next_at: Nanos,
    untold: u64,
}

// === impl LogThrottle ===

impl LogThrottle {
    /// Counts an event. Returns the count since the last line, if a line is due now.
    pub fn note(&mut self, now: Nanos) -> Option<u64> {
        self.untold += 1;
        if now < self.next_at {
            return None;
        }
        self.next_at = now + nanos(Duration::from_secs(10));
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_often_is_told_of_seldom_and_nothing_is_left_out() {
        let mut seldom = LogThrottle::default();
        let second = nanos(Duration::from_secs(1));
        let told = [1, 2, 10, 11, 12, 21].map(|at| seldom.note(at * second));
        assert_eq!(told, [Some(1), None, None, Some(3), None, Some(2)]);
    }
}
