//! The drain: signals all tasks to stop, waits until they have, and signals those that have not that the time
//! is over.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// A signal that is sent once and reaches every clone, on every worker. A task that has something to finish
/// holds a [`DrainGuard`] until it is done.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    /// Whether `signal` was cancelled, without its lock. Set before it.
    begun: Arc<AtomicBool>,
    signal: CancellationToken,
    /// The drain timeout is over.
    over: CancellationToken,
    running: TaskTracker,
}

/// Held by a task that has to end before the daemon may.
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

    /// Begins the drain: tasks finish what runs and take nothing new. Does nothing the second time.
    pub fn begin(&self) {
        self.begun.store(true, Ordering::Release);
        self.signal.cancel();
        self.running.close();
    }

    /// Whether the drain has begun. It is true before [`Drain::begun`] wakes a task.
    #[inline]
    pub fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }

    /// Ends when the drain begins.
    pub fn begun(&self) -> impl Future<Output = ()> + '_ {
        self.signal.cancelled()
    }

    /// Signals all running tasks that the drain timeout is over.
    pub fn expire(&self) {
        self.over.cancel();
    }

    /// Whether the drain timeout is over. Takes a lock.
    pub fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    /// Ends when the drain timeout is over.
    pub fn over(&self) -> impl Future<Output = ()> + '_ {
        self.over.cancelled()
    }

    /// A guard that the caller holds until its work has ended.
    pub fn running(&self) -> DrainGuard {
        DrainGuard { _token: self.running.token() }
    }

    /// How many guards are held.
    pub fn running_count(&self) -> usize {
        self.running.len()
    }

    /// Waits until the drain has begun and all guards are dropped, at most for `timeout`; returns whether
    /// they are.
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
