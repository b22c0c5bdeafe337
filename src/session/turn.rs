//! A turn of a session: it takes requests, executes them and writes replies until it has to wait, or until
//! other sessions have to get their turn.

use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use super::bounds::{output_bound, waits_for_too_many};
use super::conversation::{Session, SessionEnd};
use super::deadlines::{ClientProgress, DeadlineTerms, Late};
use super::exclusive::Waiting;
use crate::memory::SMALL_BYTES;
use crate::protocol::resp::encode;

/// Batches, read or written, after which a session yields to other sessions, and to the invalidations that
/// wait in the upstream sockets. A client that waits for its replies needs one batch.
const BATCHES_PER_TURN: u32 = 2;

impl Session {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<SessionEnd> {
        let end = self.take_turn(cx);
        if end.is_pending() {
            self.count_held();
        }
        end
    }

    #[inline(always)]
    pub(super) fn take_turn(&mut self, cx: &mut Context<'_>) -> Poll<SessionEnd> {
        let mut batches = 0;
        loop {
            let answered = self.collect_answers(cx);
            if let Err(end) = self.take_mail(cx) {
                return Poll::Ready(end);
            }
            let taken = match self.take_requests(cx) {
                Ok(taken) => taken,
                Err(end) => return Poll::Ready(end),
            };
            let output = self.output();
            let mut room = false;
            if output > 0 {
                let bound = output_bound(&self.state, &self.context);
                if output > bound.bytes {
                    return Poll::Ready(SessionEnd::NotReading(bound.name));
                }
                room = match self.send(cx, taken) {
                    Ok(room) => room,
                    Err(end) => return Poll::Ready(end),
                };
            }
            if self.state.client.leaving
                && !self.is_exclusive()
                && self.pipeline.is_empty()
                && self.connection.out.is_empty()
            {
                return Poll::Ready(SessionEnd::Done);
            }
            if !(answered || taken || room) {
                // Once for each look at its requests, so that this ends whatever the next one finds.
                if std::mem::take(&mut self.was_slowed) && !self.is_slowed() {
                    // Its input was just taken, and nothing else would check these requests.
                    continue;
                }
                let idle_timeout = self.context.server.settings.client_idle_timeout.get();
                if !self.deadlines.is_quiet(self.connection.has_half(), idle_timeout) && self.is_late(cx) {
                    continue;
                }
                return Poll::Pending;
            }
            batches += u32::from(taken || room);
            if batches == BATCHES_PER_TURN {
                give_way(cx);
                return Poll::Pending;
            }
        }
    }

    /// Bytes of replies that the client has not taken, or that wait for an earlier one.
    #[inline]
    pub(super) fn output(&self) -> usize {
        self.connection.out.len() + self.pipeline.bytes()
    }

    /// Counts the memory that it makes the daemon hold: none for a client that reads its replies.
    #[inline]
    pub(super) fn count_held(&mut self) {
        let output = self.output();
        let kept = self.state.modes.as_ref().map_or(0, |modes| modes.kept_bytes());
        let waiting = self.waiting.as_ref().map_or(0, Waiting::bytes);
        if let Some(sum) = self.held.set(self.connection.kept() + waiting, output, kept) {
            self.state.client.entry.held.store(sum, Ordering::Relaxed);
        }
    }

    /// Whether no requests are taken for now: memory is scarce, and the client does not read its replies, or
    /// waits for many.
    #[inline]
    pub(super) fn is_slowed(&self) -> bool {
        self.output() > SMALL_BYTES && self.context.ceiling.is_pressed()
            || waits_for_too_many(&self.pipeline, &self.context)
    }

    /// Whether so many of its bytes are in flight that no more requests are taken.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        let limits = &self.context.limits;
        !self.pipeline.is_empty()
            && (self.pipeline.len() >= limits.pipeline_depth_max
                || self.pipeline.in_flight_bytes() >= limits.in_flight_bytes_max)
    }

    /// Checks whether the client is late; if so, answers with the error and takes no more of its requests.
    #[cold]
    pub(super) fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let (state, limits) = (&self.state, &self.context.limits);
        let settings = &self.context.server.settings;
        if state.client.leaving {
            return false;
        }
        let (half, waits) = (self.connection.half_len(), self.waiting.is_some());
        let takes = !waits
            && !state.drains_first
            && !self.is_slowed()
            && !state.client.inflight.is_held()
            && !self.is_full();
        let is_owed = waits || !self.pipeline.is_empty() || !self.connection.out.is_empty();
        let (_, asked_at) = state.client.entry.last_request();
        let standing = ClientProgress {
            locked_since: state.client.is_locked().then_some(state.client.entry.connected_at),
            half: Some(half).filter(|half| *half > 0 && takes),
            idle_since: (!is_owed && half == 0 && !state.listens()).then_some(asked_at),
            asked_at,
        };
        let terms =
            DeadlineTerms { arrival: limits.arrival_timeout, idle: settings.client_idle_timeout.get() };
        let Some(late) = self.deadlines.poll(standing, terms, cx) else { return false };
        self.context.stats.clients_timed_out.bump();
        let millis = terms.arrival.as_millis();
        let (bound, error) = match late {
            Late::Idle => ("client_idle_timeout", None),
            Late::Password => (
                "request_arrival_timeout",
                Some(format!(
                    "NOAUTH nearside: no password came within {millis} ms (request_arrival_timeout)"
                )),
            ),
            Late::Request => (
                "request_arrival_timeout",
                Some(format!(
                    "ERR nearside: a request did not arrive within {millis} ms (request_arrival_timeout); it was not executed"
                )),
            ),
        };
        tracing::info!(
            client = state.client.entry.endpoints.address,
            bound,
            "a client takes too long: closed"
        );
        if let Some(error) = error {
            self.pipeline.push_now(encode::error_reply(error));
        }
        self.state.client.leaving = true;
        true
    }
}

/// Has the session polled again after the sockets of all others.
fn give_way(cx: &mut Context<'_>) {
    let _ = std::pin::pin!(tokio::task::yield_now()).poll(cx);
}
