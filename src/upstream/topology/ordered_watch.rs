//! A value that changes now and then. Tasks that wait for a change are woken in the order in which they came.
//!
//! Tokio's `watch` wakes them in an order that it draws, so that no run of the simulator would be like
//! another.

use parking_lot::Mutex;
use tokio::sync::Notify;

/// The value, and how often it has changed.
#[derive(Debug)]
pub(in crate::upstream) struct OrderedWatch<T> {
    latest: Mutex<(u64, T)>,
    changed: Notify,
}

/// A reader of the value.
#[derive(Debug)]
pub(in crate::upstream) struct OrderedReceiver<'a, T> {
    news: &'a OrderedWatch<T>,
    /// The change that it has seen last.
    seen: u64,
}

// === impl OrderedWatch ===

impl<T: Clone> OrderedWatch<T> {
    pub(in crate::upstream) fn new(value: T) -> OrderedWatch<T> {
        OrderedWatch { latest: Mutex::new((0, value)), changed: Notify::new() }
    }

    pub(in crate::upstream) fn latest(&self) -> T {
        self.latest.lock().1.clone()
    }

    /// Replaces the value and wakes all, unless `change` says that there is nothing new.
    pub(in crate::upstream) fn send_if(&self, change: impl FnOnce(&T) -> Option<T>) {
        let mut latest = self.latest.lock();
        let Some(value) = change(&latest.1) else { return };
        *latest = (latest.0 + 1, value);
        drop(latest);
        self.changed.notify_waiters();
    }

    /// A reader that has seen the present value.
    pub(in crate::upstream) fn reader(&self) -> OrderedReceiver<'_, T> {
        OrderedReceiver { news: self, seen: self.latest.lock().0 }
    }
}

// === impl OrderedReceiver ===

impl<T: Clone> OrderedReceiver<'_, T> {
    /// The value now, which it has seen from here on.
    pub(in crate::upstream) fn latest(&mut self) -> T {
        let latest = self.news.latest.lock();
        self.seen = latest.0;
        latest.1.clone()
    }

    /// Waits until there is a value that it has not seen. Nothing is lost when the wait is given up.
    pub(in crate::upstream) async fn changed(&mut self) {
        loop {
            // It counts as waiting from here on, so no change after the look is missed.
            let changed = self.news.changed.notified();
            let number = self.news.latest.lock().0;
            if self.seen != number {
                self.seen = number;
                return;
            }
            changed.await;
        }
    }

    /// Waits until `is_it` says so of the value.
    pub(in crate::upstream) async fn wait_for(&mut self, is_it: impl Fn(&T) -> bool) {
        while !is_it(&self.latest()) {
            self.changed().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_told_is_heard_once() {
        let news = OrderedWatch::new(0);
        let mut reader = news.reader();
        let soon = Duration::from_secs(1);
        assert!(timeout(soon, reader.changed()).await.is_err());
        news.send_if(|_| None);
        assert!(timeout(soon, reader.changed()).await.is_err(), "nothing new was told");
        news.send_if(|value| Some(value + 1));
        reader.changed().await;
        assert!(timeout(soon, reader.changed()).await.is_err(), "it was heard already");
        let told = async {
            tokio::time::sleep(soon).await;
            news.send_if(|value| Some(value + 1));
        };
        tokio::join!(reader.wait_for(|value| *value == 2), told);
        assert_eq!(news.latest(), 2);
    }
}
