//! Commands on many keys, split by slot and joined in order: MGET, MSET, DEL, UNLINK, EXISTS, TOUCH.
//!
//! Each part is atomic, the whole is not. The parts go out at once, each behind what was sent to its slot
//! before. In front of one server nothing is split.

use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use futures_util::future::join_all;

use super::mget::Mget;
use super::slot_parts::parts;
use crate::net::write_queue::WriteQueue;
use crate::protocol::command::{Flags, Join, Spec};
use crate::protocol::key::KeySlots;
use crate::protocol::resp::cursor;
use crate::protocol::resp::encode;
use crate::protocol::resp::request::{OwnedRequest, Request};
use crate::router::answer::Answer;
use crate::router::caller::Caller;
use crate::router::context::RouterContext;
use crate::router::coverage::{self, is_tracked};
use crate::router::forward::default_ttl::{DefaultTtl, TtlFollowUp};
use crate::router::forward::forwarder::Forwarder;
use crate::router::reads::cached_read::CachedReads;
use crate::router::replies::{failure_reply, odd_reply, stopped};
use crate::router::reply_bound::ReplyBound;
use crate::router::request_route::{KeyAccess, RequestRoute};
use crate::upstream::{Call, Outcome, PendingReply};

/// Carries out commands on many keys, one part for each slot.
#[derive(Debug)]
pub(super) struct BySlot {
    pub(super) context: Rc<RouterContext>,
    pub(super) forwarder: Rc<Forwarder>,
    pub(super) default_ttl: Rc<DefaultTtl>,
    pub(super) reads: Rc<CachedReads>,
    pub(super) mget: Rc<Mget>,
}

// === impl BySlot ===

impl BySlot {
    /// Carries out a request of any size: others wait until all of it was looked at.
    pub(super) fn at_once(
        &self,
        spec: &'static Spec,
        join: Join,
        request: &Request<'_>,
        caller: Caller<'_>,
        bound: ReplyBound,
        out: &mut WriteQueue,
    ) -> Answer {
        let route = RequestRoute::of(spec);
        let Ok(positions) = spec.keys.positions(request) else {
            return self.forwarder.forward(route, KeyAccess::Declared, request, caller);
        };
        match join {
            Join::Mget => self.mget.answer(request, caller, bound, out),
            // EXISTS of one key is a read like any other.
            Join::SumOfReads if positions.len() == 1 => self.reads.read(spec, request, caller, out),
            Join::Sum | Join::SumOfReads | Join::Mset if self.is_one_command(route, request) => {
                self.forwarder.forward(route, KeyAccess::Declared, request, caller)
            }
            Join::Sum | Join::SumOfReads | Join::Mset => self.split(route, join, request, caller),
        }
    }

    /// Whether one node carries out all of a request.
    pub(super) fn is_one_command(&self, route: RequestRoute, request: &Request<'_>) -> bool {
        !self.context.upstream.is_cluster() || route.named_slots(request) != KeySlots::Several
    }

    /// Sends one command for each slot.
    fn split(&self, route: RequestRoute, join: Join, request: &Request<'_>, caller: Caller<'_>) -> Answer {
        let reads_only = route.flags.has(Flags::READ);
        let values = if join == Join::Mset { 1 } else { 0 };
        let positions = route.keys.positions(request).into_iter().flatten();
        let write =
            (!reads_only).then(|| self.context.begin_write(route.copied_keys_of(request), None, caller));
        let (sent, following): (Vec<PendingReply>, Vec<Option<TtlFollowUp>>) = parts(request, positions)
            .into_iter()
            .map(|part| {
                let args = part.positions.iter().flat_map(|position| *position..=position + values);
                let args = std::iter::once(0).chain(args).map(|index| request.arg(index));
                let request = OwnedRequest::from_args(args);
                let (bytes, due) = self.default_ttl.apply(route, &request.as_request(), request.bytes());
                let call = Call::new(caller.inflight.database(), part.slots, bytes, reads_only);
                let sent = self.context.upstream.send(part.slots.one(), call);
                let following = self.default_ttl.follow(&sent, part.slots, due, caller.inflight);
                (sent, following)
            })
            .unzip();
        let coverage = caller.coverage.cloned();
        Answer::Later(Box::pin(async move {
            let outcomes = join_all(sent.into_iter().map(|sent| sent.reply)).await;
            let outcomes: Vec<Outcome> =
                outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(stopped)).collect();
            for (following, outcome) in following.into_iter().zip(&outcomes) {
                if let Some(following) = following {
                    following.finish(outcome).await;
                }
            }
            drop(write);
            coverage::note(coverage.as_ref(), outcomes.iter().all(is_tracked));
            match join {
                Join::Sum | Join::SumOfReads => sum(outcomes.into_iter()),
                Join::Mset | Join::Mget => first_error_or(outcomes.into_iter(), b"+OK\r\n"),
            }
        }))
    }
}

/// The sum of all integers, or the first reply that is none.
fn sum(outcomes: impl Iterator<Item = Outcome>) -> Bytes {
    let mut total = 0;
    for outcome in outcomes {
        match outcome {
            Ok(reply) => match cursor::integer(&reply.frame) {
                Some(number) => total = number.saturating_add(total),
                None => return odd_reply("a part of the command", &reply.frame),
            },
            Err(failure) => return failure_reply(&failure),
        }
    }
    let mut out = BytesMut::new();
    encode::integer(&mut out, total);
    out.freeze()
}

/// `reply`, or the first error.
fn first_error_or(outcomes: impl Iterator<Item = Outcome>, reply: &'static [u8]) -> Bytes {
    for outcome in outcomes {
        match outcome {
            Ok(reply) if reply.frame.starts_with(b"-") => return reply.frame,
            Ok(_) => {}
            Err(failure) => return failure_reply(&failure),
        }
    }
    Bytes::from_static(reply)
}
