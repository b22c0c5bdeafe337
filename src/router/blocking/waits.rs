//! Commands that wait on a node until there is something to answer: BLPOP and its kin, XREAD and XREADGROUP
//! with BLOCK.
//!
//! Each waits on a dedicated connection. The node checks the arguments and keeps the timeout; this file adds
//! where to wait when the slot moves, and how the wait ends early. Meanwhile other sessions read its keys
//! from L1 as always: nothing has changed. When it ends, its keys are dropped before the reply leaves (I6).

use std::pin::pin;
use std::rc::Rc;

use bytes::Bytes;
use tokio::time;

use super::block_timeout::BlockTimeout;
use super::blocked_call::{BlockedCall, BlockedCalls, EndedBy};
use crate::clients::block_state::BlockGuard;
use crate::node::NodeId;
use crate::protocol::command::{Flags, Spec};
use crate::protocol::db::DbIndex;
use crate::protocol::key::{KeySlots, Slot};
use crate::protocol::resp::encode;
use crate::protocol::resp::request::{OwnedRequest, Request};
use crate::router::answer::Answer;
use crate::router::caller::Caller;
use crate::router::coherence::inflight::InflightKeys;
use crate::router::context::RouterContext;
use crate::router::forward::default_ttl::{DefaultTtl, may_have_written};
use crate::router::replies::render;
use crate::router::request_route::RequestRoute;
use crate::upstream::{Redirect, UpstreamError, UpstreamReply};

/// How often a wait may move to another node before that is an error.
const MOVES_MAX: u8 = 16;

/// The answer to waiting commands of a node that becomes a replica.
const FORCED: &[u8] = b"-UNBLOCKED force unblock";

/// What a client gets whose wait ends with the daemon.
const STOPPED: &[u8] = b"-UNBLOCKED nearside: the daemon is shutting down; the command was not executed\r\n";

/// What a wait is for.
struct BlockingCommand {
    request: OwnedRequest,
    slots: KeySlots,
    database: DbIndex,
    timeout: BlockTimeout,
    /// What it may do, for a pause.
    flags: Flags,
    /// Whether the command may wait again after a lost connection, without a double effect or a loss.
    repeatable: bool,
    waiting: BlockGuard,
}

/// How waiting at one node ended.
enum BlockRound {
    /// With this reply.
    Over(Bytes),
    /// The node gave nothing, and another one is to be asked: this one, or the owner.
    GoOn(Option<Redirect>),
}

/// Carries out commands that block.
#[derive(Debug)]
pub struct Blocking {
    context: Rc<RouterContext>,
    default_ttl: Rc<DefaultTtl>,
    calls: BlockedCalls,
}

// === impl Blocking ===

impl Blocking {
    /// Waits at the nodes of `context`.
    pub(in crate::router) fn new(context: Rc<RouterContext>, default_ttl: Rc<DefaultTtl>) -> Rc<Blocking> {
        let calls = BlockedCalls::new(context.clone());
        Rc::new(Blocking { context, default_ttl, calls })
    }

    /// Begins to wait for what `request` asks for.
    pub fn block(
        self: &Rc<Blocking>,
        spec: &'static Spec,
        request: &Request<'_>,
        caller: Caller<'_>,
        waiting: BlockGuard,
    ) -> Answer {
        let route = RequestRoute::of(spec);
        let slots = match self.context.slots(route, request) {
            Ok(slots) => slots,
            Err(reply) => return Answer::Now(Bytes::from_static(reply)),
        };
        let (_, due) = self.default_ttl.apply(route, request, Bytes::new());
        let writes = spec.flags.has(Flags::WRITE);
        let mut keys = route.keys_of(request);
        // The session begins nothing else meanwhile, so for many keys it need not be known which are written.
        let many =
            if writes && route.has_many(request) { std::mem::take(&mut keys) } else { InflightKeys::new() };
        if writes {
            caller.inflight.note_written(slots);
        }
        let read = if writes { InflightKeys::new() } else { keys.clone() };
        let write = writes.then(|| self.context.begin_write(keys, None, caller));
        let latest = |argument: &[u8]| matches!(argument, b"$" | b"+");
        let repeatable = !writes && !request.args().any(latest);
        let timeout = BlockTimeout::of(spec, request);
        let blocking = BlockingCommand {
            request: request.to_owned(),
            slots,
            database: caller.inflight.database(),
            timeout,
            flags: spec.flags,
            repeatable,
            waiting,
        };
        let (this, resp, inflight) = (self.clone(), caller.resp, caller.inflight.clone());
        Answer::Later(Box::pin(async move {
            this.context.drop_keys(&many).await;
            this.context.stats.waits_begun.bump();
            let outcome = this.wait_anywhere(&blocking).await;
            this.context.stats.waits_ended.bump();
            let outcome =
                outcome.map(|frame| UpstreamReply { frame, rerouted: true, tracked: false, by: None });
            if let Some(due) = due.filter(|_| may_have_written(&outcome)) {
                this.default_ttl.give_ttl(slots, due, &inflight).finish(&outcome).await;
            }
            this.context.drop_keys_read_elsewhere(&read).await;
            this.context.drop_keys(&many).await;
            drop(write);
            render(outcome, route.form, &blocking.request, resp)
        }))
    }

