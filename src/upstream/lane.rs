//! One node's connection, shared by all sessions of a worker: connect, greet, send, hand out replies, start over.
//!
//! ```text
//! Connecting --greeted--> Up --lost--> Connecting --failed--> Down --delay--> Connecting
//! ```
//! While `Connecting` commands wait for their deadline; while `Down` they fail at once. Whatever happens here touches
//! no other node. When the connection is lost its epoch ends before anything else is done (I4).

use std::cell::RefCell;
use std::io;
use std::pin::pin;
use std::rc::Rc;

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};
use tokio::time::{self, MissedTickBehavior};

use super::Upstream;
use super::backoff::Backoff;
use super::board::Link;
use super::call::{Call, Sent, Waiter, Waiting};
use super::error::Failure;
use super::handshake;
use super::push::{self, Push};
use super::queue::Queue;
use super::redirect;
use super::tracking::Tracking;
use super::wire::Wire;
use crate::clock::{self, Nanos};
use crate::invalidation::Invalidation;
use crate::key::Slot;
use crate::node::{Epoch, NodeId};

/// The connection to one node.
#[derive(Debug)]
pub(super) struct Lane {
    node: NodeId,
    state: RefCell<State>,
    wake: Notify,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    queue: Queue,
    /// The epoch of the present connection while it is tracked.
    epoch: Option<Epoch>,
    /// When a command or reply that takes more than one write or read last came along. A large value may take longer
    /// than a deadline; it is overdue only when it stands still for that long.
    progress_at: Nanos,
}

/// Where the connection stands; the transitions are in the file's opening comment.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Connecting,
    Up,
    Down(String),
    /// The node left the upstream; nothing comes after this.
    Retired,
}

/// How a connection ended.
enum End {
    Lost(String),
    Overdue,
    Retired,
}

// === impl Lane ===

impl Lane {
    pub(super) fn new(node: NodeId) -> Rc<Lane> {
        let state = State { phase: Phase::Connecting, queue: Queue::default(), epoch: None, progress_at: 0 };
        Rc::new(Lane { node, state: RefCell::new(state), wake: Notify::new() })
    }

    /// Whether it is connected.
    pub(super) fn is_up(&self) -> bool {
        self.state.borrow().phase == Phase::Up
    }

    /// Whether every command has been answered.
    pub(super) fn is_idle(&self) -> bool {
        self.state.borrow().queue.len() == 0
    }

    /// Whether a command on `slot` has not been answered yet.
    pub(super) fn has(&self, slot: Slot) -> bool {
        self.state.borrow().queue.has(slot)
    }

    /// The node's address.
    pub(super) fn node(&self) -> &NodeId {
        &self.node
    }

    /// Sends a command, or has it wait for the connection that is on its way.
    pub(super) fn send(&self, call: Call, upstream: &Upstream) -> Sent {
        if let Some(bound) = self.bound_reached(&call, upstream) {
            upstream.stats.upstream_refusals.add(1);
            return Sent::failed(Failure::Overloaded { node: self.node.clone(), bound });
        }
        upstream.stats.upstream_commands.bump();
        let (sender, reply) = oneshot::channel();
        let deadline = clock::now() + clock::nanos(upstream.options.request_timeout);
        self.enqueue(Waiting::new(call, Waiter::Caller(sender), deadline));
        Sent { reply, epoch: self.state.borrow().epoch.clone() }
    }

    /// Puts a command at the end of the line; redirects come here from another node's line.
    pub(super) fn enqueue(&self, waiting: Waiting) {
        let mut state = self.state.borrow_mut();
        match &state.phase {
            Phase::Connecting | Phase::Up => {
                let connected = state.phase == Phase::Up;
                state.queue.push(waiting, connected);
                drop(state);
                self.wake.notify_one();
            }
            Phase::Down(cause) => waiting.fail(&self.unreachable(cause)),
            Phase::Retired => waiting.fail(&self.unreachable("it is no longer part of the upstream")),
        }
    }

    /// The node left the upstream: finishes what is in flight and ends.
    pub(super) fn retire(&self) {
        self.state.borrow_mut().phase = Phase::Retired;
        self.wake.notify_one();
    }

    /// Connects again and again, until the node is retired.
    pub(super) async fn run(self: Rc<Lane>, upstream: Rc<Upstream>) {
        let options = &upstream.options;
        let mut backoff = Backoff::new(options.backoff_min, options.backoff_max);
        while self.enter(Phase::Connecting) {
            upstream.post(&self.node, Link::Connecting);
            match time::timeout(options.connect_timeout, self.connect(&upstream)).await {
                Ok(Ok((wire, tracking))) => {
                    backoff.reset();
                    let end = self.serve(wire, tracking, &upstream).await;
                    self.lost(end, &upstream);
                }
                Ok(Err(error)) => self.down(&error.to_string(), &mut backoff, &upstream).await,
                Err(_) => {
                    let cause = format!("no answer within {} ms", options.connect_timeout.as_millis());
                    self.down(&cause, &mut backoff, &upstream).await;
                }
            }
        }
        let failure = self.unreachable("it is no longer part of the upstream");
        self.fail_all(&failure);
        upstream.shared.board.remove(&self.node, upstream.worker);
    }

