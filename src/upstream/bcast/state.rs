//! What the connection that listens to a node has heard, for those who depend on it.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::node::Epoch;

/// Prefixes of keys in order, none of which begins with another one. Empty when nothing is listened to.
pub type BcastPrefixes = Arc<[Bytes]>;

/// How one node is listened to.
#[derive(Debug)]
pub(super) struct BcastState {
    prefixes: BcastPrefixes,
    state: Mutex<BcastEpoch>,
    /// Somebody asks whether all was heard.
    pub(super) wanted: Notify,
    /// Which of those questions were answered: all up to this number.
    answered: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct BcastEpoch {
    /// Who is listened to and in which epoch, while that is trusted.
    hearing: Option<(Arc<str>, Epoch)>,
    /// How often somebody has asked whether all was heard.
    asked: u64,
}

/// Whether whoever tells of all keys with `prefixes` tells of those that begin with `key`.
pub(super) fn covers(prefixes: &[Bytes], key: &[u8]) -> bool {
    // What stands between a prefix of the key and the key in their order begins with that prefix, and none of
    // them does.
    let behind = prefixes.partition_point(|prefix| **prefix <= *key);
    behind.checked_sub(1).is_some_and(|at| key.starts_with(&prefixes[at]))
}

// === impl Ear ===

impl BcastState {
    /// One that hears nothing yet, and is to hear of these prefixes.
    pub(super) fn new(prefixes: BcastPrefixes) -> BcastState {
        BcastState {
            prefixes,
            state: Mutex::default(),
            wanted: Notify::new(),
            answered: watch::Sender::new(0),
        }
    }

    pub(super) fn prefixes(&self) -> &BcastPrefixes {
        &self.prefixes
    }

    /// Whether the node tells of changes of `key`.
    pub(super) fn covers(&self, key: &[u8]) -> bool {
        covers(&self.prefixes, key)
    }

    /// Whether all that the node says is heard at present.
    pub(super) fn is_armed(&self) -> bool {
        self.state.lock().hearing.is_some()
    }

    /// The epoch, if it is `run_id` who is listened to.
    pub(super) fn epoch(&self, run_id: &str) -> Option<Epoch> {
        let state = self.state.lock();
        let (heard, epoch) = state.hearing.as_ref()?;
        (**heard == *run_id && !run_id.is_empty()).then(|| epoch.clone())
    }

    /// Waits until all that the node has said by now was heard, or it is not trusted any more.
    pub(super) async fn await_fence(&self) {
        let number = {
            let mut state = self.state.lock();
            if state.hearing.is_none() {
                return;
            }
            state.asked += 1;
            state.asked
        };
        self.wanted.notify_one();
        // The sender is right here.
        let _ = self.answered.subscribe().wait_for(|answered| *answered >= number).await;
    }

    /// The node is trusted from here on, in this epoch, or not any more: then nothing depends on what was not
    /// heard.
    pub(super) fn set(&self, hearing: Option<(Arc<str>, Epoch)>) {
        let mut state = self.state.lock();
        let deaf = hearing.is_none();
        if let Some((_, former)) = std::mem::replace(&mut state.hearing, hearing)
            && deaf
        {
            former.end();
        }
        if deaf {
            self.answer(state.asked);
        }
    }

    /// The latest question, if it was not answered.
    pub(super) fn unanswered(&self) -> Option<u64> {
        let asked = self.state.lock().asked;
        (asked > *self.answered.borrow()).then_some(asked)
    }

    /// All that the node had said when question `number` was asked was heard.
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
        let ear = BcastState::new(prefixes(&["a"]));
        assert!(ear.epoch("x").is_none());
        let epoch = Epoch::begin(100);
        ear.set(Some(("x".into(), epoch.clone())));
        assert!(ear.epoch("x").is_some() && ear.epoch("y").is_none());
        ear.set(None);
        assert!(ear.epoch("x").is_none() && !epoch.is_live(1), "I4");
        ear.set(Some(("".into(), Epoch::begin(100))));
        assert!(ear.epoch("").is_none(), "who does not say who it is may be another one");
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_waits_until_all_was_heard_or_nothing_depends_on_it() {
        let ear = Arc::new(BcastState::new(prefixes(&["a"])));
        ear.await_fence().await;
        assert_eq!(ear.unanswered(), None, "nobody listens");
        ear.set(Some(("x".into(), Epoch::begin(100))));
        for last in [false, true] {
            let asking = ear.clone();
            let mut asker = tokio::spawn(async move { asking.await_fence().await });
            assert!(timeout(Duration::from_secs(9), &mut asker).await.is_err());
            let number = ear.unanswered().unwrap();
            if last {
                ear.set(None)
            } else {
                ear.answer(number)
            }
            asker.await.unwrap();
            assert_eq!(ear.unanswered(), None);
        }
    }
}
