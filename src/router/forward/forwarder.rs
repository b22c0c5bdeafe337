//! Commands that go to the node of their keys as they are, and come back as they are.

use std::rc::Rc;

use bytes::Bytes;

use super::default_ttl::DefaultTtl;
use super::many_keys::ManyKeys;
use super::reply_sizes::ReplySizes;
use super::sender::{Sender, SentCall};
use crate::net::write_queue::WriteQueue;
use crate::protocol::resp::request::Request;
use crate::router::answer::Answer;
use crate::router::caller::Caller;
use crate::router::coherence::inflight::Hold;
use crate::router::context::RouterContext;
use crate::router::replies::render;
use crate::router::request_route::{Destination, KeyAccess, RequestRoute};
use crate::upstream::Outcome;

/// Forwards commands.
#[derive(Debug)]
pub(in crate::router) struct Forwarder {
    sender: Rc<Sender>,
}

/// A command in flight, or about to be.
#[derive(Debug)]
pub(in crate::router) enum ForwardedCall {
    /// Was sent.
    Begun(SentCall),
    /// Names many keys: is sent once something was done about each.
    ManyKeys(ManyKeys),
}

// === impl Forwarder ===

impl Forwarder {
    /// A forwarder of commands to `context`.
    pub(in crate::router) fn new(
        context: Rc<RouterContext>,
        default_ttl: Rc<DefaultTtl>,
        reply_sizes: Rc<ReplySizes>,
    ) -> Rc<Forwarder> {
        Rc::new(Forwarder { sender: Rc::new(Sender { context, default_ttl, reply_sizes }) })
    }

    /// Sends a command to the node of its keys, and renders what comes back.
    pub(in crate::router) fn forward(
        self: &Rc<Forwarder>,
        route: RequestRoute,
        access: KeyAccess,
        request: &Request<'_>,
        caller: Caller<'_>,
    ) -> Answer {
        if let Some(measured) = self.sender.reply_sizes.measure(route, request, caller) {
            let (this, request, caller) = (self.clone(), request.to_owned(), caller.to_owned());
            return Answer::Exclusive(Box::pin(async move {
                measured.await;
                this.sender.context.pause.pass(route.flags).await;
                let answer = this.forward(route, access, &request.as_request(), caller.as_caller());
                answer.end(&mut WriteQueue::default()).await
            }));
        }
        let to = match self.sender.context.destination(route, request) {
            Ok(to) => to,
            Err(reply) => return Answer::Now(reply),
        };
        let owned = request.to_owned();
        let resp = caller.resp;
        if !route.has_many(request) {
            // Nearly all commands: the future has no room for the other kind.
            let mut sent = self.sender.begin(route, access, to, request, owned.bytes(), caller);
            return Answer::Later(Box::pin(
                async move { render(sent.finish().await, route.form, &owned, resp) },
            ));
        }
        let call = self.begin(route, access, to, request, owned.bytes(), caller);
        Answer::Later(Box::pin(async move { render(call.finish().await, route.form, &owned, resp) }))
    }

    /// Sends `bytes`, the form of `request` on the wire.
    ///
    /// The pushes that a command causes come after its own reply. Those of keys that it names are not needed.
    /// Where it may touch others, a PING follows it, and its reply is held back until that was answered.
    pub(in crate::router) fn begin(
        &self,
        route: RequestRoute,
        access: KeyAccess,
        to: Destination,
        request: &Request<'_>,
        bytes: Bytes,
        caller: Caller<'_>,
    ) -> ForwardedCall {
        if !route.has_many(request) {
            return ForwardedCall::Begun(self.sender.begin(route, access, to, request, bytes, caller));
        }
        let (hold, coverage) = (Hold::of(caller.inflight), caller.coverage.cloned());
        let (sender, resp, request) = (self.sender.clone(), caller.resp, request.to_owned());
        ForwardedCall::ManyKeys(ManyKeys { sender, route, access, to, request, bytes, resp, coverage, hold })
    }
}

// === impl ForwardedCall ===

impl ForwardedCall {
    /// Waits for the reply, and for all that must have happened before it leaves.
    pub(in crate::router) async fn finish(self) -> Outcome {
        match self {
            ForwardedCall::Begun(mut begun) => begun.finish().await,
            // In a box, so that no other command carries the room for this.
            ForwardedCall::ManyKeys(many) => Box::pin(many.finish()).await,
        }
    }
}
