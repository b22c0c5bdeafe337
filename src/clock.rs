//! Time as the daemon counts it: nanoseconds of the monotonic clock, small enough to stand in an atomic.
//!
//! Cores take `now` as an argument. The clock is read once for each batch of requests: everything in the batch had
//! been sent by then, so an answer that was right at that instant is right.

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
