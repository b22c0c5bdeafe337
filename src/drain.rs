//! Draining: tell all to stop, know when all have, and tell those that have not that they are not waited for
//! any more.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Told once, heard by all who hold a clone, on whichever worker they run. Who has something to finish holds
/// a [`DrainGuard`] until it is done.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    /// Whether `told` was cancelled, without its lock. Set before it.
    begun: Arc<AtomicBool>,
    told: CancellationToken,
    /// The time for it is over.
    over: CancellationToken,
    running: TaskTracker,
}

/// Held by whoever has to end before the daemon may.
#[derive(Debug)]
pub struct DrainGuard {
    _token: TaskTrackerToken,
}

// === impl Drain ===

impl Drain {
    /// A drain that has not begun.
    pub fn new() -> Drain {
        Drain::default()
    }

    /// Tells all to finish what runs and to take nothing new. Does nothing the second time.
    pub fn begin(&self) {
        self.begun.store(true, Ordering::Release);
        self.told.cancel();
        self.running.close();
    }

    /// Whether the drain has begun. Who waits for [`Drain::begun`] is woken after this is so.
    #[inline]
    pub fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }

    /// Ends when the drain begins.
    pub fn begun(&self) -> impl Future<Output = ()> + '_ {
        self.told.cancelled()
    }

    /// Tells all that are still running that the time for what they had to finish is over.
    pub fn expire(&self) {
        self.over.cancel();
    }

    /// Whether the time for it is over. Takes a lock.
    pub fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    /// Ends when the time for it is over.
    pub fn over(&self) -> impl Future<Output = ()> + '_ {
        self.over.cancelled()
    }

    /// To be held until what the caller does has ended.
    pub fn running(&self) -> DrainGuard {
        DrainGuard { _token: self.running.token() }
    }

    /// How many are running.
    pub fn running_count(&self) -> usize {
        self.running.len()
    }

    /// Waits until the drain has begun and all have ended, at most for `timeout`; says whether they have.
    pub async fn finished(&self, timeout: Duration) -> bool {
        tokio::time::timeout(timeout, self.running.wait()).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_drain_is_finished_once_the_last_has_ended() {
        let drain = Drain::new();
        let running = drain.running();
        assert!(!drain.has_begun());
        drain.begin();
        drain.begin();
        drain.clone().begun().await;
        assert!(!drain.finished(SECOND).await, "one is still running");
        assert_eq!(drain.running_count(), 1);
        drop(running);
        assert!(drain.finished(SECOND).await);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_running_is_no_drain() {
        assert!(!Drain::new().finished(SECOND).await);
    }
}
