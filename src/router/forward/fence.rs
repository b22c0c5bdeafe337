//! The fence behind a command that may touch keys which it does not name: its reply is held back until all
//! invalidations that the command caused have been received.

use crate::protocol::resp::encode;
use crate::router::context::RouterContext;
use crate::router::request_route::Destination;
use crate::upstream::{Call, NodeIndex, Outcome, PendingReply};

/// What is awaited behind a command that may touch any key.
#[derive(Debug)]
pub(in crate::router) enum Fence {
    /// The PING behind it on its connection, and the node that both go to.
    Sent(PendingReply, Option<NodeIndex>),
    /// The command has a connection of its own. The PING is sent to its node once the reply is there.
    Behind(Destination),
}

// === impl Fence ===

impl Fence {
    /// The fence behind a command that was just sent there, or, if `isolated`, over a connection of its own.
    pub(in crate::router) fn behind(context: &RouterContext, to: Destination, isolated: bool) -> Fence {
        if isolated { Fence::Behind(to) } else { Fence::ping(context, to) }
    }

    fn ping(context: &RouterContext, to: Destination) -> Fence {
        let (slot, ping) = (to.slots.one(), Call::question(encode::request(&["PING"])));
        let sent = context.upstream.send_on(slot, to.node, ping);
        Fence::Sent(sent, slot.map_or(to.node, |slot| context.upstream.way(slot)))
    }

    /// Waits until all changes by the command, which had this `outcome`, have been received; empties L1 where
    /// that cannot be known.
    pub(in crate::router) async fn settle(self, context: &RouterContext, outcome: &Outcome) {
        if !self.has_settled(context, outcome).await {
            context.invalidate_all();
        }
    }

    async fn has_settled(self, context: &RouterContext, outcome: &Outcome) -> bool {
        let fence = match self {
            Fence::Behind(to) => Fence::ping(context, to),
            fence => fence,
        };
        let Fence::Sent(sent, Some(node)) = fence else { return false };
        // Whatever the node answers, if only that we may not ask, comes behind all pushes that it sent
        // before.
        let is_fenced = sent.reply.await.is_ok_and(|fenced| fenced.is_ok());
        let is_elsewhere = outcome.as_ref().is_ok_and(|reply| reply.rerouted || reply.by != Some(node));
        // Other workers have connections of their own, whose pushes nothing here waits for: they forget all.
        if !is_fenced
            || is_elsewhere
            || !context.settings.single_worker
            || !context.upstream.await_side_fences(node).await
        {
            return false;
        }
        if context.policies.broadcast() {
            context.upstream.await_fence(node).await;
        }
        true
    }
}
