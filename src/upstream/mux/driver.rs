//! The life of one node's connection: it comes, it serves, it is lost, it comes again.

use std::io;
use std::pin::pin;
use std::rc::Rc;

use tokio::time::{self, MissedTickBehavior};

use super::{LIMITS_HOLD, MuxConnection, MuxPhase};
use crate::clock::{self, Nanos};
use crate::invalidation::Invalidation;
use crate::protocol::resp::encode;
use crate::upstream::Upstream;
use crate::upstream::call::{Call, Completion, PendingCommand};
use crate::upstream::conn::backoff::Backoff;
use crate::upstream::conn::chain::ChainLink;
use crate::upstream::conn::handshake::{self, TrackingScope};
use crate::upstream::conn::identity::ExpectedNode;
use crate::upstream::conn::limits::{self, NodeLimits};
use crate::upstream::conn::pace::Pace;
use crate::upstream::conn::tracking::ConnectionTracking;
use crate::upstream::conn::transport::{Transport, TransportEvent};
use crate::upstream::error::UpstreamError;
use crate::upstream::status::LinkStatus;

/// A side connection that stands, until it is dropped.
struct SideGuard<'a>(&'a Upstream);

/// How a connection ended.
enum DriverEnd {
    Lost(String),
    /// The node ended it.
    HungUp(String),
    /// No reply came in time, or what came along did so slower than this bound says.
    Overdue(Option<&'static str>),
    Retired,
}

/// What whoever asked is told when a node has hung up on the same request twice.
const AGAIN: &str = ", and another one before while this was asked: the node may limit replies, see client-output-buffer-limit";

// === impl End ===

impl DriverEnd {
    fn by(error: &io::Error) -> DriverEnd {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
        match error.kind() {
            UnexpectedEof | ConnectionReset | BrokenPipe => DriverEnd::HungUp(error.to_string()),
            _ => DriverEnd::Lost(error.to_string()),
        }
    }
}

// === impl Counted ===

impl<'a> SideGuard<'a> {
    fn begin(upstream: &'a Upstream) -> SideGuard<'a> {
        upstream.stats.upstream_side_opened.add(1);
        upstream.shared.board.post_side(true);
        SideGuard(upstream)
    }
}

impl Drop for SideGuard<'_> {
    fn drop(&mut self) {
        self.0.shared.board.post_side(false);
    }
}

// === impl Lane ===

impl MuxConnection {
    /// Connects again and again, until the node is retired.
    pub(in crate::upstream) async fn run(self: Rc<MuxConnection>, upstream: Rc<Upstream>) {
        let options = &upstream.options;
        let mut backoff = Backoff::new(options.backoff_min, options.backoff_max);
        let mut has_turn = self.main.is_some();
        while self.enter(MuxPhase::Connecting) {
            self.report(LinkStatus::Connecting, upstream.as_ref());
            if !std::mem::replace(&mut has_turn, true) {
                // What is waited for need not wait for its turn.
                tokio::select! {
                    biased;
                    () = self.wake.notified() => {}
                    () = upstream.shared.attempts.turn() => {}
                }
                if self.is_over() {
                    break;
                }
            }
            // Commands wait meanwhile, so it ends when their time does.
            let _ = time::timeout(options.request_timeout, backoff.pause()).await;
            match self.connect_while_waiting(&upstream).await {
                Ok((wire, tracking)) => {
                    backoff.reset();
                    let end = self.serve(wire, tracking, &upstream).await;
                    self.lost(end, &upstream);
                    // Behind the end of its epoch: whoever asks from here on is not served from it.
                    (upstream.on_invalidation)(&Invalidation::Node);
                }
                Err(_) if self.is_over() => break,
                Err(error) => {
                    let is_new = error.kind() == io::ErrorKind::Unsupported && !backoff.is_failing();
                    if is_new && upstream.shared.attempts.may_tell() {
                        tracing::error!(node = %self.node, cause = %error, "the upstream is not what it is said to be");
                    }
                    self.down(&error.to_string(), &mut backoff, &upstream).await;
                }
            }
        }
        self.give_up_all("it is no longer part of the upstream", &upstream);
        if self.main.is_none() && upstream.shared.board.remove(&self.node, upstream.worker) {
            upstream.shared.rights.forget(&self.node);
        }
    }

