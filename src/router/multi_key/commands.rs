//! Commands on many keys: at once, or in slices where they are large.

use std::rc::Rc;

use super::by_slot::BySlot;
use super::mget::Mget;
use super::slices;
use crate::net::write_queue::WriteQueue;
use crate::protocol::command::{Join, Spec};
use crate::protocol::resp::request::Request;
use crate::router::answer::Answer;
use crate::router::caller::Caller;
use crate::router::context::RouterContext;
use crate::router::forward::default_ttl::DefaultTtl;
use crate::router::forward::forwarder::Forwarder;
use crate::router::reads::cached_read::CachedReads;
use crate::router::reply_bound::ReplyBound;
use crate::router::request_route::{KeyAccess, RequestRoute};

/// Answers commands on many keys.
#[derive(Debug)]
pub struct MultiKey {
    by_slot: Rc<BySlot>,
}

// === impl MultiKey ===

impl MultiKey {
    /// Reads from `context` and writes to them.
    pub(in crate::router) fn new(
        context: Rc<RouterContext>,
        forwarder: Rc<Forwarder>,
        default_ttl: Rc<DefaultTtl>,
        reads: Rc<CachedReads>,
    ) -> MultiKey {
        let mget = Mget::new(context.clone());
        MultiKey { by_slot: Rc::new(BySlot { context, forwarder, default_ttl, reads, mget }) }
    }

    /// Answers a command on many keys; `bound` limits the joined reply. A reply that is complete at once is
    /// appended to `out`.
    pub fn answer(
        &self,
        spec: &'static Spec,
        join: Join,
        request: &Request<'_>,
        caller: Caller<'_>,
        bound: ReplyBound,
        out: &mut WriteQueue,
    ) -> Answer {
        caller.inflight.note_sent();
        if slices::is_large(request, join) {
            if join == Join::Mget || !self.by_slot.is_one_command(RequestRoute::of(spec), request) {
                return slices::in_slices(&self.by_slot, spec, join, request, caller, bound);
            }
            return self.by_slot.forwarder.forward(
                RequestRoute::of(spec),
                KeyAccess::Declared,
                request,
                caller,
            );
        }
        self.by_slot.at_once(spec, join, request, caller, bound, out)
    }
}
