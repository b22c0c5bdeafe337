//! The delay before the next attempt to connect: longer each time, and random, so that daemons do not come at
//! once.

use std::time::Duration;

use tokio::time::{self, Instant};

/// Delays that double from `min` to `max`, each cut at random to between half and all of it, so that many
/// daemons do not come back to a node at the same instant. And a pause of `min` from one success to the next
/// attempt, so that a node which greets and closes the connection is not connected to at full speed.
#[derive(Clone, Debug)]
pub(in crate::upstream) struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
    failing: bool,
    not_before: Option<Instant>,
}

// === impl Backoff ===

impl Backoff {
    /// Delays from `min` to `max`.
    pub(in crate::upstream) fn new(min: Duration, max: Duration) -> Backoff {
        Backoff { min, max, next: min, failing: false, not_before: None }
    }

    /// The delay before the next attempt.
    pub(in crate::upstream) fn next_delay(&mut self) -> Duration {
        self.failing = true;
        // A delay takes the place of the pause.
        self.not_before = None;
        let whole = self.next;
        self.next = (whole * 2).min(self.max);
        whole.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// Notes that an attempt succeeded: the next delay is `min` again.
    pub(in crate::upstream) fn reset(&mut self) {
        (self.next, self.failing) = (self.min, false);
        self.not_before = Some(Instant::now() + self.min);
    }

    /// Waits until `min` has passed since an attempt succeeded, if none was made since.
    pub(in crate::upstream) async fn pause(&mut self) {
        if let Some(instant) = self.not_before.take() {
            time::sleep_until(instant).await;
        }
    }

    /// Whether an attempt failed before, and none has succeeded since: what was logged then need not be
    /// logged again.
    pub(in crate::upstream) fn is_failing(&self) -> bool {
        self.failing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_bound_with_jitter() {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_millis(400));
        for whole in [50, 100, 200, 400, 400] {
            let delay = backoff.next_delay();
            let whole = Duration::from_millis(whole);
            assert!(delay >= whole / 2 && delay <= whole, "{delay:?} of {whole:?}");
        }
        assert!(backoff.is_failing());
        backoff.reset();
        assert!(!backoff.is_failing());
        assert!(backoff.next_delay() <= Duration::from_millis(50));
    }

    #[tokio::test(start_paused = true)]
    async fn from_one_success_to_the_next_attempt_is_a_pause() {
        let (min, began) = (Duration::from_millis(50), Instant::now());
        let mut backoff = Backoff::new(min, min);
        backoff.pause().await;
        assert_eq!(began.elapsed(), Duration::ZERO, "nothing came before the first attempt");
        backoff.reset();
        time::advance(min / 2).await;
        backoff.pause().await;
        assert_eq!(began.elapsed(), min);
        backoff.pause().await;
        assert_eq!(began.elapsed(), min, "an attempt that failed has its own delay");
        backoff.reset();
        time::advance(min * 2).await;
        backoff.pause().await;
        assert_eq!(began.elapsed(), min * 3, "a connection that lasted is made anew at once");
    }
}
