//! How long an exchange with a node may take: a large request or reply may take longer than others while it
//! arrives at a minimum rate, up to a maximum time.

use std::time::Duration;

use crate::clock::{self, Nanos};

/// The bounds of one exchange.
#[derive(Clone, Copy, Debug)]
pub struct TransferLimits {
    /// How long it may take while nothing arrives.
    pub stall_timeout: Duration,
    /// Bytes a second that have to arrive for it to take longer, measured over that time; at least 1.
    pub rate_min: u64,
    /// How long it may take in any case.
    pub time_max: Duration,
}

/// How far large requests and replies have come on one connection, in both directions.
///
/// Each byte extends the deadline by the time that it may take at the minimum rate. So a trickle extends it
/// by nearly nothing, and a node that pauses for less than `stall_timeout` and then makes up for it is not
/// overdue.
#[derive(Debug, Default)]
pub(in crate::upstream) struct TransferProgress {
    paid_until: Nanos,
}

// === impl TransferProgress ===

impl TransferProgress {
    /// Counts bytes of something that is not whole yet.
    pub(in crate::upstream) fn moved(&mut self, bytes: u64, now: Nanos, limits: &TransferLimits) {
        // Before that nothing was on its way, or it is overdue.
        let from = self.paid_until.max(now.saturating_sub(clock::nanos(limits.stall_timeout)));
        let paid = bytes.saturating_mul(1_000_000_000) / limits.rate_min.max(1);
        self.paid_until = from.saturating_add(paid).min(now);
    }

    /// Notes that something whole has arrived: earlier bytes count no more.
    pub(in crate::upstream) fn moved_whole(&mut self, now: Nanos) {
        self.paid_until = now;
    }

    /// When an exchange that began at `began` is overdue, unless more arrives.
    pub(in crate::upstream) fn deadline(&self, began: Nanos, limits: &TransferLimits) -> Nanos {
        let stall_timeout = clock::nanos(limits.stall_timeout);
        (began.max(self.paid_until) + stall_timeout).min(ceiling(began, limits))
    }

    /// The setting that an exchange exceeded which began at `began`, had begun to arrive and is overdue at
    /// `now`.
    pub(in crate::upstream) fn exceeded(began: Nanos, now: Nanos, limits: &TransferLimits) -> &'static str {
        if now >= ceiling(began, limits) { "upstream_request_time_max" } else { "upstream_rate_min" }
    }
}

/// When the exchange is overdue, whatever arrives.
fn ceiling(began: Nanos, limits: &TransferLimits) -> Nanos {
    began.saturating_add(clock::nanos(limits.time_max))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Nanos = 1_000_000_000;
    const LIMITS: TransferLimits = TransferLimits {
        stall_timeout: Duration::from_secs(5),
        rate_min: 1_000,
        time_max: Duration::from_secs(60),
    };

    /// When it is overdue, in milliseconds from its begin, if so many bytes come each so many milliseconds.
    fn overdue(bytes: u64, every: u64) -> Nanos {
        let (began, mut transfer) = (1_000 * SECOND, TransferProgress::default());
        let mut now = began;
        while now < transfer.deadline(began, &LIMITS) {
            now += every * 1_000_000;
            if now < transfer.deadline(began, &LIMITS) {
                transfer.moved(bytes, now, &LIMITS);
            }
        }
        (transfer.deadline(began, &LIMITS) - began) / 1_000_000
    }

    #[test]
    fn a_trickle_is_overdue_about_as_soon_as_silence() {
        for (every, latest) in [(100, 5_100), (900, 5_010), (4_000, 5_010)] {
            let overdue = overdue(1, every);
            assert!((5_000..latest).contains(&overdue), "a byte each {every} ms: {overdue}");
        }
        assert_eq!(overdue(0, 1_000), 5_000);
        assert!(overdue(900, 1_000) < 60_000, "a little less than the least rate, and never made up for");
    }

    #[test]
    fn what_comes_along_at_the_least_rate_has_time_up_to_the_ceiling() {
        for (bytes, every) in [(1_001, 1_000), (101, 100), (4_600, 4_500), (1_000_000, 100)] {
            assert_eq!(overdue(bytes, every), 60_000, "{bytes} bytes each {every} ms");
        }
    }

    #[test]
    fn much_at_once_pays_for_no_time_to_come() {
        let (began, mut transfer) = (1_000 * SECOND, TransferProgress::default());
        transfer.moved(500_000_000, began + SECOND, &LIMITS);
        assert_eq!(transfer.deadline(began, &LIMITS), began + 6 * SECOND, "it stands still from then on");
    }

    #[test]
    fn the_bound_that_was_met_is_named() {
        assert_eq!(TransferProgress::exceeded(0, 59 * SECOND, &LIMITS), "upstream_rate_min");
        assert_eq!(TransferProgress::exceeded(0, 60 * SECOND, &LIMITS), "upstream_request_time_max");
    }
}
