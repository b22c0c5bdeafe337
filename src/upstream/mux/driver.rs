//! The life of one node's connection: it is connected, it serves, it is lost, it is connected again.

use std::io;
use std::pin::pin;
use std::rc::Rc;

use tokio::time;

use super::connection::{LIMITS_HOLD, MuxConnection, MuxPhase};
use crate::clock;
use crate::invalidation::Invalidation;
use crate::upstream::conn::backoff::Backoff;
use crate::upstream::conn::chain::ChainLink;
use crate::upstream::conn::handshake::{self, TrackingScope};
use crate::upstream::conn::identity::ExpectedNode;
use crate::upstream::conn::limits::NodeLimits;
use crate::upstream::conn::tracking::ConnectionTracking;
use crate::upstream::conn::transport::Transport;
use crate::upstream::context::WorkerContext;
use crate::upstream::status::LinkStatus;

impl MuxConnection {
    /// Connects again and again, until the node is retired.
    pub(in crate::upstream) async fn run(self: Rc<MuxConnection>, context: Rc<WorkerContext>) {
        let options = &context.options;
        let mut backoff = Backoff::new(options.backoff_min, options.backoff_max);
        let mut has_turn = self.main.is_some();
        while self.enter(MuxPhase::Connecting) {
            self.report(LinkStatus::Connecting, &context);
            if !std::mem::replace(&mut has_turn, true) {
                // What is waited for need not wait for its turn.
                tokio::select! {
                    biased;
                    () = self.wake.notified() => {}
                    () = context.shared.attempts.turn() => {}
                }
                if self.is_over() {
                    break;
                }
            }
            // Commands wait meanwhile, so it ends when their time does.
            let _ = time::timeout(options.request_timeout, backoff.pause()).await;
            match self.connect_while_waiting(&context).await {
                Ok((wire, tracking)) => {
                    backoff.reset();
                    let end = self.serve(wire, tracking, &context).await;
                    self.lost(end, &context);
                    // Behind the end of its epoch: whoever asks from here on is not served from it.
                    (context.on_invalidation)(&Invalidation::Node);
                }
                Err(_) if self.is_over() => break,
                Err(error) => {
                    let is_new = error.kind() == io::ErrorKind::Unsupported && !backoff.is_failing();
                    if is_new && context.shared.attempts.may_tell() {
                        tracing::error!(node = %self.node, cause = %error, "the upstream is not what it is said to be");
                    }
                    self.down(&error.to_string(), &mut backoff, &context).await;
                }
            }
        }
        self.give_up_all("it is no longer part of the upstream", &context);
        if self.main.is_none() && context.shared.board.remove(&self.node, context.worker) {
            context.shared.rights.forget(&self.node);
        }
    }

