//! Read your writes (I6): what a session has written and has not been answered for yet, and what else keeps its order.
//!
//! While a write is on its way, another worker may still bring the older value into L1, and rightly so. The session
//! itself must not read that: its reads of such a key go upstream, behind the write.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use super::written::Written;
use crate::key::Slot;
use crate::near_cache::SharedCache;

/// The unanswered writes of one session. Bounded by the answers that a session may wait for.
#[derive(Debug, Default)]
pub struct OwnWrites {
    keys: RefCell<HashMap<Bytes, u32>>,
    /// Writes that may touch any key.
    of_anything: Cell<u32>,
    /// Where anything was written so far, answered or not.
    written: Written,
    /// How often something was sent upstream for the session.
    sent: Cell<u64>,
    /// The answer to the request that everything else of the session waited for.
    answer: RefCell<Option<Bytes>>,
    /// The request at hand has waited for what it had to wait for.
    waited: Cell<bool>,
}

/// A write on its way. Its keys are dropped from L1 when it begins and again when it ends.
#[derive(Debug)]
pub(super) struct OwnWrite {
    session: Rc<OwnWrites>,
    keys: Vec<Bytes>,
    of_anything: bool,
    cache: Option<Arc<SharedCache>>,
}

// === impl OwnWrites ===

impl OwnWrites {
    /// Something is sent upstream for the session.
    pub(super) fn note_sent(&self) {
        self.sent.update(|count| count + 1);
    }

    /// A number that is another one once something more was sent upstream for the session.
    pub(super) fn sent(&self) -> u64 {
        self.sent.get()
    }

    /// The request that the session will show again has waited.
    pub(super) fn note_waited(&self) {
        self.waited.set(true);
    }

    /// Whether the request at hand has waited already.
    pub(super) fn take_waited(&self) -> bool {
        self.waited.take()
    }

    /// Keeps the answer to a request that the session will show again.
    pub(super) fn put_answer(&self, answer: Bytes) {
        *self.answer.borrow_mut() = Some(answer);
    }

    /// The answer to a request that was shown before.
    pub(super) fn take_answer(&self) -> Option<Bytes> {
        self.answer.borrow_mut().take()
    }

    /// Whether a read of `key` must go behind a write of this session.
    #[inline]
    pub fn touch(&self, key: &[u8]) -> bool {
        self.of_anything.get() > 0 || !self.keys.borrow().is_empty() && self.keys.borrow().contains_key(key)
    }

    /// The slots that the session may have written to since it began.
    pub(super) fn written(&self) -> impl Iterator<Item = Slot> {
        self.written.slots()
    }
}

// === impl OwnWrite ===

impl OwnWrite {
    /// Begins a write of `keys`: from here on no running fill of them commits, and nobody joins one.
    pub(super) fn begin(
        session: &Rc<OwnWrites>,
        keys: Vec<Bytes>,
        cache: Option<Arc<SharedCache>>,
    ) -> OwnWrite {
        for key in &keys {
            *session.keys.borrow_mut().entry(key.clone()).or_insert(0) += 1;
            session.written.note(Slot::of(key));
        }
        let write = OwnWrite { session: session.clone(), keys, of_anything: false, cache };
        write.invalidate();
        write
    }

    /// The write may touch keys that it does not name.
    pub(super) fn of_anything(self) -> OwnWrite {
        if self.keys.is_empty() {
            self.session.written.note_all();
        }
        self.before_all_reads()
    }

    /// All reads of the session go upstream until this has ended.
    pub(super) fn before_all_reads(mut self) -> OwnWrite {
        self.of_anything = true;
        self.session.of_anything.update(|count| count + 1);
        self
    }

    fn invalidate(&self) {
        if let Some(cache) = &self.cache {
            for key in &self.keys {
                cache.invalidate_key(key);
            }
        }
    }
}

impl Drop for OwnWrite {
    /// The write has been answered, or failed, or its session is over: whatever was read meanwhile may be older.
    fn drop(&mut self) {
        self.invalidate();
        let mut counts = self.session.keys.borrow_mut();
        for key in &self.keys {
            if let Some(count) = counts.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(key);
                }
            }
        }
        if self.of_anything {
            self.session.of_anything.update(|count| count - 1);
        }
    }
}
