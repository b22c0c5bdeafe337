//! Commands whose replies may be longer than the node's limit for one client: each goes over a connection of
//! its own, so that the node closes only that one.

use std::rc::Rc;

use tokio::sync::oneshot;

use super::redirects::REDIRECTS_MAX;
use super::upstream::Upstream;
use crate::protocol::key::Slot;
use crate::protocol::resp::encode;
use crate::upstream::call::{Call, Outcome, PendingReply, UpstreamReply, answers_exec, exec_abort};
use crate::upstream::error::UpstreamError;
use crate::upstream::topology::node_numbers::NodeIndex;

/// The commands that were sent before.
#[derive(Debug)]
struct Earlier {
    /// The PING behind it.
    ping: PendingReply,
    /// The node that owns the slot, and where all of it went.
    way: Option<NodeIndex>,
}

// === impl Upstream ===

impl Upstream {
    /// How many bytes of replies may wait for one client at the owner of `slot`, or at any node, if a node
    /// said that it ends a connection for more.
    #[inline]
    pub fn reply_limit(&self, slot: Option<Slot>) -> Option<u64> {
        if self.context.limited.get() { self.reply_limit_of(slot) } else { None }
    }

    #[cold]
    fn reply_limit_of(&self, slot: Option<Slot>) -> Option<u64> {
        let connections = self.nodes.borrow();
        match slot {
            Some(slot) => connections.get(&self.node_in_order(slot)?)?.main().reply_limit(),
            None => connections.values().filter_map(|connections| connections.main().reply_limit()).min(),
        }
    }

    /// Sends a command, or a transaction whose last reply comes after `parts` others, over a connection of
    /// its own: behind all that went to the owner of `slot`, or to `node`, before. What is sent there
    /// meanwhile may overtake it, so the caller must hold that back. What the node pushes for it comes
    /// over other connections, earlier or later than the reply.
    pub fn send_isolated(
        self: &Rc<Upstream>,
        slot: Option<Slot>,
        node: Option<NodeIndex>,
        call: Call,
        parts: usize,
    ) -> PendingReply {
        let (sender, reply) = oneshot::channel();
        let earlier = self.earlier(slot, node);
        let upstream = self.clone();
        tokio::task::spawn_local(async move {
            let outcome = upstream.carry_out_isolated(slot, node, call, parts, earlier).await;
            // The caller may be gone.
            let _ = sender.send(outcome);
        });
        PendingReply { reply, epoch: None }
    }

    async fn carry_out_isolated(
        self: &Rc<Upstream>,
        slot: Option<Slot>,
        node: Option<NodeIndex>,
        call: Call,
        parts: usize,
        earlier: Earlier,
    ) -> Outcome {
        if self.has_caught_up(slot, node, earlier).await?
            && let Some(reply) = self.round_trip_isolated(slot, node, &call, parts).await?
        {
            return Ok(reply);
        }
        // It was not carried out: the way of all others keeps its place, and leads to where its slot is now.
        let sent = match parts {
            0 => self.send_on(slot, node, call),
            _ => self.send_transaction(call, parts),
        };
        sent.outcome().await
    }

    /// Waits until what was sent `earlier` was answered. Whether nothing of it was sent on to yet another
    /// node, so that what comes now is behind all of it.
    ///
    /// # Errors
    /// The fence failed, so what comes now must not be sent.
    async fn has_caught_up(
        self: &Rc<Upstream>,
        slot: Option<Slot>,
        node: Option<NodeIndex>,
        mut earlier: Earlier,
    ) -> Result<bool, UpstreamError> {
        for _ in 0..=REDIRECTS_MAX {
            earlier.ping.outcome().await?;
            let Some(slot) = slot else { return Ok(true) };
            if self.context.unconfirmed.has_slot(slot) {
                return Ok(false);
            }
            if self.node_in_order(slot) == earlier.way {
                return Ok(true);
            }
            earlier = self.earlier(Some(slot), node);
        }
        Ok(false)
    }

    fn earlier(self: &Rc<Upstream>, slot: Option<Slot>, node: Option<NodeIndex>) -> Earlier {
        let way = slot.and_then(|slot| self.node_in_order(slot));
        let bytes = encode::request(&["PING"]);
        Earlier { ping: self.send_on(slot, node, Call::question(bytes)), way }
    }

    /// The reply, or nothing when the node sent it elsewhere.
    async fn round_trip_isolated(
        self: &Rc<Upstream>,
        slot: Option<Slot>,
        node: Option<NodeIndex>,
        call: &Call,
        parts: usize,
    ) -> Result<Option<UpstreamReply>, UpstreamError> {
        let mut dedicated = match (slot, node) {
            (None, Some(node)) => self.dedicated_to(&self.node(node)).await?,
            _ => self.dedicated(slot).await?,
        };
        if let Some(refusal) = dedicated.select(call.database).await? {
            let by = self.index_of(dedicated.node());
            dedicated.give_back();
            return Ok(Some(UpstreamReply { frame: refusal, rerouted: false, tracked: false, by: Some(by) }));
        }
        dedicated.answers_from_user_code(call.runs_user_code);
        let mut replies = dedicated.round_trip(&call.bytes, parts + 1).await?;
        let last = replies.pop().unwrap_or_default();
        let by = self.index_of(dedicated.node());
        // A transaction was refused where one of its commands was.
        let refusal = replies.into_iter().find(|reply| reply.starts_with(b"-"));
        let refusal = refusal.filter(|_| last.starts_with(b"-"));
        let cause = refusal.as_ref().unwrap_or(&last);
        if self.redirected(cause, slot, dedicated.node(), call.runs_user_code).await.is_some() {
            dedicated.give_back();
            return Ok(None);
        }
        if cause.starts_with(b"-") {
            self.main_connection(by).doubt(cause, call.runs_user_code, &self.context);
        }
        // What is no reply to a transaction tells nothing of the state that its connection is in: that is
        // closed.
        let is_over = parts == 0 || last.starts_with(b"-") || answers_exec(&last, parts - 1);
        if is_over && !call.selects {
            dedicated.give_back();
        }
        let frame = refusal.map_or(last, |refusal| exec_abort(&refusal));
        Ok(Some(UpstreamReply { frame, rerouted: false, tracked: false, by: Some(by) }))
    }

    /// Sends `call` behind all that went to the owner of `slot`, or to `node`, before.
    pub fn send_on(
        self: &Rc<Upstream>,
        slot: Option<Slot>,
        node: Option<NodeIndex>,
        call: Call,
    ) -> PendingReply {
        match (slot, node) {
            (None, Some(node)) => self.send_to(node, call),
            _ => self.send(slot, call),
        }
    }
}
