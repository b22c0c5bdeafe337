//! A command on its way to a node: what is registered before it is sent, and what must have happened before
//! its reply leaves.

use std::rc::Rc;

use bytes::Bytes;

use super::default_ttl::{DefaultTtl, TtlFollowUp};
use super::fence::Fence;
use super::reply_sizes::ReplySizes;
use crate::cache::MissReason;
use crate::protocol::command::Flags;
use crate::protocol::key::KeySlots;
use crate::protocol::resp::request::Request;
use crate::router::caller::Caller;
use crate::router::coherence::inflight::{Hold, InflightKeys, InflightRead, InflightWrite};
use crate::router::context::RouterContext;
use crate::router::coverage::{self, Coverage, is_tracked};
use crate::router::replies::stopped;
use crate::router::request_route::{Destination, KeyAccess, RequestRoute};
use crate::upstream::{Call, Outcome, PendingReply};

/// A command in flight, with all that has to happen before its reply may leave.
#[derive(Debug)]
pub(in crate::router) struct SentCall {
    context: Rc<RouterContext>,
    sent: PendingReply,
    /// What gives its keys a time to live.
    following: Option<TtlFollowUp>,
    /// Behind a command that may touch anything.
    fence: Option<Fence>,
    write: Option<InflightWrite>,
    read: Option<InflightRead>,
    /// Nothing of the session may overtake it.
    hold: Option<Hold>,
    coverage: Option<Rc<Coverage>>,
}

/// Sends commands to the nodes of their keys.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) context: Rc<RouterContext>,
    pub(super) default_ttl: Rc<DefaultTtl>,
    pub(super) reply_sizes: Rc<ReplySizes>,
}

// === impl Sender ===

impl Sender {
    /// Sends `bytes`, the form of `request` on the wire. For a command on many keys the keys need not be
    /// known: its session is held.
    pub(super) fn begin(
        &self,
        route: RequestRoute,
        access: KeyAccess,
        to: Destination,
        request: &Request<'_>,
        bytes: Bytes,
        caller: Caller<'_>,
    ) -> SentCall {
        let (bytes, due) = self.default_ttl.apply(route, request, bytes);
        // What is stored has a short reply, and what gives it a time to live goes right behind it.
        let isolated =
            due.is_none() && self.reply_sizes.needs_isolation(route, access, to.slots.one(), request, caller);
        let hold = isolated.then(|| Hold::of(caller.inflight));
        let keys = || if route.has_many(request) { InflightKeys::new() } else { route.keys_of(request) };
        let begin_write = || self.context.begin_write(keys(), to.slots.one(), caller);
        let write = match access {
            KeyAccess::Undeclared => Some(begin_write().of_anything()),
            // A reply that takes another way than the invalidations is like a write to L1: nothing older is
            // served behind it.
            KeyAccess::Declared => (route.may_write() || isolated).then(begin_write),
        };
        let read = write.is_none().then(|| self.context.begin_read(keys(), caller)).flatten();
        if let Some(read) = &read {
            read.keys().iter().for_each(|key| self.context.note(key, MissReason::Command));
        }
        let unkept = access == KeyAccess::Declared
            && to.slots != KeySlots::None
            && self.context.is_uncached(route, request);
        let reads_only = route.flags.has(Flags::READ);
        let call = Call::new(caller.inflight.database(), to.slots, bytes, reads_only);
        let call = Call { runs_user_code: route.runs_user_code, ..call };
        let slot = to.slots.one();
        let sent = if isolated {
            self.context.upstream.send_isolated(slot, to.node, call, 0)
        } else if unkept {
            self.context.send_uncached(slot, call, caller)
        } else {
            self.context.upstream.send_on(slot, to.node, call)
        };
        let following = self.default_ttl.follow(&sent, to.slots, due, caller.inflight);
        let fence = (access == KeyAccess::Undeclared).then(|| Fence::after(&self.context, to, isolated));
        let (context, coverage) = (self.context.clone(), caller.coverage.cloned());
        SentCall { context, sent, following, fence, write, read, hold, coverage }
    }
}

// === impl SentCall ===

impl SentCall {
    /// Waits for the reply, and for all that must have happened before the reply leaves.
    pub(in crate::router) async fn finish(&mut self) -> Outcome {
        let outcome = (&mut self.sent.reply).await.unwrap_or_else(stopped);
        coverage::note(self.coverage.as_ref(), is_tracked(&outcome));
        if let Some(following) = self.following.take() {
            following.finish(&outcome).await;
        }
        if let Some(fence) = self.fence.take() {
            Box::pin(fence.finish(&self.context, &outcome)).await;
        }
        // Before the reply leaves, its keys are dropped once more (I6).
        drop((self.write.take(), self.read.take(), self.hold.take()));
        outcome
    }
}
