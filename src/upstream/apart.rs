//! Commands whose replies may be longer than their node lets wait for one client: each goes over a connection of its own,
//! so that the node ends that one alone.

use std::rc::Rc;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::call::{Call, Outcome, Sent, UpstreamReply};
use super::slots::NodeIndex;
use super::transaction::exec_abort;
use super::{Failure, Upstream};
use crate::key::Slot;
use crate::resp::encode;

// === impl Upstream ===

impl Upstream {
    /// How many bytes of replies may wait for one client at the owner of `slot`, or at any node, if a node said that it
    /// ends a connection for more.
    #[inline]
    pub fn reply_limit(&self, slot: Option<Slot>) -> Option<u64> {
        if self.limited.get() { self.reply_limit_of(slot) } else { None }
    }

    #[cold]
    fn reply_limit_of(&self, slot: Option<Slot>) -> Option<u64> {
        let lanes = self.lanes.borrow();
        match slot {
            Some(slot) => lanes.get(self.way(slot)?.as_usize())?.as_ref()?.main().reply_limit(),
            None => lanes.iter().flatten().filter_map(|lanes| lanes.main().reply_limit()).min(),
        }
    }

    /// Sends a command, or a transaction whose last reply comes after `parts` others, over a connection of its own: behind
    /// all that went to the owner of `slot`, or to `node`, before. What is sent there meanwhile may overtake it, so whoever
    /// asks must hold that back. When the reply is there, what the node pushed for it has been heard of.
    pub fn send_apart(
        self: &Rc<Upstream>,
        slot: Option<Slot>,
        node: Option<NodeIndex>,
        call: Call,
        parts: usize,
    ) -> Sent {
        let (sender, reply) = oneshot::channel();
        let earlier = self.ping(slot, node);
        let upstream = self.clone();
        tokio::task::spawn_local(async move {
            let _ = earlier.reply.await;
            let outcome = match upstream.converse_apart(slot, node, &call, parts).await {
                Ok(Some(reply)) => Ok(reply),
                // It was not carried out: the way of all others leads to where it is now.
                Ok(None) if parts > 0 => {
                    upstream.send_transaction(slot, call.bytes.clone(), parts).outcome().await
                }
                Ok(None) => upstream.send_on(slot, node, call.clone()).outcome().await,
                Err(failure) => Err(failure),
            };
            if !call.reads_only {
                let _ = upstream.ping(slot, node).reply.await;
            }
            // Whoever asked may be gone.
            let _ = sender.send(outcome);
        });
        Sent { reply, epoch: None }
    }

    /// The reply, or nothing when the node sent it elsewhere.
    async fn converse_apart(
        self: &Rc<Upstream>,
        slot: Option<Slot>,
        node: Option<NodeIndex>,
        call: &Call,
        parts: usize,
    ) -> Result<Option<UpstreamReply>, Failure> {
        let mut dedicated = match (slot, node) {
            (None, Some(node)) => self.dedicated_to(&self.node(node)).await?,
            _ => self.dedicated(slot).await?,
        };
        let mut replies = dedicated.converse(&call.bytes, parts + 1).await?;
        let last = replies.pop().unwrap_or_default();
        // A transaction was refused where one of its commands was.
        let refusal = replies.into_iter().find(|reply| reply.starts_with(b"-"));
        let refusal = refusal.filter(|_| last.starts_with(b"-"));
        let cause = refusal.as_ref().unwrap_or(&last);
        // What a script says is no redirect.
        let elsewhere = match !call.foreign && slot.is_some() {
            true => self.redirected(cause, slot, dedicated.node()).await,
            false => None,
        };
        if elsewhere.is_some() {
            dedicated.give_back();
            return Ok(None);
        }
        let frame = refusal.map_or(last, |refusal| exec_abort(&refusal));
        dedicated.give_back();
        Ok(Some(UpstreamReply { frame, rerouted: false, tracked: false, by: None }))
    }

    /// Sends `call` behind all that went to the owner of `slot`, or to `node`, before.
    fn send_on(self: &Rc<Upstream>, slot: Option<Slot>, node: Option<NodeIndex>, call: Call) -> Sent {
        match (slot, node) {
            (Some(slot), _) => self.send(slot, call),
            (None, Some(node)) => self.send_to(node, call),
            (None, None) => self.send_any(call),
        }
    }

    fn ping(self: &Rc<Upstream>, slot: Option<Slot>, node: Option<NodeIndex>) -> Sent {
        let bytes: Bytes = encode::request(&["PING"]);
        self.send_on(slot, node, Call { bytes, slot: None, reads_only: true, foreign: false })
    }
}

// === impl Sent ===

impl Sent {
    async fn outcome(self) -> Outcome {
        self.reply.await.unwrap_or(Err(Failure::Stopped))
    }
}
