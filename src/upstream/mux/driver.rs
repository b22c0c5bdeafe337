//! The life of one node's connection: it is connected, it serves, it is lost, it is connected again.

use std::io;
use std::pin::pin;
use std::rc::Rc;

use tokio::time;

use super::connection::{LIMITS_HOLD, MuxConnection, MuxPhase};
use crate::clock;
use crate::invalidation::Invalidation;
use crate::upstream::conn::handshake::{self, TrackingScope};
use crate::upstream::conn::identity::ExpectedNode;
use crate::upstream::conn::limits::NodeLimits;
use crate::upstream::conn::proxy_chain::PeerKind;
use crate::upstream::conn::supervisor::{Attempt, Served, Supervised, supervise};
use crate::upstream::conn::tracking::ConnectionTracking;
use crate::upstream::conn::transport::Transport;
use crate::upstream::context::WorkerContext;
use crate::upstream::status::LinkStatus;

/// A connection that was greeted, and its tracking, if it has any.
type GreetedMux = (Transport, Option<ConnectionTracking>);

/// A connection in the hands of its supervisor.
struct MuxDriver<'a> {
    connection: &'a MuxConnection,
    context: &'a WorkerContext,
}

// === impl MuxDriver ===

impl Supervised<GreetedMux> for MuxDriver<'_> {
    const KIND: &'static str = "upstream connection";
    const IS_VITAL: bool = true;

    fn takes_turn(&self, attempt: Attempt) -> bool {
        match attempt {
            // A side connection is opened because a command waits for it.
            Attempt::First => self.connection.main.is_none(),
            Attempt::AfterLoss => false,
            Attempt::AfterFailure => true,
        }
    }

    fn begin(&self, _: Attempt) -> bool {
        let is_needed = self.connection.enter(MuxPhase::Connecting);
        if is_needed {
            self.connection.report(LinkStatus::Connecting, self.context);
        }
        is_needed
    }

    async fn connect(&self) -> io::Result<GreetedMux> {
        self.connection.connect_while_waiting(self.context).await
    }

    async fn serve(&self, (transport, tracking): GreetedMux) -> Served {
        let end = self.connection.serve(transport, tracking, self.context).await;
        self.connection.lost(end, self.context);
        // After the end of its epoch, so that later lookups are not served from it.
        (self.context.on_invalidation)(&Invalidation::Node);
        Served::Lost
    }

    /// Everything that waits fails, and so does what comes during the delay.
    fn down(&self, cause: &str) {
        let is_needed = self.connection.enter(MuxPhase::Down(cause.to_owned()));
        self.connection.state.borrow_mut().is_failing = true;
        self.connection.give_up_all(cause, self.context);
        if is_needed {
            self.connection.report(LinkStatus::Down, self.context);
            self.context.shared.attempt_failed();
        }
    }

    fn is_over(&self) -> bool {
        self.connection.is_over()
    }

    async fn needed(&self) {
        self.connection.wake.notified().await;
    }

    async fn over(&self) {
        while !self.connection.is_over() {
            self.connection.wake.notified().await;
        }
    }
}

// === impl MuxConnection ===

impl MuxConnection {
    /// Keeps the connection up until the node is retired.
    pub(in crate::upstream) async fn run(self: Rc<MuxConnection>, context: Rc<WorkerContext>) {
        let driver = MuxDriver { connection: &self, context: &context };
        supervise(&driver, &self.node, Some(context.worker), &context.options, &context.shared).await;
        self.give_up_all("it is no longer part of the upstream", &context);
        if self.main.is_none() && context.shared.status.remove(&self.node, context.worker) {
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
        let give_up_at = self.main.as_ref().map(|_| time::Instant::now() + context.options.connect_timeout);
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
                () = time::sleep_until(give_up_at.unwrap_or_else(time::Instant::now)), if give_up_at.is_some() => {
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
        let mut transport = Transport::connect(&self.node, options, &context.shared).await?;
        let track = context.tracks();
        let asked = if track { TrackingScope::Reads } else { TrackingScope::Nothing };
        let whom = ExpectedNode { node: &self.node, shared: &context.shared };
        let greeting = handshake::greet(&mut transport, options, asked, whom).await?;
        let run_id = greeting.note(&context.shared, &self.node, self.main.is_none());
        let refuses_tracking = track && greeting.untracked.is_some();
        let tells = greeting.tells_limits;
        self.learn(greeting.limits, context);
        {
            let mut state = self.state.borrow_mut();
            (state.run_id, state.refuses_tracking) = (run_id, refuses_tracking);
            state.id = greeting.id;
            state.is_nearside = greeting.behind == PeerKind::Nearside;
            state.limits_said.clear();
            state.limits_asked_from = if tells { clock::now() + clock::nanos(LIMITS_HOLD) } else { 0 };
        }
        if let Some(why) = greeting.untracked {
            if track {
                tracing::warn!(node = %self.node, why, "CLIENT TRACKING refused by the node: L1 is off for it");
            }
            return Ok((transport, None));
        }
        let mut tracking =
            ConnectionTracking::new(options.lease, transport.inbox(options.heartbeat_interval)?);
        let (sent_at, health) = greeting.health;
        self.note_heartbeat(&mut tracking, sent_at, health, context);
        Ok((transport, Some(tracking)))
    }

    /// Notes the limits of the node from here on.
    pub(super) fn know(&self, limits: NodeLimits, context: &WorkerContext) {
        context.limited.set(context.limited.get() || limits.replies().is_some());
        let known = std::mem::replace(&mut self.state.borrow_mut().limits, limits);
        if known != limits && limits.replies().is_some() {
            tracing::warn!(
                node = %self.node,
                %limits,
                "the node limits the replies that wait for one client: what may have a long reply takes a connection of \
                 its own (docs/nodes.md)"
            );
        }
    }

    /// A command that exceeds a limit of the node is not sent, though it may have waited for the connection.
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

    /// Reports the status of a main connection; of side connections nothing depends on it.
    pub(super) fn report(&self, link: LinkStatus, context: &WorkerContext) {
        if self.main.is_none() {
            context.report(&self.node, link);
        }
    }
}
