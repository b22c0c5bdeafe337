//! Commands that go to the node of their keys as they are, and come back as they are.

use std::rc::Rc;

use bytes::Bytes;

use super::answer::Answer;
use super::caller::Caller;
use super::coherence::inflight::{Hold, InflightKeys, InflightRead, InflightWrite};
use super::coverage::{self, Coverage, is_tracked};
use super::default_ttl::TtlFollowUp;
use super::dispatch::Router;
use super::many_keys::{ManyKeys, has_many};
use super::replies::{render, stopped};
use super::request_route::{Destination, RequestRoute, WriteSet};
use crate::cache::MissReason;
use crate::protocol::command::Flags;
use crate::protocol::resp::encode;
use crate::protocol::resp::request::Request;
use crate::upstream::{Call, NodeIndex, Outcome, PendingReply};

/// What is waited for behind a command that may touch anything, so that what it changed was heard of.
#[derive(Debug)]
pub(super) enum Fence {
    /// The PING behind it on its connection, and the node that both go to.
    Sent(PendingReply, Option<NodeIndex>),
    /// It has a connection of its own. The PING is sent to where it went when the reply is there.
    Behind(Destination),
}

/// A command on its way, or about to be.
#[derive(Debug)]
pub(super) enum ForwardedCall {
    /// It was sent.
    Begun(SentCall),
    /// It names many keys: it is sent when something was done about each.
    ManyKeys(ManyKeys),
}

/// A command on its way, with all that has to happen before its reply may leave.
#[derive(Debug)]
pub(super) struct SentCall {
    proxy: Rc<Router>,
    sent: PendingReply,
    /// What gives its keys a time to live.
    following: Option<TtlFollowUp>,
    /// What is waited for behind a command that may touch anything.
    fence: Option<Fence>,
    write: Option<InflightWrite>,
    read: Option<InflightRead>,
    /// Nothing of the session may overtake it.
    hold: Option<Hold>,
    coverage: Option<Rc<Coverage>>,
}

// === impl Proxy ===

impl Router {
    /// Sends a command on as it is.
    pub(super) fn forward(
        self: &Rc<Router>,
        route: RequestRoute,
        reach: WriteSet,
        request: &Request<'_>,
        caller: Caller<'_>,
    ) -> Answer {
        if let Some(measured) = self.measure(route, request, caller.now) {
            return Answer::NotYet(measured);
        }
        let to = match self.destination(route, request) {
            Ok(to) => to,
            Err(reply) => return Answer::Now(reply),
        };
        let owned = request.to_owned();
        let resp = caller.resp;
        if !has_many(route, request) {
            // Nearly all: not moved about as one of two kinds.
            let mut begun = self.begin(route, reach, to, request, owned.bytes(), caller);
            return Answer::Later(Box::pin(
                async move { render(begun.settle().await, route.form, &owned, resp) },
            ));
        }
        let errand = self.errand(route, reach, to, request, owned.bytes(), caller);
        Answer::Later(Box::pin(async move { render(errand.settle().await, route.form, &owned, resp) }))
    }

    /// Sends `bytes`, which stand for `request`.
    ///
    /// The pushes that a command causes come after its own reply. Those of keys that it names are not needed.
    /// Where it may touch others, a PING follows it, and its reply is held back until that was answered.
    pub(super) fn errand(
        self: &Rc<Router>,
        route: RequestRoute,
        reach: WriteSet,
        to: Destination,
        request: &Request<'_>,
        bytes: Bytes,
        caller: Caller<'_>,
    ) -> ForwardedCall {
        if !has_many(route, request) {
            return ForwardedCall::Begun(self.begin(route, reach, to, request, bytes, caller));
        }
        let (hold, coverage) = (Hold::of(caller.own_writes), caller.coverage.cloned());
        let (proxy, resp, request) = (self.clone(), caller.resp, request.to_owned());
        ForwardedCall::ManyKeys(ManyKeys { proxy, route, reach, to, request, bytes, resp, coverage, hold })
    }

