//! How a command gets into the queue of a connection: its bounds, its deadline, and what goes before it.

use bytes::Bytes;
use tokio::sync::oneshot;

use super::connection::MuxConnection;
use super::queue::COMMAND_BYTES;
use crate::clock::{self, Nanos};
use crate::upstream::call::{Call, Completion, PendingCommand, PendingReply};
use crate::upstream::conn::handshake::UNTRACKED;
use crate::upstream::context::WorkerContext;
use crate::upstream::error::UpstreamError;
use crate::upstream::rights::Right;

impl MuxConnection {
    /// Sends a command, or has it wait for the connection that is on its way.
    pub(in crate::upstream) fn send(&self, call: Call, context: &WorkerContext) -> PendingReply {
        self.hand_over(call, context, |waiting| waiting)
    }

    /// Sends a transaction, whose last reply comes after `parts` others.
    pub(in crate::upstream) fn send_transaction(
        &self,
        call: Call,
        parts: usize,
        context: &WorkerContext,
    ) -> PendingReply {
        self.hand_over(call, context, |waiting| waiting.after(parts))
    }

    /// Sends what belongs to a command that was let through right before, whatever the bounds say now.
    pub(in crate::upstream) fn send_behind(
        &self,
        call: Call,
        parts: usize,
        context: &WorkerContext,
    ) -> PendingReply {
        let deadline = clock::now() + clock::nanos(context.options.request_timeout);
        self.put(call, deadline, context, |waiting| if parts > 0 { waiting.after(parts) } else { waiting })
    }

    /// Sends a read that the node is not to track, because its reply is not kept.
    ///
    /// CLIENT CACHING NO goes right before the read, and neither is kept for another connection without the
    /// other: they have one deadline, and a command that was written is sent again only if it reads. A read
    /// that is sent again or redirected is tracked, which costs the node a little memory and is never wrong.
    pub(in crate::upstream) fn send_untracked(&self, call: Call, context: &WorkerContext) -> PendingReply {
        let refused = self.bound_reached(&call, context).is_some() || self.too_large(&call, false).is_some();
        if !self.is_trusted() || refused {
            return self.send(call, context);
        }
        let deadline = clock::now() + clock::nanos(context.options.request_timeout);
        // SELECT goes before both.
        let untracked = Call::without_keys(Bytes::from_static(UNTRACKED), false);
        let untracked = Call { database: call.database, ..untracked };
        self.enqueue(PendingCommand::new(untracked, Completion::Nobody(Right::Caching), deadline));
        // Not looked at the bounds again: the read must follow.
        PendingReply { epoch: None, ..self.put(call, deadline, context, |waiting| waiting) }
    }

    fn hand_over(
        &self,
        call: Call,
        context: &WorkerContext,
        finish: impl FnOnce(PendingCommand) -> PendingCommand,
    ) -> PendingReply {
        if let Some(bound) = self.bound_reached(&call, context) {
            context.stats.upstream_refusals.add(1);
            return PendingReply::failed(UpstreamError::Overloaded { node: self.node.clone(), bound });
        }
        let deadline = clock::now() + clock::nanos(context.options.request_timeout);
        self.put(call, deadline, context, finish)
    }

    fn put(
        &self,
        call: Call,
        deadline: Nanos,
        context: &WorkerContext,
        finish: impl FnOnce(PendingCommand) -> PendingCommand,
    ) -> PendingReply {
        context.stats.upstream_commands.bump();
        let (sender, reply) = oneshot::channel();
        let number = context.routes.next_number(call.slots.one());
        let expects_large = context.expects_large(call.slots.one());
        let waiting = PendingCommand {
            number,
            expects_large,
            ..PendingCommand::new(call, Completion::Caller(sender), deadline)
        };
        self.enqueue(finish(waiting));
        PendingReply { reply, epoch: self.state.borrow().epoch.clone() }
    }

    fn bound_reached(&self, call: &Call, context: &WorkerContext) -> Option<&'static str> {
        let state = self.state.borrow();
        let options = &context.options;
        // What was redirected and waits until that is believed is still in flight.
        let (unconfirmed, their_bytes) = context.unconfirmed.load(self.index);
        if state.queue.len() + unconfirmed >= options.in_flight_max {
            return Some("upstream_in_flight_max");
        }
        let (bytes, more) = (state.queue.bytes(), call.bytes.len());
        // What is large was let in when it was announced.
        let ceiling = &context.shared.ceiling;
        let much = ceiling.is_large_share(state.queue.takes());
        if ceiling.is_small(more) && much && !ceiling.fits(more + COMMAND_BYTES) {
            return Some("memory_max");
        }
        // One command is let through whatever its size.
        let bytes = bytes + their_bytes;
        (bytes > 0 && bytes + more > options.in_flight_bytes_max).then_some("upstream_in_flight_bytes_max")
    }
}
