//! What the store let go, for the hot set of a worker, which is to let go of it as well.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::sync::Notify;

/// So many hashes are remembered; of more, that it was anything.
pub(super) const GONE_MAX: usize = 1_024;

/// What one worker was not told yet.
#[derive(Debug, Default)]
pub(super) struct Gone {
    hashes: Mutex<Vec<u64>>,
    /// How many there are, to be looked at without the lock.
    count: AtomicUsize,
    /// The list is half full, and the worker may be idle.
    many: Notify,
}

/// The workers that are told.
#[derive(Debug, Default)]
pub(super) struct Listeners(RwLock<Vec<Arc<Gone>>>);

/// What has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken<'a> {
    /// The entries with these hashes.
    Some(&'a [u64]),
    /// So many that it may be any.
    All,
}

// === impl Listeners ===

impl Listeners {
    /// One more worker.
    pub(super) fn add(&self) -> Arc<Gone> {
        let gone = Arc::<Gone>::default();
        self.0.write().unwrap_or_else(PoisonError::into_inner).push(gone.clone());
        gone
    }

    /// Tells every worker.
    pub(super) fn each(&self, tell: impl Fn(&Gone)) {
        // Nobody panics while holding it.
        self.0.read().unwrap_or_else(PoisonError::into_inner).iter().for_each(|gone| tell(gone));
    }
}

// === impl Gone ===

impl Gone {
    /// The store has let the entry with this hash go. Called from any thread.
    pub(super) fn note(&self, hash: u64) {
        let mut hashes = self.lock();
        if hashes.len() < GONE_MAX {
            hashes.push(hash);
            self.count.store(hashes.len(), Ordering::Relaxed);
        }
        if hashes.len() == GONE_MAX / 2 {
            self.many.notify_one();
        }
    }

    /// The store has let everything go.
    pub(super) fn note_all(&self) {
        let mut hashes = self.lock();
        hashes.resize(GONE_MAX, 0);
        self.count.store(GONE_MAX, Ordering::Relaxed);
        self.many.notify_one();
    }

    /// Waits until there is much to let go.
    pub(super) async fn many(&self) {
        self.many.notified().await;
    }

    /// Gives what has gone since the last time, if anything has.
    #[inline]
    pub(super) fn take(&self, let_go: impl FnOnce(Taken<'_>)) {
        if self.count.load(Ordering::Relaxed) > 0 {
            self.take_some(let_go);
        }
    }

    #[cold]
    fn take_some(&self, let_go: impl FnOnce(Taken<'_>)) {
        let hashes = std::mem::take(&mut *self.lock());
        self.count.store(0, Ordering::Relaxed);
        let_go(if hashes.len() < GONE_MAX { Taken::Some(&hashes) } else { Taken::All });
    }

    /// Nobody panics while holding it.
    fn lock(&self) -> MutexGuard<'_, Vec<u64>> {
        self.hashes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(gone: &Gone) -> Option<Result<Vec<u64>, ()>> {
        let mut taken = None;
        gone.take(|some| {
            taken = Some(match some {
                Taken::Some(hashes) => Ok(hashes.to_vec()),
                Taken::All => Err(()),
            });
        });
        taken
    }

    #[tokio::test]
    async fn only_so_many_hashes_are_remembered_and_then_that_it_may_be_any() {
        let gone = Gone::default();
        assert_eq!(taken(&gone), None);
        gone.note(7);
        assert_eq!(taken(&gone), Some(Ok(vec![7])));
        assert_eq!(taken(&gone), None);
        (0..GONE_MAX as u64 * 2).for_each(|hash| gone.note(hash));
        gone.many().await;
        assert_eq!(taken(&gone), Some(Err(())));
        gone.note_all();
        gone.many().await;
        assert_eq!(taken(&gone), Some(Err(())));
        assert_eq!(taken(&gone), None);
    }
}
