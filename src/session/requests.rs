//! The input of a session: requests are taken one after the other, as long as there is room for answers.

use std::cell::Cell;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::conversation::{Session, SessionEnd};
use super::serve::serve;
use super::transaction;
use super::waits::Waited;
use crate::clock;
use crate::commands::SessionContext;
use crate::memory::SMALL_BYTES;
use crate::net::connection::EndReason;
use crate::net::walk::Flow;
use crate::net::write_queue::WriteQueue;
use crate::protocol::resp::encode;
use crate::protocol::resp::request::Request;

/// Bytes of replies after which the session writes before it looks at the next request.
const BATCH_BYTES: usize = 256 * 1024;

impl Session {
    /// Takes the requests that have arrived. Returns whether there were any.
    #[inline]
    pub(super) fn take_requests(&mut self, cx: &mut Context<'_>) -> Result<bool, SessionEnd> {
        if self.waiting.is_some() {
            match self.poll_waiting(cx) {
                Poll::Pending if self.state.client.is_locked() => return self.wait_for_turn(cx),
                Poll::Pending => return Ok(false),
                // Its reply may still have to come: the pipeline is looked at before anything else is taken.
                Poll::Ready(Waited::Exclusive) => return Ok(true),
                Poll::Ready(Waited::Again) => {}
            }
        }
        if self.state.drains_first {
            if !self.pipeline.is_empty() {
                self.wait_alone(cx)?;
                return Ok(false);
            }
            self.state.drains_first = false;
            self.connection.limit_unauthenticated(self.state.client.is_locked());
        }
        self.was_slowed = self.is_slowed();
        if self.state.client.leaving
            || self.is_full()
            || self.state.client.inflight.is_held()
            || self.was_slowed
        {
            return Ok(false);
        }
        let batch_end = self.output() + BATCH_BYTES;
        let Session { context, connection, state, pipeline, waiting, .. } = self;
        // The clock is read once, after the bytes were: all that is shown had arrived by then.
        let (clock, locked) = (Cell::new(None), state.client.is_locked());
        let scope = state.client.scope.clone();
        let put_off = Cell::new(false);
        let mut handle = |request: Request<'_>, out: &mut WriteQueue| {
            let now = clock.get().unwrap_or_else(clock::now);
            clock.set(Some(now));
            let mut flow = serve(context, state, pipeline, waiting, request, out, now);
            if flow == Flow::Next && out.len() + pipeline.bytes() >= batch_end {
                flow = Flow::Pause;
            }
            put_off.set(flow != Flow::Next);
            flow
        };
        let mut ahead = |bytes: &[u8]| {
            if !locked {
                context.router.prefetch(scope.as_ref().map_or(b"", |scope| scope.prefix()), bytes);
            }
        };
        let mut result =
            if connection.has_rest() { connection.walk_rest(&mut ahead, &mut handle) } else { Ok(()) };
        if result.is_ok() && !put_off.get() {
            // At most half a request is left: more is needed from the socket.
            match connection.poll_requests(cx, &mut ahead, &mut handle) {
                Poll::Ready(read) => result = read,
                Poll::Pending => return Ok(clock.get().is_some()),
            }
        }
        match result {
            Ok(()) => {}
            // Earlier requests are still answered: a client may close only its sending side.
            Err(EndReason::Closed | EndReason::Ahead(_)) => state.client.leaving = true,
            Err(EndReason::Skipped(bytes, bound)) => {
                context.ceiling.counts.requests_refused.fetch_add(1, Ordering::Relaxed);
                transaction::abort(state);
                if state.client.wants_reply() {
                    pipeline.push_now(skipped(bytes, bound, context));
                }
            }
            Err(EndReason::Failed(error)) => return Err(SessionEnd::Failed(error)),
            Err(EndReason::Broken(error)) => {
                context.stats.protocol_errors.bump();
                tracing::debug!(client = state.client.entry.endpoints.address, %error, "a client sent what is no request");
                pipeline.push_now(encode::error_reply([b"ERR ", &error.text()[..]].concat()));
                state.client.leaving = true;
            }
        }
        Ok(true)
    }

    /// Waits for the answer to an exclusive request, and for the client to leave meanwhile.
    pub(super) fn wait_alone(&mut self, cx: &mut Context<'_>) -> Result<(), SessionEnd> {
        match self.connection.poll_ahead(cx, self.context.limits.ahead_bytes_max) {
            // No command waits upstream for a client that may have left.
            Poll::Ready(EndReason::Closed) if self.state.client.entry.wait.is_waiting() => {
                Err(SessionEnd::Done)
            }
            // Requests that it sent before it closed its side are still answered.
            Poll::Pending
            | Poll::Ready(EndReason::Closed | EndReason::Broken(_) | EndReason::Skipped(..)) => Ok(()),
            Poll::Ready(EndReason::Failed(error)) => Err(SessionEnd::Failed(error)),
            Poll::Ready(EndReason::Ahead(bound)) => Err(SessionEnd::Ahead(bound)),
        }
    }

    /// Waits for a turn to authenticate. A client that leaves meanwhile takes no place from others.
    #[cold]
    pub(super) fn wait_for_turn(&mut self, cx: &mut Context<'_>) -> Result<bool, SessionEnd> {
        match self.connection.poll_ahead(cx, SMALL_BYTES) {
            Poll::Ready(EndReason::Closed) => Err(SessionEnd::Done),
            Poll::Ready(EndReason::Failed(error)) => Err(SessionEnd::Failed(error)),
            // It may send no more now.
            Poll::Ready(EndReason::Ahead(_) | EndReason::Broken(_) | EndReason::Skipped(..))
            | Poll::Pending => Ok(false),
        }
    }
}

/// The error for a request that was not looked at because it has more bytes than `bound` allows.
#[cold]
fn skipped(bytes: usize, bound: &'static str, context: &SessionContext) -> Bytes {
    const UNDONE: &str = "the command was not executed";
    encode::error_reply(match bound {
        "memory_max" => context.ceiling.refusal("a request", bytes, UNDONE),
        bound => format!(
            "OOM nearside: a request of {bytes} bytes at least is larger than {bound} ({} bytes); {UNDONE}",
            context.limits.ahead_bytes_max
        ),
    })
}
