//! A session that waits before it takes another request: for a gate, or for the end of an exclusive request.
//!
//! Meanwhile nothing is read from the client, and pushes to it leave at once. When the client leaves, the
//! wait is dropped.

use std::task::{Context, Poll};

use bytes::Bytes;

use super::conversation::Session;
use super::exclusive::{ExclusiveRequest, Waiting};
use crate::clock;
use crate::router::ExclusiveEnd;

/// What a session has waited for.
pub(super) enum Waited {
    /// The request at the head of the connection may be looked at again.
    Again,
    /// The end of an exclusive request.
    Exclusive,
}

// === impl Session ===

impl Session {
    /// Whether it waits for an exclusive request.
    pub(super) fn is_exclusive(&self) -> bool {
        matches!(self.waiting, Some(Waiting::Exclusive(_)))
    }

    /// Ready when there is nothing to wait for any more.
    #[cold]
    pub(super) fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<Waited> {
        let end = match &mut self.waiting {
            None => return Poll::Ready(Waited::Again),
            Some(Waiting::Gate(gate)) => gate.as_mut().poll(cx).map(|()| None),
            Some(Waiting::Exclusive(request)) => request.work.as_mut().poll(cx).map(Some),
        };
        let Poll::Ready(end) = end else { return Poll::Pending };
        Poll::Ready(match (self.waiting.take(), end) {
            (Some(Waiting::Exclusive(request)), Some(end)) => {
                self.end_exclusive(*request, end);
                Waited::Exclusive
            }
            _ => Waited::Again,
        })
    }

    fn end_exclusive(&mut self, request: ExclusiveRequest, end: ExclusiveEnd) {
        let ExclusiveRequest { command, measure, wanted, bytes, .. } = request;
        match end {
            ExclusiveEnd::Sent(reply) if wanted => self.pipeline.push_later(command, reply, measure, bytes),
            ExclusiveEnd::Sent(reply) => self.pipeline.push_unwanted(reply, bytes),
            ExclusiveEnd::Reply(reply) => {
                measure.into_iter().for_each(|measure| measure.stop(clock::now()));
                if wanted && command > 0 && reply.first() == Some(&b'-') {
                    self.context.server.command_stats.failed(
                        &self.context.command_stats,
                        command,
                        false,
                        &reply,
                    );
                }
                if wanted {
                    self.push_answer(reply);
                }
            }
        }
    }

    /// Answers the exclusive request with an error, and stops waiting for it.
    pub(super) fn give_up_exclusive(&mut self, error: Bytes) {
        if let Some(Waiting::Exclusive(request)) =
            self.waiting.take_if(|waiting| matches!(waiting, Waiting::Exclusive(_)))
            && request.wanted
        {
            self.push_answer(error);
        }
    }

    /// Adds an answer that is known already, behind the outstanding ones.
    fn push_answer(&mut self, reply: Bytes) {
        if self.pipeline.is_empty() {
            self.connection.out.push(&reply)
        } else {
            self.pipeline.push_now(reply)
        }
    }
}
