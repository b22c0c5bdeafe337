//! The slots of what was queued since MULTI.

use super::part::NotAPart;
use crate::protocol::key::KeySlots;

/// The slots of all keys that a transaction has so far, with those that are watched for it.
#[derive(Clone, Copy, Debug, Default)]
pub struct QueuedSlots {
    all: KeySlots,
    is_watched: bool,
}

// === impl QueuedSlots ===

impl QueuedSlots {
    /// Those of a new transaction: `watched` are the slots of what is watched for it. Keys are watched on one
    /// node, and that is where the transaction will go.
    pub fn watching(watched: KeySlots) -> QueuedSlots {
        QueuedSlots { all: watched, is_watched: watched != KeySlots::None }
    }

    /// All of them.
    pub fn all(self) -> KeySlots {
        self.all
    }

    /// Adds the slots of one more command in front of one server, which takes any.
    pub(super) fn add(&mut self, own: KeySlots) {
        self.all = self.all.and(own);
    }

    /// Adds the slots of one more command in front of a cluster, where several are allowed if `per_slot`.
    ///
    /// # Errors
    /// The command cannot be carried out together with those before it.
    pub(super) fn add_in_cluster(&mut self, own: KeySlots, per_slot: bool) -> Result<(), NotAPart> {
        match self.all.and(own) {
            KeySlots::Several if self.is_watched => Err(NotAPart::WatchedCross),
            KeySlots::Several if !per_slot => Err(NotAPart::OthersCross),
            all => {
                self.all = all;
                Ok(())
            }
        }
    }
}
