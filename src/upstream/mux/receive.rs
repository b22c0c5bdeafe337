//! What comes in on one node's connection, in the order in which the node sent it: replies, redirects and
//! pushes.

use std::io;
use std::time::Duration;

use bytes::Bytes;

use super::connection::{MuxConnection, PartialFrame};
use crate::clock::{self, Nanos};
use crate::invalidation::Invalidation;
use crate::protocol::db::DbIndex;

use crate::upstream::call::exec_abort;
use crate::upstream::call::{Call, Completion, PendingCommand, UpstreamReply};
use crate::upstream::conn::heartbeat::{self, Health, Heartbeat};
use crate::upstream::conn::push::{self, NodePush};
use crate::upstream::conn::tracking::ConnectionTracking;
use crate::upstream::conn::transport::Transport;
use crate::upstream::conn::turn::{self, Turn};
use crate::upstream::context::{Reroute, WorkerContext};
use crate::upstream::error::UpstreamError;
use crate::upstream::rights::Right;
use crate::upstream::status::LinkStatus;
use crate::upstream::truncate;

/// How long a connection to one server is kept that takes no writes, at least.
const REPLICA_RECONNECT_MIN: Duration = Duration::from_secs(5);

// === impl MuxConnection ===

impl MuxConnection {
    /// Takes in what was read, in the order in which the node sent it.
    pub(super) async fn receive(
        &self,
        transport: &mut Transport,
        tracking: &mut Option<ConnectionTracking>,
        context: &WorkerContext,
    ) -> io::Result<()> {
        // All of it had arrived by now.
        let now = clock::now();
        let (mut any, mut turn) = (false, Turn::default());
        while let Some(frame) = self.next_frame(transport)? {
            any = true;
            if frame.first() == Some(&b'>') {
                self.pushed(&frame, tracking, &mut turn, context).await;
            } else {
                self.replied(frame, transport, tracking, now, context)?;
            }
            turn.note(1).await;
        }
        if let Some(tracking) = tracking {
            tracking.took(transport.is_drained(), now);
        }
        let received = transport.take_received();
        let coming = transport.expected().map(|bytes_min| bytes_min >= context.options.large_bytes_min);
        {
            let mut state = self.state.borrow_mut();
            if transport.expected_reply() > heartbeat::REPLY_BYTES_MAX && state.queue.is_own_next() {
                let max = heartbeat::REPLY_BYTES_MAX;
                return Err(io::Error::other(format!(
                    "an answer to our own question is longer than {max} bytes"
                )));
            }
            let former = state.coming.filter(|_| !any);
            let since = former.map_or(now, |coming| coming.since);
            if coming == Some(true) && !former.is_some_and(|former| former.is_large) {
                context.expect_large(state.queue.next_slot());
            }
            state.coming = coming.map(|is_large| PartialFrame { since, is_large });
            if coming.is_some() {
                state.transfer.moved(received, now, &context.options.transfer);
            }
        }
        self.reconnect_if_replica(now)
    }

