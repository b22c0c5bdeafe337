//! What comes in on one node's connection, in the order in which the node sent it: replies, redirects and pushes.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::Lane;
use crate::clock::{self, Nanos};
use crate::invalidation::Invalidation;
use crate::upstream::Upstream;
use crate::upstream::board::Link;
use crate::upstream::call::{UpstreamReply, Waiter, Waiting};
use crate::upstream::error::Failure;
use crate::upstream::pulse::{Heartbeat, Pulse};
use crate::upstream::push::{self, Push};
use crate::upstream::redirect::Redirect;
use crate::upstream::tracking::Tracking;
use crate::upstream::transaction::exec_abort;
use crate::upstream::wire::Wire;
use crate::upstream::words;

/// How long a connection to one server is kept that takes no writes, at least.
const STAY: Duration = Duration::from_secs(5);

// === impl Lane ===

impl Lane {
    /// Takes in what was read, in the order in which the node sent it.
    pub(super) fn receive(
        &self,
        wire: &mut Wire,
        tracking: &mut Option<Tracking>,
        upstream: &Rc<Upstream>,
    ) -> io::Result<()> {
        // All of it had arrived by now.
        let now = clock::now();
        while let Some(frame) = wire.next_frame().inspect_err(|error| self.refuse_length(error))? {
            if frame.first() == Some(&b'>') {
                self.pushed(&frame, tracking, upstream);
            } else {
                self.replied(frame, tracking, now, upstream)?;
            }
        }
        if wire.is_amid_frame() {
            self.state.borrow_mut().progress_at = now;
        }
        self.look_elsewhere(now)
    }