    /// Connects. The steps of that may take longer together than a command may: those whose time is over
    /// meanwhile fail.
    async fn connect_while_waiting(
        &self,
        upstream: &Upstream,
    ) -> io::Result<(Transport, Option<ConnectionTracking>)> {
        let mut connecting = pin!(self.connect(upstream));
        // What waits for a side connection can take the main one.
        let patience = self.main.as_ref().map(|_| time::Instant::now() + upstream.options.connect_timeout);
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
                    self.give_up_overdue(upstream);
                }
            }
        }
    }

    /// Fails the commands that waited too long for a connection.
    fn give_up_overdue(&self, upstream: &Upstream) {
        let patience = upstream.options.request_timeout.as_millis();
        let failure =
            self.unreachable(&format!("no connection within the {patience} ms of upstream_request_timeout"));
        let overdue = self.state.borrow_mut().queue.take_overdue(clock::now());
        upstream.stats.upstream_timeouts.add(overdue.len() as u64);
        overdue.into_iter().for_each(|waiting| waiting.fail(&failure));
    }

    async fn connect(&self, upstream: &Upstream) -> io::Result<(Transport, Option<ConnectionTracking>)> {
        let options = &upstream.options;
        let mut wire = Transport::connect(&self.node, options, &upstream.shared).await?;
        let track = upstream.tracks();
        let asked = if track { TrackingScope::Reads } else { TrackingScope::Nothing };
        let whom = ExpectedNode { node: &self.node, shared: &upstream.shared };
        let greeting = handshake::greet(&mut wire, options, asked, whom).await?;
        let run_id = greeting.note(&upstream.shared, &self.node, self.main.is_none());
        let refuses_tracking = track && greeting.untracked.is_some();
        let tells = greeting.tells_limits;
        self.learn(greeting.limits, upstream);
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
        self.heard(&mut tracking, sent_at, pulse, upstream);
        Ok((wire, Some(tracking)))
    }

    /// Takes note of what the node hangs up on from here on.
    pub(super) fn know(&self, limits: NodeLimits, upstream: &Upstream) {
        upstream.limited.set(upstream.limited.get() || limits.replies().is_some());
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
    fn learn(&self, limits: NodeLimits, upstream: &Upstream) {
        self.know(limits, upstream);
        let refused = self
            .state
            .borrow_mut()
            .queue
            .refuse(|waiting| limits.excess(&waiting.call.bytes, waiting.parts.is_some()).is_some());
        for waiting in refused {
            if let Some(failure) = self.too_large(&waiting.call, waiting.parts.is_some()) {
                upstream.stats.upstream_too_large.add(1);
                waiting.fail(&failure);
            }
        }
    }

    async fn serve(
        &self,
        mut wire: Transport,
        mut tracking: Option<ConnectionTracking>,
        upstream: &Rc<Upstream>,
    ) -> DriverEnd {
        if !self.enter(MuxPhase::Up) {
            return DriverEnd::Retired;
        }
        {
            let mut state = self.state.borrow_mut();
            state.is_failing = false;
            state.queue.start();
        }
        self.publish(tracking.as_ref(), upstream);
        let _counted = self.main.as_ref().map(|_| SideGuard::begin(upstream));
        tracing::info!(node = %self.node, worker = upstream.worker, tracked = tracking.is_some(), "connected upstream");
        let mut ticks = time::interval(upstream.options.heartbeat_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.reset();
        // Never later than the earliest deadline: what comes while it runs has a later one than it was set
        // to.
        let mut overdue = pin!(time::sleep(upstream.options.request_timeout));
        if let Some(deadline) = self.next_deadline(upstream) {
            overdue.as_mut().reset(clock::instant(deadline));
        }
        // Since when something is overdue that may be among what is still to be read.
        let mut late_since = None;
        loop {
            let to_write = match self.flush(&wire, upstream) {
                Ok(to_write) => to_write,
                Err(error) => return DriverEnd::by(&error),
            };
            tokio::select! {
                // What comes seldom is looked at first, so that the rest cannot starve it; and in one order always, so
                // that a simulated run can be repeated.
                biased;
                _ = ticks.tick() => {
                    if self.is_stranger(upstream) {
                        return DriverEnd::Lost("the topology means another node to be at this address".to_owned());
                    }
                    self.look_at_lease(&mut tracking, upstream);
                    self.beat(tracking.as_ref(), upstream);
                }
                () = self.wake.notified() => {}
                event = wire.event(to_write) => {
                    let received = match event {
                        Ok(TransportEvent::Read) => self.receive(&mut wire, &mut tracking, upstream).await,
                        Ok(TransportEvent::Room) => Ok(()),
                        Err(error) => Err(error),
                    };
                    if let Err(error) = received {
                        return DriverEnd::by(&error);
                    }
                    if self.is_hopeless(&mut late_since, upstream) {
                        return DriverEnd::Overdue(self.slow(upstream));
                    }
                }
                () = &mut overdue => match self.next_deadline(upstream) {
                    Some(deadline) => overdue.as_mut().reset(clock::instant(deadline)),
                    None => return DriverEnd::Overdue(self.slow(upstream)),
                },
            }
            if self.is_over() {
                return DriverEnd::Retired;
            }
        }
    }

    /// Writes what waits; whether some is left.
    fn flush(&self, wire: &Transport, upstream: &Upstream) -> io::Result<bool> {
        let mut state = self.state.borrow_mut();
        if state.queue.out().is_empty() {
            return Ok(false);
        }
        let written = wire.write(state.queue.out())?;
        state.queue.note_written(written);
        let left = !state.queue.out().is_empty();
        if left && written > 0 {
            state.pace.moved(written, clock::now(), &upstream.options.pace);
        }
        Ok(left)
    }

    /// When to look for an overdue command next; `None` when there is one now.
    fn next_deadline(&self, upstream: &Upstream) -> Option<Nanos> {
        let now = clock::now();
        let next = match self.oldest_began(upstream) {
            Some(began) => self.state.borrow().pace.deadline(began, &upstream.options.pace),
            None => now + clock::nanos(upstream.options.request_timeout),
        };
        (next > now).then_some(next)
    }

    /// Whether something has been overdue for as long as a reply may take, since `late_since`, and all that
    /// came meanwhile was not it: a node that never stops sending would put off the end for ever.
    fn is_hopeless(&self, late_since: &mut Option<Nanos>, upstream: &Upstream) -> bool {
        if self.is_idle() || self.next_deadline(upstream).is_some() {
            *late_since = None;
            return false;
        }
        let now = clock::now();
        now - *late_since.get_or_insert(now) > clock::nanos(upstream.options.request_timeout)
    }

    /// Whether the topology means another node by now than the one that was met.
    fn is_stranger(&self, upstream: &Upstream) -> bool {
        let state = self.state.borrow();
        state.id.as_ref().is_some_and(|id| upstream.shared.table.stranger(&self.node, id).is_some())
    }

    /// When the command was sent whose reply comes next.
    fn oldest_began(&self, upstream: &Upstream) -> Option<Nanos> {
        let deadline = self.state.borrow().queue.oldest_deadline();
        deadline.map(|deadline| deadline.saturating_sub(clock::nanos(upstream.options.request_timeout)))
    }

    /// The bound on how slowly something may come along that has been met, if something is on its way.
    fn slow(&self, upstream: &Upstream) -> Option<&'static str> {
        let is_under_way = {
            let mut state = self.state.borrow_mut();
            state.coming.is_some() || !state.queue.out().is_empty()
        };
        let began = self.oldest_began(upstream).filter(|_| is_under_way)?;
        Some(Pace::bound(began, clock::now(), &upstream.options.pace))
    }

    /// Sends the heartbeat. It waits in line like any command, so it also tells a node that answers nobody.
    /// If tracking is wanted only now, because a client wants to cache while L1 is off, the node is told
    /// before that.
    fn beat(&self, tracking: Option<&ConnectionTracking>, upstream: &Upstream) {
        let now = clock::now();
        let deadline = now + clock::nanos(upstream.options.request_timeout);
        let call = |bytes| Call { bytes, slot: None, reads_only: true, foreign: false };
        if let Some(tracking) = tracking {
            tracking.beats(now);
        } else if upstream.tracks() && !self.state.borrow().refuses_tracking {
            let arming = call(encode::request(&handshake::TRACK));
            self.enqueue(PendingCommand::new(arming, Completion::Arming, deadline));
        }
        if self.state.borrow_mut().asks_for_limits(now) {
            for question in limits::questions_again() {
                self.enqueue(PendingCommand::new(call(question), Completion::Limits, deadline));
            }
        }
        // Those of a circle that greeted each other at the same instant did not know yet whom they have
        // behind themselves.
        if self.state.borrow().is_nearside {
            let question = call(encode::request(&handshake::WHO_IS_BEHIND));
            self.enqueue(PendingCommand::new(question, Completion::Chain, deadline));
        }
        let heartbeat = call(upstream.options.heartbeat.request());
        self.enqueue(PendingCommand::new(heartbeat, Completion::Heartbeat(now), deadline));
    }

    /// The connection has ended, and with it its epoch: `serve` dropped the tracking that held it.
    fn lost(&self, end: DriverEnd, upstream: &Rc<Upstream>) {
        let by_node = matches!(end, DriverEnd::HungUp(_));
        let mut slow = if let DriverEnd::Overdue(slow) = end { slow } else { None };
        let cause = match end {
            DriverEnd::Retired => return,
            DriverEnd::Lost(cause) | DriverEnd::HungUp(cause) => cause,
            DriverEnd::Overdue(None) => "the node does not answer".to_owned(),
            DriverEnd::Overdue(Some(bound)) => format!("what was on its way came too slowly ({bound})"),
        };
        upstream.stats.upstream_losses.add(1);
        tracing::warn!(node = %self.node, worker = upstream.worker, cause, "lost an upstream connection");
        upstream.shared.table.ask_refresh();
        upstream.idle.forget(&self.node);
        let now = clock::now();
        let mut state = self.state.borrow_mut();
        (state.epoch, state.run_id) = (None, Default::default());
        let reply_begun = state.coming.take().is_some();
        let culprit = if by_node { state.queue.cause(reply_begun) } else { None };
        let lost = state.queue.lose(now);
        let goes_apart = by_node && !self.quarantine && upstream.options.sides_max > 0;
        let suspects = if goes_apart { state.queue.take_suspects() } else { Vec::new() };
        drop(state);
        if let Some(request) = culprit {
            upstream.blamed.note(&request, now);
        }
        upstream.send_suspects(self.index, suspects);
        let after = upstream.options.request_timeout;
        for waiting in lost {
            let node = self.node.clone();
            if waiting.deadline <= now {
                upstream.stats.upstream_timeouts.add(1);
                // The first is what was on its way.
                waiting.fail(&match slow.take() {
                    Some(bound) => UpstreamError::Slow { node, bound },
                    None => UpstreamError::TimedOut { node, after },
                });
            } else if by_node && (waiting.rerouted || self.quarantine) {
                upstream.blamed.note(&waiting.call.bytes, now);
                waiting.fail(&UpstreamError::Lost { node, cause: format!("{cause}{AGAIN}") });
            } else {
                waiting.fail(&UpstreamError::Lost { node, cause: cause.clone() });
            }
        }
    }

    /// An attempt to connect failed: everything that waited fails, and so does what comes during the delay.
    async fn down(&self, cause: &str, backoff: &mut Backoff, upstream: &Upstream) {
        let news = self.enter(MuxPhase::Down(cause.to_owned()));
        self.state.borrow_mut().is_failing = true;
        if backoff.is_failing() || !upstream.shared.attempts.may_tell() {
            tracing::debug!(node = %self.node, worker = upstream.worker, cause, "still cannot connect upstream");
        } else {
            tracing::warn!(node = %self.node, worker = upstream.worker, cause, "cannot connect upstream; trying again and again");
        }
        let delay = backoff.next_delay();
        self.give_up_all(cause, upstream);
        if news {
            self.report(LinkStatus::Down, upstream);
            upstream.shared.attempt_failed();
            let mut next = pin!(async {
                time::sleep(delay).await;
                upstream.shared.attempts.turn().await;
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

    /// Whether the node left the upstream, and nothing waits for it.
    fn is_over(&self) -> bool {
        let state = self.state.borrow();
        state.phase == MuxPhase::Retired && state.queue.len() == 0
    }

    /// Nothing that waits can be sent on it: on the main connection it can, behind what went there meanwhile,
    /// which is not of its slots.
    fn give_up_all(&self, cause: &str, upstream: &Upstream) {
        let waiting = self.state.borrow_mut().queue.take_all();
        match &self.main {
            Some(main) => {
                for waiting in waiting {
                    upstream.forget_seat(waiting.call.slot);
                    main.enqueue(waiting);
                }
            }
            None => {
                let failure = self.unreachable(cause);
                waiting.into_iter().for_each(|waiting| waiting.fail(&failure));
            }
        }
    }

    /// Makes known how it stands; of side connections nothing depends on that.
    pub(super) fn report(&self, link: LinkStatus, upstream: &Upstream) {
        if self.main.is_none() {
            upstream.report(&self.node, link);
        }
    }

    /// Enters a phase, unless the node is retired.
    fn enter(&self, phase: MuxPhase) -> bool {
        let mut state = self.state.borrow_mut();
        let alive = state.phase != MuxPhase::Retired;
        if alive {
            state.phase = phase;
        }
        alive
    }
}
