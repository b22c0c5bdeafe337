//! The fence behind a command that may touch keys which it does not name: its reply is held back until all
//! invalidations that the command caused have been received.

use crate::clock;
use crate::protocol::resp::encode;
use crate::router::coherence::swap_count;
use crate::router::context::RouterContext;
use crate::router::request_route::Destination;
use crate::upstream::{Call, NodeIndex, Outcome, PendingReply, Right};

/// What is awaited behind a command that may touch any key.
#[derive(Debug)]
pub(in crate::router) enum Fence {
    /// The question behind it on its connection.
    Sent(SentQuestion),
    /// The command has a connection of its own. The question is sent to its node once the reply is there.
    Behind(Destination),
}

/// A question whose answer comes behind all invalidations that the node sent before.
#[derive(Debug)]
pub(in crate::router) struct SentQuestion {
    reply: PendingReply,
    node: Option<NodeIndex>,
    /// Whether the answer says how often databases were swapped.
    counts_swaps: bool,
}

// === impl Fence ===

impl Fence {
    /// The fence behind a command that was just sent there, or, if `isolated`, over a connection of its own.
    pub(in crate::router) fn after(context: &RouterContext, to: Destination, isolated: bool) -> Fence {
        if isolated { Fence::Behind(to) } else { Fence::Sent(SentQuestion::send(context, to)) }
    }

    /// Waits until all changes by the command, which had this `outcome`, have been received; empties L1 where
    /// that cannot be known.
    pub(in crate::router) async fn finish(self, context: &RouterContext, outcome: &Outcome) {
        if !self.confirm(context, outcome).await {
            context.invalidate_all();
        }
    }

    async fn confirm(self, context: &RouterContext, outcome: &Outcome) -> bool {
        let sent = match self {
            Fence::Behind(to) => SentQuestion::send(context, to),
            Fence::Sent(sent) => sent,
        };
        let SentQuestion { reply, node: Some(node), counts_swaps } = sent else { return false };
        // Whatever the node answers, if only that we may not ask, comes behind all pushes that it sent
        // before.
        let Some(fenced) = reply.reply.await.ok().and_then(Result::ok) else { return false };
        if counts_swaps {
            context.is_refused(Some(node), Right::LatencyHistogram, &fenced.frame);
        }
        let is_swapped = counts_swaps && context.swaps.has_changed(&fenced.frame);
        let is_elsewhere = outcome.as_ref().is_ok_and(|reply| reply.rerouted || reply.by != Some(node));
        // Other workers have connections of their own, whose pushes nothing here waits for: they forget all.
        if is_swapped
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

// === impl SentQuestion ===

impl SentQuestion {
    /// Sends the question. Any will do for a node of a cluster, which has one database, and for a node that
    /// has refused a moment ago to say how often its databases were swapped.
    fn send(context: &RouterContext, to: Destination) -> SentQuestion {
        let slot = to.slots.one();
        let node = slot.map_or(to.node, |slot| context.upstream.node_in_order(slot));
        let (upstream, named) = (&context.upstream, || node.map(|node| context.upstream.node(node)));
        let counts_swaps = !upstream.is_cluster()
            && !upstream.shared().rights.is_missing(named, Right::LatencyHistogram, clock::now());
        let question = if counts_swaps { &swap_count::QUESTION[..] } else { &["PING"] };
        let reply = upstream.send_on(slot, to.node, Call::question(encode::request(question)));
        SentQuestion { reply, node, counts_swaps }
    }
}