    /// The same at once. Where there are many keys the session is held, so that nothing has to be known of
    /// each.
    pub(super) fn begin(
        self: &Rc<Router>,
        route: RequestRoute,
        reach: WriteSet,
        to: Destination,
        request: &Request<'_>,
        bytes: Bytes,
        caller: Caller<'_>,
    ) -> SentCall {
        let (bytes, due) = self.with_default_ttl(route, request, bytes);
        // What is stored has a short reply, and what gives it a time to live goes right behind it.
        let apart = due.is_none() && self.goes_apart(route, reach, to.slot, request, caller.now);
        let hold = apart.then(|| Hold::of(caller.own_writes));
        let keys = || if has_many(route, request) { InflightKeys::new() } else { route.keys_of(request) };
        let begin_write = || self.begin_write(keys(), caller);
        let write = match reach {
            WriteSet::Anything => Some(begin_write().of_anything()),
            // What comes another way than the pushes is like a write to L1: nothing older is served behind
            // it.
            WriteSet::Named => (route.may_write() || apart).then(begin_write),
        };
        let read = write.is_none().then(|| self.begin_read(keys(), caller)).flatten();
        if let Some(read) = &read {
            read.keys().iter().for_each(|key| self.note(key, MissReason::Command));
        }
        let unkept = reach == WriteSet::Named && self.is_unkept(route, request);
        let send = |call: Call| match (to.slot, to.node) {
            _ if apart => self.upstream.send_apart(to.slot, to.node, call, 0),
            (Some(slot), _) if unkept => self.send_unkept(slot, call, caller),
            (Some(slot), _) => self.upstream.send(slot, call),
            (None, Some(node)) => self.upstream.send_to(node, call),
            (None, None) => self.upstream.send_any(call),
        };
        let sent = send(Call {
            bytes,
            slot: to.slot,
            reads_only: route.flags.has(Flags::READ),
            foreign: route.foreign,
        });
        let following = self.follow(&sent, to.slot, due, caller.own_writes);
        let fence = (reach == WriteSet::Anything).then(|| self.fence(to, apart));
        let (proxy, coverage) = (self.clone(), caller.coverage.cloned());
        SentCall { proxy, sent, following, fence, write, read, hold, coverage }
    }

    /// What is waited for behind a command that was just sent there, or over a connection of its own.
    pub(super) fn fence(self: &Rc<Router>, to: Destination, apart: bool) -> Fence {
        if apart { Fence::Behind(to) } else { self.ping_behind(to) }
    }

    fn ping_behind(self: &Rc<Router>, to: Destination) -> Fence {
        let ping = Call { bytes: encode::request(&["PING"]), slot: None, reads_only: true, foreign: false };
        match (to.slot, to.node) {
            (Some(slot), _) => Fence::Sent(self.upstream.send(slot, ping), self.upstream.way(slot)),
            (None, Some(node)) => Fence::Sent(self.upstream.send_to(node, ping), Some(node)),
            (None, None) => Fence::Sent(self.upstream.send_any(ping), None),
        }
    }

    /// Waits until all was heard of that the command before the `fence` changed, which has had this
    /// `outcome`; if nobody can tell, empties L1.
    pub(super) async fn await_fence(self: &Rc<Router>, fence: Option<Fence>, outcome: &Outcome) {
        if !self.is_heard_out(fence, outcome).await {
            self.invalidate_all();
        }
    }

    async fn is_heard_out(self: &Rc<Router>, fence: Option<Fence>, outcome: &Outcome) -> bool {
        let fence = match fence {
            Some(Fence::Behind(to)) => Some(self.ping_behind(to)),
            fence => fence,
        };
        let Some(Fence::Sent(sent, Some(node))) = fence else { return false };
        // Whatever the node answers, if only that we may not ask, stands behind all that it had to tell
        // before.
        let is_fenced = sent.reply.await.is_ok_and(|fenced| fenced.is_ok());
        let is_elsewhere = outcome.as_ref().is_ok_and(|reply| reply.rerouted || reply.by != Some(node));
        // Other workers have connections of their own, whose pushes nothing here waits for: they forget all.
        if !is_fenced || is_elsewhere || !self.settings.alone || !self.upstream.hear_sides(node).await {
            return false;
        }
        if self.policies.broadcast() {
            self.upstream.await_fence(node).await;
        }
        true
    }
}

// === impl ForwardedCall ===

impl ForwardedCall {
    /// Waits for the reply, and for all that must have happened before it leaves.
    pub(super) async fn settle(self) -> Outcome {
        match self {
            ForwardedCall::Begun(mut begun) => begun.settle().await,
            // In a box, so that no other command carries the room for this.
            ForwardedCall::ManyKeys(many) => Box::pin(many.settle()).await,
        }
    }
}

// === impl Begun ===

impl SentCall {
    /// The same.
    pub(super) async fn settle(&mut self) -> Outcome {
        let outcome = (&mut self.sent.reply).await.unwrap_or_else(stopped);
        coverage::note(self.coverage.as_ref(), is_tracked(&outcome));
        if let Some(following) = self.following.take() {
            following.settle(&outcome).await;
        }
        if let Some(fence) = self.fence.take() {
            Box::pin(self.proxy.await_fence(Some(fence), &outcome)).await;
        }
        // Before the reply leaves, its keys are dropped once more (I6).
        drop((self.write.take(), self.read.take(), self.hold.take()));
        outcome
    }
}
