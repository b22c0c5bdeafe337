//! The state of one node's BCAST connection, for the readers of L1 that depend on it.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::node::Epoch;

/// Prefixes of keys in order, none of which begins with another one. Empty when nothing is listened to.
pub type BcastPrefixes = Arc<[Bytes]>;

/// The state of one node's BCAST connection.
#[derive(Debug)]
pub(super) struct BcastState {
    pub(super) prefixes: BcastPrefixes,
    state: Mutex<BcastEpoch>,
    /// Notified when a reader waits for a fence.
    pub(super) wanted: Notify,
    /// The fences that were answered: all up to this number.
    answered: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct BcastEpoch {
    /// The `run_id` of the process at the other end and the epoch, while the connection is trusted.
    current: Option<(Arc<str>, Epoch)>,
    /// The fences that were asked for.
    asked: u64,
}

/// Whether BCAST tracking of `prefixes` covers `key`: one of them is a prefix of it.
pub(super) fn covers(prefixes: &[Bytes], key: &[u8]) -> bool {
    // Whatever sorts between a prefix of the key and the key begins with that prefix, and none of them does.
    let behind = prefixes.partition_point(|prefix| **prefix <= *key);
    behind.checked_sub(1).is_some_and(|at| key.starts_with(&prefixes[at]))
}

// === impl BcastState ===

impl BcastState {
    /// The state before the connection is up.
    pub(super) fn new(prefixes: BcastPrefixes) -> BcastState {
        BcastState {
            prefixes,
            state: Mutex::default(),
            wanted: Notify::new(),
            answered: watch::Sender::new(0),
        }
    }

    /// Whether the connection is trusted at present.
    pub(super) fn is_armed(&self) -> bool {
        self.state.lock().current.is_some()
    }

    /// The epoch, if the process at the other end is the one with this `run_id`.
    pub(super) fn epoch(&self, run_id: &str) -> Option<Epoch> {
        let state = self.state.lock();
        let (of, epoch) = state.current.as_ref()?;
        (**of == *run_id && !run_id.is_empty()).then(|| epoch.clone())
    }

    /// Waits until all that the node has pushed by now was received, or the connection is not trusted any
    /// more.
    pub(super) async fn await_fence(&self) {
        let number = {
            let mut state = self.state.lock();
            if state.current.is_none() {
                return;
            }
            state.asked += 1;
            state.asked
        };
        self.wanted.notify_one();
        // The sender is right here.
        let _ = self.answered.subscribe().wait_for(|answered| *answered >= number).await;
    }

    /// Sets the epoch in which the connection is trusted, or ends it: then nothing depends on pushes that
    /// were missed.
    pub(super) fn set(&self, current: Option<(Arc<str>, Epoch)>) {
        let mut state = self.state.lock();
        let deaf = current.is_none();
        if let Some((_, former)) = std::mem::replace(&mut state.current, current)
            && deaf
        {
            former.end();
        }
        if deaf {
            self.answer(state.asked);
        }
    }

    /// The latest fence, if it was not answered.
    pub(super) fn unanswered(&self) -> Option<u64> {
        let asked = self.state.lock().asked;
        (asked > *self.answered.borrow()).then_some(asked)
    }

    /// Notes that the fence `number` was answered.
    pub(super) fn answer(&self, number: u64) {
        self.answered.send_if_modified(|answered| {
            let news = number > *answered;
            *answered = number.max(*answered);
            news
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn prefixes(of: &[&'static str]) -> BcastPrefixes {
        of.iter().map(|prefix| Bytes::from_static(prefix.as_bytes())).collect()
    }

    #[test]
    fn a_key_is_covered_by_the_prefix_that_it_begins_with() {
        let armed = prefixes(&["a", "b:", "b;1"]);
        for (key, wanted) in [
            ("a", true),
            ("abc", true),
            ("b", false),
            ("b:x", true),
            ("b;", false),
            ("b;12", true),
            ("c", false),
        ] {
            assert_eq!(covers(&armed, key.as_bytes()), wanted, "{key}");
        }
        assert!(!covers(&[], b"a"));
        assert!(covers(&[Bytes::new()], b""));
    }

    #[test]
    fn an_epoch_is_of_one_process_and_ends_with_the_trust_in_it() {
        let state = BcastState::new(prefixes(&["a"]));
        assert!(state.epoch("x").is_none());
        let epoch = Epoch::begin(100);
        state.set(Some(("x".into(), epoch.clone())));
        assert!(state.epoch("x").is_some() && state.epoch("y").is_none());
        state.set(None);
        assert!(state.epoch("x").is_none() && !epoch.is_live(1), "I4");
        state.set(Some(("".into(), Epoch::begin(100))));
        assert!(state.epoch("").is_none(), "who does not say who it is may be another one");
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_waits_until_all_was_heard_or_nothing_depends_on_it() {
        let state = Arc::new(BcastState::new(prefixes(&["a"])));
        state.await_fence().await;
        assert_eq!(state.unanswered(), None, "nobody listens");
        state.set(Some(("x".into(), Epoch::begin(100))));
        for last in [false, true] {
            let asking = state.clone();
            let mut asker = tokio::spawn(async move { asking.await_fence().await });
            assert!(timeout(Duration::from_secs(9), &mut asker).await.is_err());
            let number = state.unanswered().unwrap();
            if last {
                state.set(None)
            } else {
                state.answer(number)
            }
            asker.await.unwrap();
            assert_eq!(state.unanswered(), None);
        }
    }
}