    /// Waits at the owner, and wherever the slot goes.
    async fn wait_anywhere(self: &Rc<Blocking>, blocking: &BlockingCommand) -> Result<Bytes, UpstreamError> {
        let mut elsewhere = None;
        for _ in 0..=MOVES_MAX {
            let Some(request) = blocking.timeout.request(&blocking.request) else {
                return Ok(Bytes::from_static(b"_\r\n"));
            };
            match self.wait_at(elsewhere.as_ref(), &request, blocking).await? {
                BlockRound::Over(reply) => return Ok(reply),
                BlockRound::GoOn(next) => elsewhere = next,
            }
        }
        // Only a command with keys is ever sent elsewhere, and only by a node of a cluster.
        let slot = blocking.slots.one().unwrap_or_else(|| Slot::of(b""));
        Err(UpstreamError::TooManyRedirects { slot, redirects_max: MOVES_MAX })
    }

    /// Waits at one node: the owner, unless a redirect named another.
    async fn wait_at(
        self: &Rc<Blocking>,
        redirect: Option<&Redirect>,
        request: &Bytes,
        blocking: &BlockingCommand,
    ) -> Result<BlockRound, UpstreamError> {
        let mut dedicated = match redirect {
            Some(Redirect { node, .. }) => self.context.upstream.dedicated_to(node).await?,
            None => self.context.upstream.dedicated(blocking.slots.one()).await?,
        };
        if let Some(refusal) = dedicated.select(Some(blocking.database)).await? {
            dedicated.give_back();
            return Ok(BlockRound::Over(refusal));
        }
        if let Some(pause) = self.context.pause.hold(blocking.flags) {
            // The pause began while the connection was opened.
            dedicated.give_back();
            pause.await;
            return Ok(BlockRound::GoOn(redirect.cloned()));
        }
        let asking = redirect.is_some_and(|redirect| redirect.asking);
        if asking {
            dedicated.round_trip(&encode::request(&["ASKING"]), 1).await?;
        }
        let node = dedicated.node().clone();
        let owned = blocking.slots.one().filter(|_| !asking);
        let mut held = [BlockedCall::begin(dedicated, request)];
        let ended_by = self.hold(&mut held, &node, owned, blocking).await?;
        let [held] = held;
        match held.finish() {
            Ok(reply) => Ok(self.judge(reply, &node, blocking, ended_by).await),
            Err(UpstreamError::Lost { .. }) if blocking.repeatable && ended_by.is_none() => {
                self.context.upstream.refreshed(self.context.settings.request_timeout).await;
                Ok(BlockRound::GoOn(None))
            }
            Err(failure) => Err(failure),
        }
    }

    /// Waits until the node has answered, or the wait was ended; returns what ended it.
    async fn hold(
        &self,
        held: &mut [BlockedCall; 1],
        node: &NodeId,
        owned: Option<Slot>,
        blocking: &BlockingCommand,
    ) -> Result<Option<EndedBy>, UpstreamError> {
        let grace = self.context.settings.request_timeout;
        let mut too_late = pin!(blocking.timeout.over(grace));
        // A node that lost the slot says so itself, unless it hangs.
        let mut left = pin!(async {
            self.context.upstream.left(owned, node).await;
            time::sleep(grace).await;
        });
        loop {
            let cause = tokio::select! {
                biased;
                () = held[0].wait() => return Ok(None),
                order = blocking.waiting.order() => {
                    let by = self.calls.end(held, order).await;
                    if by != EndedBy::Unblock || held[0].has_ended() {
                        return Ok(Some(by));
                    }
                    continue;
                }
                () = &mut too_late => "its node does not answer though the time of the wait is over",
                () = &mut left => "its node does not answer though the slot has another owner",
            };
            return Err(UpstreamError::Lost { node: node.clone(), cause: cause.to_owned() });
        }
    }

    /// What a reply means for the wait.
    async fn judge(
        &self,
        reply: Bytes,
        node: &NodeId,
        blocking: &BlockingCommand,
        ended_by: Option<EndedBy>,
    ) -> BlockRound {
        if !reply.starts_with(b"-") {
            return BlockRound::Over(reply);
        }
        if ended_by == Some(EndedBy::Stop) && reply.starts_with(b"-UNBLOCKED") {
            return BlockRound::Over(Bytes::from_static(STOPPED));
        }
        if ended_by.is_none() && reply.starts_with(FORCED) {
            // The node was a primary and is none any more. It says so only to those to whom it gave nothing.
            self.context.upstream.refreshed(self.context.settings.request_timeout).await;
            return BlockRound::GoOn(None);
        }
        match self.context.upstream.redirected(&reply, blocking.slots.one(), node, false).await {
            Some(elsewhere) => BlockRound::GoOn(Some(elsewhere)),
            None => BlockRound::Over(reply),
        }
    }
}
