//! What has become of one slot's part of a transaction.

use std::rc::Rc;

use bytes::Bytes;

use super::exec_reply::replies_in;
use crate::protocol::key::KeySlots;
use crate::protocol::resp::{Resp, encode};
use crate::router::coverage::Coverage;
use crate::router::replies::{failure_reply, odd_reply};
use crate::upstream::Outcome;

/// How the error of a node begins that carries out nothing of a transaction.
const DISCARDED: &[u8] = b"-EXECABORT Transaction discarded because of";

/// What has become of a part.
pub(super) struct PartOutcome {
    pub(super) slots: KeySlots,
    /// How many commands are in it.
    pub(super) count: usize,
    pub(super) outcome: Outcome,
    /// Whether changes of what it read will be pushed; `None` if the client does not track it.
    pub(super) coverage: Option<Rc<Coverage>>,
}

// === impl PartOutcome ===

impl PartOutcome {
    /// Whether it was executed.
    pub(super) fn is_executed(&self) -> bool {
        self.replies().is_ok()
    }

    /// Whether anything of it may have been executed.
    pub(super) fn may_have_run(&self) -> bool {
        match &self.outcome {
            Ok(reply) => !reply.frame.starts_with(DISCARDED),
            Err(failure) => !failure.is_of_unsent(),
        }
    }

    /// The error of the part, as that of a whole transaction.
    pub(super) fn error_of_all(&self) -> Option<Bytes> {
        match &self.outcome {
            Ok(reply) => self.replies().is_err().then(|| reply.frame.clone()),
            Err(failure) => Some(failure_reply(failure)),
        }
    }

    /// The replies to its commands; otherwise the reply to each of them.
    pub(super) fn replies(&self) -> Result<impl Iterator<Item = Bytes>, Bytes> {
        match &self.outcome {
            Ok(reply) => {
                replies_in(&reply.frame, self.count, Resp::Three).map_err(|error| self.error_of_part(&error))
            }
            Err(failure) => Err(failure_reply(failure)),
        }
    }

    fn error_of_part(&self, error: &Bytes) -> Bytes {
        match (error.strip_prefix(DISCARDED), self.slots.one()) {
            (Some(cause), Some(slot)) => {
                let cause = String::from_utf8_lossy(cause.trim_ascii_end());
                encode::error_reply(format!(
                    "EXECABORT nearside: the transaction's part on slot {slot} was not executed: {}",
                    cause.trim_start_matches([':', ' '])
                ))
            }
            _ => odd_reply("EXEC", error),
        }
    }
}
