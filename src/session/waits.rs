//! A session that waits before it takes another request: for a gate, or for the end of an exclusive request.
//!
//! Meanwhile nothing is read from the client, and pushes to it leave at once. When the client leaves, the
//! wait is dropped.

use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::conversation::Session;
use super::exclusive::{ExclusiveRequest, Waiting};
use super::mode_commands;
use super::tracked_read::TrackedRead;
use crate::clock;
use crate::commands::monitor;
use crate::protocol::command::Spec;
use crate::router::{Answer, Caller, ExclusiveEnd};

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
        loop {
            let end = match &mut self.waiting {
                None => return Poll::Ready(Waited::Again),
                Some(Waiting::Gate(gate)) => {
                    ready!(gate.as_mut().poll(cx));
                    None
                }
                Some(Waiting::Exclusive(request)) => Some(ready!(request.work.as_mut().poll(cx))),
            };
            let (Some(Waiting::Exclusive(mut request)), Some(end)) = (self.waiting.take(), end) else {
                return Poll::Ready(Waited::Again);
            };
            match end {
                ExclusiveEnd::Reply(reply) => self.end_exclusive(*request, Answer::Now(reply)),
                ExclusiveEnd::Sent(reply) => self.end_exclusive(*request, Answer::Later(reply)),
                ExclusiveEnd::Step => match self.go_on(&request) {
                    Answer::Exclusive(work) => {
                        request.work = work;
                        self.waiting = Some(Waiting::Exclusive(request));
                        continue;
                    }
                    answer => self.end_exclusive(*request, answer),
                },
            }
            return Poll::Ready(Waited::Exclusive);
        }
    }

    /// Goes on with the request itself.
    fn go_on(&mut self, request: &ExclusiveRequest) -> Answer {
        let inflight = self.state.client.inflight.clone();
        let coverage = request.tracked.as_ref().map(TrackedRead::coverage);
        let caller =
            Caller { resp: self.state.client.resp(), inflight: &inflight, now: clock::now(), coverage };
        mode_commands::go_on(&mut self.state, &self.context, caller)
    }

    fn end_exclusive(&mut self, request: ExclusiveRequest, answer: Answer) {
        let ExclusiveRequest { spec, measure, tracked, shown, bytes, .. } = request;
        if let Some(request) = shown {
            let client = &self.state.client.entry;
            monitor::show(spec, &request.as_request(), client, &self.context.server);
        }
        let (command, wanted) = (spec.map_or(0, Spec::number), self.state.client.wants_reply());
        match answer {
            Answer::Later(reply) => {
                let reply = match tracked {
                    Some(tracked) => tracked.followed(reply),
                    None => reply,
                };
                if wanted {
                    self.pipeline.push_later(command, reply, measure, bytes);
                } else {
                    self.pipeline.push_unwanted(reply, bytes);
                }
            }
            Answer::Now(reply) => {
                let reply = self.state.with_names_of_client(reply);
                measure.into_iter().for_each(|measure| measure.stop(clock::now(), &reply));
                tracked.iter().for_each(|tracked| tracked.end(&reply));
                if wanted && command > 0 && reply.first() == Some(&b'-') {
                    let all = &self.context.server.command_stats;
                    all.failed(&self.context.command_stats, command, false, &reply);
                }
                if wanted {
                    self.push_answer(reply);
                }
            }
            // No request that has the session for itself ends so.
            Answer::Appended | Answer::Confirmation(_) | Answer::Exclusive(_) | Answer::Mailed => {}
        }
    }

    /// Answers the exclusive request with an error, and stops waiting for it.
    pub(super) fn give_up_exclusive(&mut self, error: Bytes) {
        if self.waiting.take_if(|waiting| matches!(waiting, Waiting::Exclusive(_))).is_some()
            && self.state.client.wants_reply()
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
