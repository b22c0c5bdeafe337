//! Waits on dedicated connections, and how they are ended early without losing what a node may have given
//! already.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::time;

use crate::clients::block_state::CancelReason;
use crate::protocol::resp::{cursor, encode};
use crate::router::context::RouterContext;
use crate::upstream::{Call, Dedicated, Right, UpstreamError};

/// How long to wait before a node is asked once more to end a wait. It may not have begun the wait at the
/// first time: the two commands take different connections.
const UNBLOCK_AGAIN: Duration = Duration::from_millis(10);

/// A request that a node carries out at its own pace.
#[derive(Debug)]
pub(super) struct BlockedCall {
    dedicated: Dedicated,
    outcome: Option<Result<Bytes, UpstreamError>>,
    /// A CLIENT UNBLOCK for it may still be on its way, and must not end a later blocking command on this
    /// connection.
    unblock_pending: bool,
}

/// What ended a blocking command that the nodes did not end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndedBy {
    /// CLIENT UNBLOCK.
    Unblock,
    /// The end of the daemon.
    Stop,
    /// The client, which is gone.
    Client,
}

// === impl BlockedCall ===

impl BlockedCall {
    /// Sends `request` on `dedicated`; its reply may take for ever.
    pub(super) fn begin(mut dedicated: Dedicated, request: &Bytes) -> BlockedCall {
        dedicated.enqueue(request, 1);
        BlockedCall { dedicated, outcome: None, unblock_pending: false }
    }

    /// Waits for the reply. Nothing is lost when the wait is given up and begun again.
    pub(super) async fn wait(&mut self) {
        if self.outcome.is_none() {
            self.outcome = Some(self.dedicated.reply().await);
        }
    }

    /// Whether there is a reply, or none will come.
    pub(super) fn has_ended(&self) -> bool {
        self.outcome.is_some()
    }

    /// The connection, if it is in order, is there for others from here on; a wait that was given up closes
    /// it.
    pub(super) fn finish(self) -> Result<Bytes, UpstreamError> {
        match self.outcome {
            Some(Ok(reply)) => {
                if !self.unblock_pending {
                    self.dedicated.give_back();
                }
                Ok(reply)
            }
            Some(Err(failure)) => Err(failure),
            None => {
                let node = self.dedicated.node().clone();
                Err(UpstreamError::Lost { node, cause: "the wait was given up".to_owned() })
            }
        }
    }
}

/// Ends waits on dedicated connections early.
#[derive(Debug)]
pub(super) struct BlockedCalls {
    context: Rc<RouterContext>,
}

// === impl BlockedCalls ===

impl BlockedCalls {
    /// Ends waits at the nodes of `context`.
    pub(super) fn new(context: Rc<RouterContext>) -> BlockedCalls {
        BlockedCalls { context }
    }

    /// Executes `order` on all of `held`: afterwards each has its reply, unless its node does not answer.
    /// Returns what ended the wait.
    pub(super) async fn end(&self, held: &mut [BlockedCall], order: CancelReason) -> EndedBy {
        let error = !matches!(order, CancelReason::Unblock { error: false, .. });
        let unblocked = join_all(held.iter_mut().map(|held| self.unblock(held, error))).await;
        match order {
            CancelReason::Unblock { done, .. } => {
                // The session that ordered it may be gone by now.
                let _ = done.send(unblocked.contains(&true));
                EndedBy::Unblock
            }
            CancelReason::Stop => EndedBy::Stop,
            CancelReason::Abandon => EndedBy::Client,
        }
    }

    /// Has the node end the wait, and takes what it answers: that may be what the wait was for. Whether it
    /// ended the wait.
    async fn unblock(&self, held: &mut BlockedCall, error: bool) -> bool {
        let id = held.dedicated.id().to_string();
        let how = if error { "ERROR" } else { "TIMEOUT" };
        let bytes = encode::request(&["CLIENT", "UNBLOCK", &id, how]);
        let until = time::Instant::now() + self.context.settings.request_timeout;
        while held.outcome.is_none() && time::Instant::now() < until {
            let call = Call::without_keys(bytes.clone(), false);
            let mut outcome = self.context.upstream.send_to_known(held.dedicated.node(), call).reply;
            let outcome = tokio::select! {
                biased;
                outcome = &mut outcome => outcome,
                // Whether that is what it waited for or the end of the wait, the node says on the other
                // connection.
                () = held.wait() => outcome.await,
            };
            let Ok(Ok(reply)) = outcome else {
                held.unblock_pending = true;
                return false;
            };
            if cursor::integer(&reply.frame) == Some(1) {
                if held.outcome.is_none() {
                    held.outcome = Some(held.dedicated.reply_in_time().await);
                }
                return true;
            }
            let rights = &self.context.upstream.shared().rights;
            let refused = rights.judge(held.dedicated.node(), Right::ClientUnblock, &reply.frame);
            if refused || reply.frame.starts_with(b"-") {
                return false;
            }
            let _ = time::timeout(UNBLOCK_AGAIN, held.wait()).await;
        }
        false
    }
}
