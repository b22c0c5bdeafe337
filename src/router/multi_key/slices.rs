//! Large commands on many keys in slices, so that others get their turn in between.
//!
//! A slice is a small command of that name, executed as any other: it sees the earlier writes of its session.
//! Later requests of the session begin when all slices have been answered, so no slice sees their writes.

use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use futures_util::future::LocalBoxFuture;
use tokio::task::yield_now;

use super::by_slot::BySlot;
use crate::clock;
use crate::net::write_queue::WriteQueue;
use crate::protocol::command::{Join, Spec};
use crate::protocol::resp::request::{OwnedRequest, Request};
use crate::protocol::resp::{Resp, cursor, encode};
use crate::router::answer::Answer;
use crate::router::caller::Caller;
use crate::router::coherence::inflight::Hold;
use crate::router::coverage::{self, Coverage};
use crate::router::replies::failure_reply;
use crate::router::reply_bound::ReplyBound;

/// Keys of one slice.
const SLICE_KEYS: usize = 256;

/// A slice ends with the key that brings it to this number of bytes.
const SLICE_BYTES: usize = 256 * 1024;

/// Slices of one command that may be in flight at once.
const SLICES_AHEAD: usize = 4;

/// A large command, and its caller.
struct Sliced {
    by_slot: Rc<BySlot>,
    spec: &'static Spec,
    join: Join,
    request: OwnedRequest,
    resp: Resp,
    bound: ReplyBound,
    coverage: Option<Rc<Coverage>>,
    /// Nothing else of the session begins until this is dropped.
    hold: Hold,
}

/// The reply as far as the slices have been answered.
struct JoinedReply {
    join: Join,
    bound: ReplyBound,
    /// The elements of an MGET, behind their number.
    elements: BytesMut,
    sum: i64,
    error: Option<Bytes>,
}

/// Whether a request is so large that others have to get their turn while it is worked on.
pub(super) fn is_large(request: &Request<'_>, join: Join) -> bool {
    let stride = stride(join);
    request.len() > 1 + SLICE_KEYS * stride
        || (request.raw().len() > SLICE_BYTES && request.len() > 1 + stride)
}

/// Arguments of one key, itself included.
fn stride(join: Join) -> usize {
    if join == Join::Mset { 2 } else { 1 }
}

/// Executes a large command in slices, each by [`BySlot::at_once`].
pub(super) fn in_slices(
    by_slot: &Rc<BySlot>,
    spec: &'static Spec,
    join: Join,
    request: &Request<'_>,
    caller: Caller<'_>,
    bound: ReplyBound,
) -> Answer {
    let sliced = Sliced {
        by_slot: by_slot.clone(),
        spec,
        join,
        request: request.to_owned(),
        resp: caller.resp,
        bound,
        coverage: caller.coverage.cloned(),
        hold: Hold::of(caller.inflight),
    };
    Answer::Later(Box::pin(sliced.carry_out()))
}

// === impl Sliced ===

impl Sliced {
    async fn carry_out(self) -> Bytes {
        let mut joined = JoinedReply::new(self.join, self.request.as_request().len() - 1, self.bound);
        let mut running = VecDeque::with_capacity(SLICES_AHEAD);
        let (mut next, mut coverages) = (1, Vec::new());
        while let Some(slice) = self.slice_at(next).filter(|_| !joined.is_over()) {
            next = slice.end;
            let coverage = self.coverage.as_ref().map(|_| Rc::<Coverage>::default());
            running.push_back(self.begin(slice, coverage.as_ref()));
            coverages.extend(coverage);
            if running.len() == SLICES_AHEAD
                && let Some(oldest) = running.pop_front()
            {
                joined.take(oldest.await);
            }
            yield_now().await;
        }
        for slice in running {
            joined.take(slice.await);
            yield_now().await;
        }
        coverage::note(self.coverage.as_ref(), coverages.iter().all(|coverage| coverage.is_given()));
        joined.finish()
    }

    /// The arguments of the slice that begins with argument `first`; `None` when there is none.
    fn slice_at(&self, first: usize) -> Option<Range<usize>> {
        let (request, stride) = (self.request.as_request(), stride(self.join));
        let (mut end, mut bytes) = (first, 0);
        while end < request.len() && end - first < SLICE_KEYS * stride && bytes < SLICE_BYTES {
            bytes += (end..end + stride).map(|index| request.arg(index).len()).sum::<usize>();
            end += stride;
        }
        (end > first).then_some(first..end)
    }

    /// Sends a slice. What it reads is looked up as of now: all of the request has arrived.
    fn begin(&self, slice: Range<usize>, coverage: Option<&Rc<Coverage>>) -> LocalBoxFuture<'static, Bytes> {
        let request = self.request.as_request();
        let args = request.args_from(slice.start).take(slice.len());
        let part = OwnedRequest::from_args(std::iter::once(request.arg(0)).chain(args));
        let caller = Caller { resp: self.resp, inflight: self.hold.session(), now: clock::now(), coverage };
        let (request, mut out) = (part.as_request(), WriteQueue::default());
        match self.by_slot.at_once(self.spec, self.join, &request, caller, self.bound, &mut out) {
            Answer::Later(reply) => reply,
            answer @ (Answer::Appended | Answer::Now(_)) => {
                // What is there at once is covered.
                coverage::note(coverage, true);
                let reply = match answer {
                    Answer::Now(reply) => reply,
                    _ => out.take_back(0),
                };
                Box::pin(std::future::ready(reply))
            }
            // None of these commands is answered so.
            Answer::Exclusive(_) | Answer::Confirmation(_) | Answer::Mailed => {
                let failure = self.by_slot.context.upstream.no_topology();
                Box::pin(std::future::ready(failure_reply(&failure)))
            }
        }
    }
}

// === impl JoinedReply ===

impl JoinedReply {
    fn new(join: Join, count: usize, bound: ReplyBound) -> JoinedReply {
        let mut elements = BytesMut::new();
        if join == Join::Mget {
            encode::array(&mut elements, count);
        }
        JoinedReply { join, bound, elements, sum: 0, error: None }
    }

    /// Whether no more slices have to be begun: one failed, of a command whose others change nothing.
    fn is_over(&self) -> bool {
        self.join == Join::Mget && self.error.is_some()
    }

    fn take(&mut self, reply: Bytes) {
        if reply.first() == Some(&b'-') {
            self.error.get_or_insert(reply);
            return;
        }
        match self.join {
            Join::Mget => {
                let head = memchr::memchr(b'\n', &reply).map_or(reply.len(), |end| end + 1);
                self.elements.extend_from_slice(&reply[head..]);
                if self.elements.len() > self.bound.bytes {
                    self.error.get_or_insert(self.bound.exceeded());
                    self.elements = BytesMut::new();
                }
            }
            Join::Sum | Join::SumOfReads => self.sum += cursor::integer(&reply).unwrap_or_default(),
            Join::Mset => {}
        }
    }

    fn finish(self) -> Bytes {
        match (self.error, self.join) {
            (Some(error), _) => error,
            (None, Join::Mget) => self.elements.freeze(),
            (None, Join::Mset) => Bytes::from_static(b"+OK\r\n"),
            (None, Join::Sum | Join::SumOfReads) => {
                let mut out = BytesMut::new();
                encode::integer(&mut out, self.sum);
                out.freeze()
            }
        }
    }
}