    async fn connect(&self, upstream: &Upstream) -> io::Result<(Wire, Option<Tracking>)> {
        let options = &upstream.options;
        let mut wire = Wire::connect(&self.node, options.request_timeout).await?;
        let greeting = handshake::greet(&mut wire, options).await?;
        upstream.shared.board.post_server(&greeting.info);
        if let Some(why) = greeting.untracked {
            if options.track {
                tracing::warn!(node = %self.node, why, "the node does not track reads: L1 is off for it");
            }
            return Ok((wire, None));
        }
        let mut tracking = Tracking::new(options.lease);
        let (sent_at, pulse) = greeting.pulse;
        self.heard(&mut tracking, sent_at, pulse, upstream);
        Ok((wire, Some(tracking)))
    }

    async fn serve(&self, mut wire: Wire, mut tracking: Option<Tracking>, upstream: &Rc<Upstream>) -> End {
        if !self.enter(Phase::Up) {
            return End::Retired;
        }
        self.state.borrow_mut().queue.start();
        self.publish(tracking.as_ref(), upstream);
        tracing::info!(node = %self.node, worker = upstream.worker, tracked = tracking.is_some(), "connected upstream");
        let mut ticks = time::interval(upstream.options.heartbeat_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.reset();
        // Never later than the earliest deadline: what comes while it runs has a later one than it was set to.
        let mut overdue = pin!(time::sleep(upstream.options.request_timeout));
        if let Some(deadline) = self.next_deadline(upstream) {
            overdue.as_mut().reset(clock::instant(deadline));
        }
        loop {
            let to_write = match self.flush(&wire) {
                Ok(to_write) => to_write,
                Err(error) => return End::Lost(error.to_string()),
            };
            tokio::select! {
                ready = wire.ready(to_write) => {
                    if let Err(error) = ready.and_then(|()| self.receive(&mut wire, &mut tracking, upstream)) {
                        return End::Lost(error.to_string());
                    }
                }
                () = self.wake.notified() => {}
                _ = ticks.tick() => self.beat(upstream),
                () = &mut overdue => match self.next_deadline(upstream) {
                    Some(deadline) => overdue.as_mut().reset(clock::instant(deadline)),
                    None => return End::Overdue,
                },
            }
            let state = self.state.borrow();
            if state.phase == Phase::Retired && state.queue.len() == 0 {
                return End::Retired;
            }
        }
    }

    /// Writes what waits; whether some is left.
    fn flush(&self, wire: &Wire) -> io::Result<bool> {
        let mut state = self.state.borrow_mut();
        if state.queue.out().is_empty() {
            return Ok(false);
        }
        let written = wire.write(state.queue.out())?;
        state.queue.note_written(written);
        let left = !state.queue.out().is_empty();
        if left && written > 0 {
            state.progress_at = clock::now();
        }
        Ok(left)
    }

    /// Takes in what has arrived, in the order in which the node sent it.
    fn receive(
        &self,
        wire: &mut Wire,
        tracking: &mut Option<Tracking>,
        upstream: &Rc<Upstream>,
    ) -> io::Result<()> {
        if !wire.read()? {
            return Ok(());
        }
        while let Some(frame) = wire.next_frame()? {
            if frame.first() == Some(&b'>') {
                self.pushed(&frame, tracking, upstream);
            } else {
                self.replied(frame, tracking, upstream)?;
            }
        }
        if wire.is_amid_frame() {
            self.state.borrow_mut().progress_at = clock::now();
        }
        Ok(())
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
            }
            Push::Other => tracing::debug!(node = %self.node, "a push that is not for us"),
        }
    }

    fn replied(
        &self,
        frame: Bytes,
        tracking: &mut Option<Tracking>,
        upstream: &Rc<Upstream>,
    ) -> io::Result<()> {
        let Some(waiting) = self.state.borrow_mut().queue.pop() else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a reply that nobody asked for"));
        };
        match waiting.waiter {
            Waiter::Caller(_) if frame.first() == Some(&b'-') => self.error_reply(frame, waiting, upstream),
            Waiter::Caller(sender) => {
                // A caller whose client has gone no longer listens.
                let _ = sender.send(Ok(super::call::UpstreamReply { frame, rerouted: waiting.rerouted }));
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

    fn error_reply(&self, frame: Bytes, waiting: Waiting, upstream: &Rc<Upstream>) {
        let redirect = waiting.call.slot.and_then(|_| redirect::parse(&frame, &self.node));
        match redirect {
            Some(redirect) => upstream.redirect(redirect, waiting),
            None => {
                if [&b"-CLUSTERDOWN"[..], b"-READONLY", b"-MASTERDOWN"]
                    .iter()
                    .any(|error| frame.starts_with(error))
                {
                    upstream.shared.table.ask_refresh();
                }
                if let Waiter::Caller(sender) = waiting.waiter {
                    let _ = sender.send(Ok(super::call::UpstreamReply { frame, rerouted: waiting.rerouted }));
                }
            }
        }
    }

    /// When to look for an overdue command next; `None` when there is one now.
    fn next_deadline(&self, upstream: &Upstream) -> Option<Nanos> {
        let (now, patience) = (clock::now(), clock::nanos(upstream.options.request_timeout));
        let state = self.state.borrow();
        let next = match state.queue.oldest_deadline() {
            Some(deadline) => deadline.max(state.progress_at + patience),
            None => now + patience,
        };
        (next > now).then_some(next)
    }

    /// Sends the heartbeat. It waits in line like any command, so it also tells a node that answers nobody.
    fn beat(&self, upstream: &Upstream) {
        let now = clock::now();
        let call = Call { bytes: upstream.options.heartbeat.request(), slot: None, reads_only: true };
        let deadline = now + clock::nanos(upstream.options.request_timeout);
        self.enqueue(Waiting::new(call, Waiter::Heartbeat(now), deadline));
    }

    fn heard(
        &self,
        tracking: &mut Tracking,
        sent_at: Nanos,
        pulse: super::pulse::Pulse,
        upstream: &Upstream,
    ) {
        if let Some(why) = tracking.heard(sent_at, pulse, &upstream.shared.table, clock::now()) {
            tracing::info!(node = %self.node, why, "L1 of the node is not served until the topology was read again");
        }
    }

    /// Makes the epoch known to those who send, and the state to those who report.
    fn publish(&self, tracking: Option<&Tracking>, upstream: &Upstream) {
        let epoch = tracking.and_then(Tracking::epoch).cloned();
        let link = if tracking.is_some() { Link::Up(epoch.clone()) } else { Link::Untracked };
        self.state.borrow_mut().epoch = epoch;
        upstream.post(&self.node, link);
    }

    /// The connection has ended, and with it its epoch: `serve` dropped the tracking that held it.
    fn lost(&self, end: End, upstream: &Upstream) {
        let cause = match end {
            End::Retired => return,
            End::Lost(cause) => cause,
            End::Overdue => "the node does not answer".to_owned(),
        };
        upstream.stats.upstream_losses.add(1);
        tracing::info!(node = %self.node, worker = upstream.worker, cause, "lost an upstream connection");
        upstream.shared.table.ask_refresh();
        let now = clock::now();
        let mut state = self.state.borrow_mut();
        state.epoch = None;
        let lost = state.queue.lose(now);
        drop(state);
        let after = upstream.options.request_timeout;
        for waiting in lost {
            let node = self.node.clone();
            if waiting.deadline <= now {
                upstream.stats.upstream_timeouts.add(1);
                waiting.fail(&Failure::TimedOut { node, after });
            } else {
                waiting.fail(&Failure::Lost { node, cause: cause.clone() });
            }
        }
    }

    /// An attempt to connect failed: everything that waited fails, and so does what comes during the delay.
    async fn down(&self, cause: &str, backoff: &mut Backoff, upstream: &Upstream) {
        let news = self.enter(Phase::Down(cause.to_owned()));
        let delay = backoff.next_delay();
        tracing::info!(node = %self.node, worker = upstream.worker, cause, retry_ms = delay.as_millis() as u64, "cannot connect upstream");
        self.fail_all(&self.unreachable(cause));
        if news {
            upstream.post(&self.node, Link::Down);
            upstream.shared.table.ask_refresh();
            time::sleep(delay).await;
        }
    }

    fn fail_all(&self, failure: &Failure) {
        let waiting = self.state.borrow_mut().queue.take_all();
        for waiting in waiting {
            waiting.fail(failure);
        }
    }

    /// Enters a phase, unless the node is retired.
    fn enter(&self, phase: Phase) -> bool {
        let mut state = self.state.borrow_mut();
        let alive = state.phase != Phase::Retired;
        if alive {
            state.phase = phase;
        }
        alive
    }

    fn bound_reached(&self, call: &Call, upstream: &Upstream) -> Option<&'static str> {
        let state = self.state.borrow();
        let options = &upstream.options;
        if state.queue.len() >= options.in_flight_max {
            return Some("upstream_in_flight_max");
        }
        // One command is let through whatever its size.
        let bytes = state.queue.bytes();
        (bytes > 0 && bytes + call.bytes.len() > options.in_flight_bytes_max)
            .then_some("upstream_in_flight_bytes_max")
    }

    fn unreachable(&self, cause: &str) -> Failure {
        Failure::Unreachable { node: self.node.clone(), cause: cause.to_owned() }
    }
}