    /// Connects. The steps of that may take longer together than a command may: those whose time is over
    /// meanwhile fail.
    async fn connect_while_waiting(
        &self,
        context: &WorkerContext,
    ) -> io::Result<(Transport, Option<ConnectionTracking>)> {
        let mut connecting = pin!(self.connect(context));
        // What waits for a side connection can take the main one.
        let patience = self.main.as_ref().map(|_| time::Instant::now() + context.options.connect_timeout);
        loop {
            let deadline = self.state.borrow().queue.oldest_deadline();
            tokio::select! {
                biased;
                connected = &mut connecting => return connected,
                () = self.wake.notified() => {
                    if self.is_over() {
                        return Err(io::ErrorKind::Interrupted.into());
                    }
                }
                () = time::sleep_until(patience.unwrap_or_else(time::Instant::now)), if patience.is_some() => {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                () = time::sleep_until(clock::instant(deadline.unwrap_or_default())), if deadline.is_some() => {
                    self.give_up_overdue(context);
                }
            }
        }
    }

    async fn connect(&self, context: &WorkerContext) -> io::Result<(Transport, Option<ConnectionTracking>)> {
        let options = &context.options;
        let mut wire = Transport::connect(&self.node, options, &context.shared).await?;
        let track = context.tracks();
        let asked = if track { TrackingScope::Reads } else { TrackingScope::Nothing };
        let whom = ExpectedNode { node: &self.node, shared: &context.shared };
        let greeting = handshake::greet(&mut wire, options, asked, whom).await?;
        let run_id = greeting.note(&context.shared, &self.node, self.main.is_none());
        let refuses_tracking = track && greeting.untracked.is_some();
        let tells = greeting.tells_limits;
        self.learn(greeting.limits, context);
        {
            let mut state = self.state.borrow_mut();
            (state.run_id, state.refuses_tracking) = (run_id, refuses_tracking);
            state.id = greeting.id;
            state.is_nearside = greeting.behind == ChainLink::Nearside;
            state.limits_said.clear();
            state.limits_asked_from = if tells { clock::now() + clock::nanos(LIMITS_HOLD) } else { 0 };
        }
        if let Some(why) = greeting.untracked {
            if track {
                tracing::warn!(node = %self.node, why, "the node does not track reads: L1 is off for it");
            }
            return Ok((wire, None));
        }
        let mut tracking = ConnectionTracking::new(options.lease, wire.inbox(options.heartbeat_interval)?);
        let (sent_at, pulse) = greeting.pulse;
        self.heard(&mut tracking, sent_at, pulse, context);
        Ok((wire, Some(tracking)))
    }

    /// Takes note of what the node hangs up on from here on.
    pub(super) fn know(&self, limits: NodeLimits, context: &WorkerContext) {
        context.limited.set(context.limited.get() || limits.replies().is_some());
        let known = std::mem::replace(&mut self.state.borrow_mut().limits, limits);
        if known != limits && limits.replies().is_some() {
            tracing::warn!(
                node = %self.node,
                %limits,
                "the node hangs up on a client for whom too many bytes of replies wait: what may have a long reply \
                 takes a connection of its own (docs/nodes.md)"
            );
        }
    }

    /// What the node hangs up on is not sent to it, though it may have waited for the connection.
    fn learn(&self, limits: NodeLimits, context: &WorkerContext) {
        self.know(limits, context);
        let refused = self
            .state
            .borrow_mut()
            .queue
            .refuse(|waiting| limits.excess(&waiting.call.bytes, waiting.parts.is_some()).is_some());
        for waiting in refused {
            if let Some(failure) = self.too_large(&waiting.call, waiting.parts.is_some()) {
                context.stats.upstream_too_large.add(1);
                waiting.fail(&failure);
            }
        }
    }

    /// An attempt to connect failed: everything that waited fails, and so does what comes during the delay.
    async fn down(&self, cause: &str, backoff: &mut Backoff, context: &WorkerContext) {
        let news = self.enter(MuxPhase::Down(cause.to_owned()));
        self.state.borrow_mut().is_failing = true;
        if backoff.is_failing() || !context.shared.attempts.may_tell() {
            tracing::debug!(node = %self.node, worker = context.worker, cause, "still cannot connect upstream");
        } else {
            tracing::warn!(node = %self.node, worker = context.worker, cause, "cannot connect upstream; trying again and again");
        }
        let delay = backoff.next_delay();
        self.give_up_all(cause, context);
        if news {
            self.report(LinkStatus::Down, context);
            context.shared.attempt_failed();
            let mut next = pin!(async {
                time::sleep(delay).await;
                context.shared.attempts.turn().await;
            });
            while !self.is_over() {
                tokio::select! {
                    biased;
                    () = self.wake.notified() => {}
                    () = &mut next => break,
                }
            }
        }
    }

    /// Makes known how it stands; of side connections nothing depends on that.
    pub(super) fn report(&self, link: LinkStatus, context: &WorkerContext) {
        if self.main.is_none() {
            context.report(&self.node, link);
        }
    }
}
