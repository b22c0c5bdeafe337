//! The loop of a connection that is up: it writes queued commands, reads replies and pushes, and watches
//! deadlines.

use std::io;
use std::pin::pin;

use tokio::time::{self, MissedTickBehavior};

use super::connection::{MuxConnection, MuxPhase};
use super::loss::DriverEnd;
use crate::clock::{self, Nanos};
use crate::protocol::resp::encode;
use crate::stats::CountGuard;
use crate::upstream::call::{Call, Completion, PendingCommand};
use crate::upstream::conn::handshake;
use crate::upstream::conn::limits;
use crate::upstream::conn::tracking::ConnectionTracking;
use crate::upstream::conn::transfer::TransferProgress;
use crate::upstream::conn::transport::{Transport, TransportEvent};
use crate::upstream::context::WorkerContext;

// === impl MuxConnection ===

impl MuxConnection {
    /// Serves over `transport` until the connection ends; returns how it ended.
    pub(super) async fn serve(
        &self,
        mut transport: Transport,
        mut tracking: Option<ConnectionTracking>,
        context: &WorkerContext,
    ) -> DriverEnd {
        if !self.enter(MuxPhase::Up) {
            return DriverEnd::Retired;
        }
        {
            let mut state = self.state.borrow_mut();
            state.is_failing = false;
            state.queue.start();
        }
        self.publish(tracking.as_ref(), context);
        let _counted = self.main.as_ref().map(|_| {
            context.stats.upstream_side_opened.add(1);
            CountGuard::more(&context.shared.status.sides)
        });
        tracing::info!(node = %self.node, worker = context.worker, tracked = tracking.is_some(), "upstream connection established");
        let mut ticks = time::interval(context.options.heartbeat_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.reset();
        // Never later than the earliest deadline: what comes while it runs has a later one than it was set
        // to.
        let mut overdue = pin!(time::sleep(context.options.request_timeout));
        if let Some(deadline) = self.next_deadline(context) {
            overdue.as_mut().reset(clock::instant(deadline));
        }
        // Since when a reply is overdue that may be among the unread bytes.
        let mut late_since = None;
        loop {
            let to_write = match self.flush(&transport, context) {
                Ok(to_write) => to_write,
                Err(error) => return DriverEnd::by(&error),
            };
            tokio::select! {
                // What comes seldom is looked at first, so that the rest cannot starve it; and in one order
                // always, so that a simulated run can be repeated.
                biased;
                _ = ticks.tick() => {
                    if self.is_other_node(context) {
                        return DriverEnd::Lost("the topology means another node to be at this address".to_owned());
                    }
                    self.look_at_lease(&mut tracking, context);
                    self.beat(tracking.as_ref(), context);
                }
                () = self.wake.notified() => {}
                event = transport.event(to_write) => {
                    let received = match event {
                        Ok(TransportEvent::Read) => self.receive(&mut transport, &mut tracking, context).await,
                        Ok(TransportEvent::Room) => Ok(()),
                        Err(error) => Err(error),
                    };
                    if let Err(error) = received {
                        return DriverEnd::by(&error);
                    }
                    if self.is_hopeless(&mut late_since, context) {
                        return DriverEnd::Overdue(self.slow(context));
                    }
                }
                () = &mut overdue => match self.next_deadline(context) {
                    Some(deadline) => overdue.as_mut().reset(clock::instant(deadline)),
                    None => return DriverEnd::Overdue(self.slow(context)),
                },
            }
            if self.is_over() {
                return DriverEnd::Retired;
            }
        }
    }

    /// Writes what waits; whether some is left.
    fn flush(&self, transport: &Transport, context: &WorkerContext) -> io::Result<bool> {
        let mut state = self.state.borrow_mut();
        if state.queue.out().is_empty() {
            return Ok(false);
        }
        let written = transport.write(state.queue.out())?;
        state.queue.note_written(written);
        let left = !state.queue.out().is_empty();
        if left && written > 0 {
            state.transfer.moved(written, clock::now(), &context.options.transfer);
        }
        Ok(left)
    }

    /// When to look for an overdue command next; `None` when there is one now.
    fn next_deadline(&self, context: &WorkerContext) -> Option<Nanos> {
        let now = clock::now();
        let next = match self.oldest_began(context) {
            Some(began) => self.state.borrow().transfer.deadline(began, &context.options.transfer),
            None => now + clock::nanos(context.options.request_timeout),
        };
        (next > now).then_some(next)
    }

    /// Whether something has been overdue for as long as a reply may take, since `late_since`, and all that
    /// came meanwhile was not it: a node that never stops sending would put off the end for ever.
    fn is_hopeless(&self, late_since: &mut Option<Nanos>, context: &WorkerContext) -> bool {
        if self.is_idle() || self.next_deadline(context).is_some() {
            *late_since = None;
            return false;
        }
        let now = clock::now();
        now - *late_since.get_or_insert(now) > clock::nanos(context.options.request_timeout)
    }

    /// Whether the topology means another node by now than the one that was met.
    fn is_other_node(&self, context: &WorkerContext) -> bool {
        let state = self.state.borrow();
        state.id.as_ref().is_some_and(|id| context.shared.table.conflicting_id(&self.node, id).is_some())
    }

    /// When the command was sent whose reply comes next.
    fn oldest_began(&self, context: &WorkerContext) -> Option<Nanos> {
        let deadline = self.state.borrow().queue.oldest_deadline();
        deadline.map(|deadline| deadline.saturating_sub(clock::nanos(context.options.request_timeout)))
    }

    /// The limit of slow transfers that was exceeded, if a transfer is under way.
    fn slow(&self, context: &WorkerContext) -> Option<&'static str> {
        let is_under_way = {
            let mut state = self.state.borrow_mut();
            state.coming.is_some() || !state.queue.out().is_empty()
        };
        let began = self.oldest_began(context).filter(|_| is_under_way)?;
        Some(TransferProgress::exceeded(began, clock::now(), &context.options.transfer))
    }

    /// Sends the heartbeat. The heartbeat waits in the queue like any command, so it also detects a node that
    /// answers nothing. If tracking is wanted only now, because a client wants to cache while L1 is off,
    /// CLIENT TRACKING goes before it.
    fn beat(&self, tracking: Option<&ConnectionTracking>, context: &WorkerContext) {
        let now = clock::now();
        let deadline = now + clock::nanos(context.options.request_timeout);
        if let Some(tracking) = tracking {
            tracking.beats(now);
        } else if context.tracks() && !self.state.borrow().refuses_tracking {
            let arming = Call::question(encode::request(&handshake::TRACK));
            self.enqueue(PendingCommand::new(arming, Completion::TrackingEnabled, deadline));
        }
        if self.state.borrow_mut().asks_for_limits(now) {
            for question in limits::questions_again() {
                self.enqueue(PendingCommand::new(Call::question(question), Completion::Limits, deadline));
            }
        }
        // Nearsides of a circle that greeted each other at one instant did not know yet what is behind them.
        if self.state.borrow().is_nearside {
            let question = Call::question(encode::request(&handshake::WHO_IS_BEHIND));
            self.enqueue(PendingCommand::new(question, Completion::ProxyChain, deadline));
        }
        let heartbeat = Call::question(context.options.heartbeat.request());
        self.enqueue(PendingCommand::new(heartbeat, Completion::Heartbeat(now), deadline));
    }
}