    /// Nobody else tells where one server went that became a replica: its name does, when it is resolved anew. A server
    /// that never takes writes keeps its connection for most of the time.
    fn look_elsewhere(&self, now: Nanos) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        if !std::mem::take(&mut state.takes_no_writes) || now < state.stays_until {
            return Ok(());
        }
        state.stays_until = now + clock::nanos(STAY);
        Err(io::Error::other("the server takes no writes: its name is resolved anew"))
    }

    /// Takes note of an error that says who the node is, or is not.
    fn doubt(&self, error: &[u8], upstream: &Upstream) {
        if is_about_topology(error) {
            upstream.shared.table.ask_refresh();
        }
        if error.starts_with(b"-READONLY") && upstream.options.heartbeat == Heartbeat::Ping {
            self.state.borrow_mut().takes_no_writes = true;
        }
    }

    /// Whoever asked for a reply that is too long is told so, and nobody asks for it again on the next connection.
    fn refuse_length(&self, error: &io::Error) {
        if Wire::is_about_length(error)
            && let Some(waiting) = self.state.borrow_mut().queue.pop()
        {
            waiting.fail(&Failure::Lost { node: self.node.clone(), cause: error.to_string() });
        }
    }

    fn pushed(&self, frame: &Bytes, tracking: &mut Option<Tracking>, upstream: &Upstream) {
        match push::parse(frame) {
            Push::Invalidate(keys) => (upstream.on_invalidation)(&Invalidation::Keys(keys)),
            Push::InvalidateEverything => {
                if let Some(tracking) = tracking {
                    tracking.flush();
                }
                upstream.stats.l1_flushes.add(1);
                self.publish(tracking.as_ref(), upstream);
                (upstream.on_invalidation)(&Invalidation::Node);
            }
            Push::Other => tracing::debug!(node = %self.node, "a push that is not for us"),
        }
    }

    fn replied(
        &self,
        frame: Bytes,
        tracking: &mut Option<Tracking>,
        now: Nanos,
        upstream: &Rc<Upstream>,
    ) -> io::Result<()> {
        if self.state.borrow_mut().queue.take_part(&frame) {
            return Ok(());
        }
        let Some(waiting) = self.state.borrow_mut().queue.pop() else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a reply that nobody asked for"));
        };
        let is_error = frame.first() == Some(&b'-');
        match waiting.waiter {
            Waiter::Caller(_) if is_error => match waiting.parts {
                Some(_) => self.transaction_refused(frame, waiting, upstream),
                None => self.error_reply(frame, waiting, is_trusted(tracking.as_ref(), now), upstream),
            },
            Waiter::Caller(sender) => {
                let tracked = is_trusted(tracking.as_ref(), now);
                // A caller whose client has gone no longer listens.
                let _ = sender.send(Ok(UpstreamReply { frame, rerouted: waiting.rerouted, tracked }));
            }
            Waiter::Arming if is_error => {
                let why = words::cut(frame.trim_ascii_end());
                tracing::warn!(node = %self.node, %why, "the node does not track reads: clients that cache are told so");
                self.state.borrow_mut().refuses_tracking = true;
            }
            Waiter::Arming => {
                tracking.get_or_insert_with(|| Tracking::new(upstream.options.lease));
            }
            Waiter::Heartbeat(sent_at) => {
                let pulse = upstream.options.heartbeat.read(&frame);
                if let Some(tracking) = tracking {
                    self.heard(tracking, sent_at, pulse, upstream);
                }
                self.publish(tracking.as_ref(), upstream);
            }
            Waiter::Nobody => {}
        }
        Ok(())
    }

    fn error_reply(&self, frame: Bytes, waiting: Waiting, tracked: bool, upstream: &Rc<Upstream>) {
        match upstream.redirect_of(&frame, waiting.call.slot, &self.node) {
            Some(redirect) => upstream.redirect(redirect, waiting),
            None if waiting.call.foreign => waiting.answer(frame, tracked),
            None => {
                self.doubt(&frame, upstream);
                waiting.answer(words::redirect_cut(frame), tracked);
            }
        }
    }

    /// EXEC carried out nothing. What was refused at its place in the transaction says why.
    fn transaction_refused(&self, exec: Bytes, waiting: Waiting, upstream: &Rc<Upstream>) {
        let refusal = waiting.parts.as_ref().and_then(|parts| parts.refusal()).cloned();
        let cause = refusal.as_ref().unwrap_or(&exec);
        match upstream.redirect_of(cause, waiting.call.slot, &self.node) {
            // ASKING holds for one command and cannot be said inside MULTI, so no node can carry this out now.
            Some(redirect @ Redirect::Ask(..)) => {
                upstream.note(&redirect);
                waiting.answer_moving();
            }
            Some(moved) => upstream.redirect(moved, waiting),
            None => {
                self.doubt(cause, upstream);
                let aborted = refusal.map(|refusal| exec_abort(&words::redirect_cut(refusal)));
                waiting.answer(aborted.unwrap_or(exec), false);
            }
        }
    }

    pub(super) fn heard(&self, tracking: &mut Tracking, sent_at: Nanos, pulse: Pulse, upstream: &Upstream) {
        if let Some(why) = tracking.heard(sent_at, pulse, &upstream.shared.table, clock::now()) {
            tracing::info!(node = %self.node, why, "L1 of the node is not served until the topology was read again");
            (upstream.on_invalidation)(&Invalidation::Node);
        }
    }

    /// Whether the lease has run out is looked at without waiting for the node, which may be silent for long.
    pub(super) fn look_at_lease(&self, tracking: &mut Option<Tracking>, upstream: &Upstream) {
        let table = &upstream.shared.table;
        if tracking.as_mut().is_some_and(|tracking| tracking.lapse(table, clock::now())) {
            tracing::info!(node = %self.node, "the node is silent: its L1 is not served until the topology was read again");
            self.publish(tracking.as_ref(), upstream);
            (upstream.on_invalidation)(&Invalidation::Node);
        }
    }

    /// Makes the epoch known to those who send, and the state to those who report.
    pub(super) fn publish(&self, tracking: Option<&Tracking>, upstream: &Upstream) {
        let epoch = tracking.and_then(Tracking::epoch).cloned();
        let link = match tracking {
            Some(_) => Link::Up(epoch.clone()),
            None if upstream.tracks() => Link::Untracked,
            None => Link::Unasked,
        };
        self.state.borrow_mut().epoch = epoch;
        upstream.post(&self.node, link);
    }
}

/// Whether an error says that the node is not, or not now, who the table takes it for. A MOVED gets here only if it names
/// nobody whom we may ask.
fn is_about_topology(error: &[u8]) -> bool {
    [&b"-CLUSTERDOWN"[..], b"-READONLY", b"-MASTERDOWN", b"-MOVED"]
        .iter()
        .any(|prefix| error.starts_with(prefix))
}

/// Whether what was read on a connection by `now` is covered: it is tracked, and trusted.
fn is_trusted(tracking: Option<&Tracking>, now: Nanos) -> bool {
    tracking.and_then(Tracking::epoch).is_some_and(|epoch| epoch.is_live(now))
}