    /// Ends the connection to a server that became a replica: only its name, resolved again, leads to its
    /// successor. A server that never takes writes keeps its connection for most of the time.
    fn reconnect_if_replica(&self, now: Nanos) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        if !std::mem::take(&mut state.takes_no_writes) || now < state.stays_until {
            return Ok(());
        }
        state.stays_until = now + clock::nanos(REPLICA_RECONNECT_MIN);
        Err(io::Error::other("the server takes no writes: its name is resolved anew"))
    }

    /// Notes an error that contradicts the role of the node. If user code may have written it, a single
    /// server is asked for its role; nodes of a cluster and servers that Sentinels watch are asked all the
    /// time.
    pub(in crate::upstream) fn doubt(&self, error: &[u8], runs_user_code: bool, context: &WorkerContext) {
        if is_about_topology(error) && !runs_user_code {
            context.shared.table.ask_refresh();
        }
        if !error.starts_with(b"-READONLY") || context.options.heartbeat != Heartbeat::Ping {
            return;
        }
        match runs_user_code {
            false => self.state.borrow_mut().takes_no_writes = true,
            true => self.ask_role(context),
        }
    }

    /// Asks one server whether it is a replica, at most once in [`REPLICA_RECONNECT_MIN`].
    fn ask_role(&self, context: &WorkerContext) {
        let now = clock::now();
        let mut state = self.state.borrow_mut();
        if now < state.role_asked_from {
            return;
        }
        state.role_asked_from = now + clock::nanos(REPLICA_RECONNECT_MIN);
        drop(state);
        let bytes = Heartbeat::Role.request();
        let call = Call::question(bytes);
        let deadline = now + clock::nanos(context.options.request_timeout);
        self.enqueue(PendingCommand::new(call, Completion::Role, deadline));
    }

    /// The next frame. A command whose reply has no end fails, and is not sent again on the next connection.
    fn next_frame(&self, transport: &mut Transport) -> io::Result<Option<Bytes>> {
        let frame = transport.next_frame();
        // A push has a length too, and no command waits for it.
        if let Err(error) = &frame
            && transport.is_passing()
            && let Some(waiting) = self.state.borrow_mut().queue.pop()
        {
            waiting.fail(&UpstreamError::Lost { node: self.node.clone(), cause: error.to_string() });
        }
        frame
    }

    async fn pushed(
        &self,
        frame: &Bytes,
        tracking: &mut Option<ConnectionTracking>,
        turn: &mut Turn,
        context: &WorkerContext,
    ) {
        match push::parse(frame) {
            NodePush::Invalidate(keys) => {
                for keys in turn::parts(keys) {
                    let work = keys.len();
                    (context.on_invalidation)(&Invalidation::Keys(keys));
                    turn.note(work).await;
                }
            }
            NodePush::InvalidateEverything => {
                if let Some(tracking) = tracking {
                    tracking.flush();
                }
                context.stats.l1_flushes.add(1);
                self.publish(tracking.as_ref(), context);
                (context.on_invalidation)(&Invalidation::Node);
            }
            NodePush::Other => tracing::debug!(node = %self.node, "a push that is not for us"),
        }
    }

    fn replied(
        &self,
        frame: Bytes,
        transport: &mut Transport,
        tracking: &mut Option<ConnectionTracking>,
        now: Nanos,
        context: &WorkerContext,
    ) -> io::Result<()> {
        if self.state.borrow_mut().queue.take_part(&frame) {
            return Ok(());
        }
        let Some(waiting) = self.state.borrow_mut().queue.pop() else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a reply that nobody asked for"));
        };
        let is_error = frame.first() == Some(&b'-');
        match waiting.waiter {
            Completion::Caller(_) if is_error => match waiting.parts {
                Some(_) => self.transaction_refused(frame, waiting, context),
                None => self.error_reply(frame, waiting, is_trusted(tracking.as_ref(), now), context),
            },
            Completion::Caller(_)
                if waiting.parts.as_ref().is_some_and(|parts| !parts.are_answered_by(&frame)) =>
            {
                let cause = "it answered EXEC with something that is no reply to the transaction";
                waiting.fail(&UpstreamError::Lost { node: self.node.clone(), cause: cause.to_owned() });
                return Err(io::Error::new(io::ErrorKind::InvalidData, cause));
            }
            Completion::Caller(sender) => {
                let tracked = is_trusted(tracking.as_ref(), now);
                // A caller whose client has gone no longer listens.
                let (rerouted, by) = (waiting.rerouted, waiting.node);
                let _ = sender.send(Ok(UpstreamReply { frame, rerouted, tracked, by }));
            }
            Completion::TrackingEnabled if is_error => {
                context.shared.rights.judge(&self.node, Right::Tracking, &frame);
                let why = truncate::cut(frame.trim_ascii_end());
                tracing::warn!(node = %self.node, %why, "CLIENT TRACKING refused by the node: clients that cache are notified");
                self.state.borrow_mut().refuses_tracking = true;
            }
            Completion::TrackingEnabled => {
                context.shared.rights.judge(&self.node, Right::Tracking, &frame);
                if tracking.is_none() {
                    let inbox = transport.inbox(context.options.heartbeat_interval)?;
                    *tracking = Some(ConnectionTracking::new(context.options.lease, inbox));
                }
            }
            Completion::Heartbeat(sent_at) => {
                if context.options.heartbeat == Heartbeat::ClusterInfo {
                    context.shared.rights.judge(&self.node, Right::ClusterInfo, &frame);
                }
                let health = context.options.heartbeat.read(&frame);
                if let Some(tracking) = tracking {
                    self.note_heartbeat(tracking, sent_at, health, context);
                }
                self.publish(tracking.as_ref(), context);
            }
            Completion::Select(database) => return self.selected(database, is_error, frame),
            Completion::Role => {
                if heartbeat::is_replica(&frame) {
                    self.state.borrow_mut().takes_no_writes = true;
                }
            }
            Completion::Limits => {
                let limits = self.state.borrow_mut().limits_by(frame);
                if let Some(limits) = limits {
                    self.know(limits, context);
                }
            }
            // An error here says nothing new.
            Completion::ProxyChain if is_error => {}
            Completion::ProxyChain => {
                let met = context.shared.proxy_chain.meet(&frame);
                met.map_err(|text| io::Error::new(io::ErrorKind::Unsupported, text))?;
            }
            Completion::Nobody(right) => drop(context.shared.rights.judge(&self.node, right, &frame)),
        }
        Ok(())
    }

    /// What a node says to SELECT. The commands of a database that it refuses were not sent, and get its
    /// error.
    fn selected(&self, database: DbIndex, is_error: bool, frame: Bytes) -> io::Result<()> {
        if !is_error {
            self.state.borrow_mut().queue.note_selected(database);
            return Ok(());
        }
        let refused = self.state.borrow_mut().queue.refuse_database(database);
        let words = || String::from_utf8_lossy(frame.trim_ascii_end()).into_owned();
        let refused = refused.ok_or_else(|| {
            io::Error::other(format!("the node refused SELECT {database}, which it took before: {}", words()))
        })?;
        refused.into_iter().for_each(|command| command.answer(frame.clone(), false));
        Ok(())
    }

    fn error_reply(&self, frame: Bytes, waiting: PendingCommand, tracked: bool, context: &WorkerContext) {
        let runs_user_code = waiting.call.runs_user_code;
        let redirect = context.redirect_of(&frame, waiting.call.slots.one(), &self.node);
        // What may be the client's own words comes back whole.
        let words = if runs_user_code { frame } else { truncate::redirect_cut(frame) };
        match redirect {
            Some(redirect) => (context.on_reroute)(Reroute::Redirected {
                redirect,
                node: self.index,
                command: waiting,
                words,
            }),
            None => {
                self.doubt(&words, runs_user_code, context);
                waiting.answer(words, tracked);
            }
        }
    }

    /// EXEC carried out nothing. What was refused at its place in the transaction says why: scripts had no
    /// say in that, as none had begun.
    fn transaction_refused(&self, exec: Bytes, waiting: PendingCommand, context: &WorkerContext) {
        let refusal = waiting.parts.as_ref().and_then(|parts| parts.refusal()).cloned();
        let cause = refusal.as_ref().unwrap_or(&exec);
        let redirect = context.redirect_of(cause, waiting.call.slots.one(), &self.node);
        if redirect.is_none() {
            self.doubt(cause, false, context);
        }
        let aborted = refusal.map(|refusal| exec_abort(&truncate::redirect_cut(refusal))).unwrap_or(exec);
        match redirect {
            // ASKING holds for one command and cannot be said inside MULTI, so no node can carry this out
            // now.
            Some(redirect) if redirect.asking => {
                context.note(&redirect);
                waiting.answer_moving();
            }
            Some(redirect) => (context.on_reroute)(Reroute::Redirected {
                redirect,
                node: self.index,
                command: waiting,
                words: aborted,
            }),
            None => waiting.answer(aborted, false),
        }
    }

    pub(super) fn note_heartbeat(
        &self,
        tracking: &mut ConnectionTracking,
        sent_at: Nanos,
        health: Health,
        context: &WorkerContext,
    ) {
        if let Some(why) = tracking.note_heartbeat(sent_at, health, &context.shared.table, clock::now()) {
            tracing::info!(node = %self.node, why, "L1 of the node suspended until the topology is refreshed");
            (context.on_invalidation)(&Invalidation::Node);
        }
    }

    /// Whether the lease has run out is looked at without waiting for the node, which may be silent for long.
    pub(super) fn look_at_lease(&self, tracking: &mut Option<ConnectionTracking>, context: &WorkerContext) {
        let table = &context.shared.table;
        if tracking.as_mut().is_some_and(|tracking| tracking.lapse(table, clock::now())) {
            tracing::info!(node = %self.node, "node silent: its L1 is suspended until the topology is refreshed");
            self.publish(tracking.as_ref(), context);
            (context.on_invalidation)(&Invalidation::Node);
        }
    }

    /// Publishes the epoch for the commands that are sent, and the status for the reports.
    pub(super) fn publish(&self, tracking: Option<&ConnectionTracking>, context: &WorkerContext) {
        let epoch = tracking.and_then(ConnectionTracking::epoch).cloned();
        let link = match tracking {
            Some(tracking) if tracking.is_refused() => LinkStatus::Untracked,
            Some(_) => LinkStatus::Up(epoch.clone()),
            None if context.tracks() => LinkStatus::Untracked,
            None => LinkStatus::Unasked,
        };
        self.state.borrow_mut().epoch = epoch;
        self.report(link, context);
    }
}

/// Whether an error contradicts the slot table. A MOVED gets here only if it names no node that may be asked.
fn is_about_topology(error: &[u8]) -> bool {
    [&b"-CLUSTERDOWN"[..], b"-READONLY", b"-MASTERDOWN", b"-MOVED"]
        .iter()
        .any(|prefix| error.starts_with(prefix))
}

/// Whether what was read on a connection by `now` is covered: it is tracked, and trusted.
fn is_trusted(tracking: Option<&ConnectionTracking>, now: Nanos) -> bool {
    tracking.and_then(ConnectionTracking::epoch).is_some_and(|epoch| epoch.is_live(now))
}
