//! How a connection ends, and what becomes of the commands on it.

use std::io;

use super::connection::MuxConnection;
use crate::clock;
use crate::upstream::context::{Reroute, WorkerContext};
use crate::upstream::error::UpstreamError;

/// How a connection ended.
pub(super) enum DriverEnd {
    Lost(String),
    /// The node ended it.
    HungUp(String),
    /// No reply came in time, or what came along did so slower than this bound says.
    Overdue(Option<&'static str>),
    Retired,
}

/// The rest of the error when a node has closed two connections during one request.
const AGAIN: &str = ", and another one before while this was asked: the node may limit replies, see client-output-buffer-limit";

// === impl DriverEnd ===

impl DriverEnd {
    /// The end that an error on the socket means.
    pub(super) fn by(error: &io::Error) -> DriverEnd {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
        match error.kind() {
            UnexpectedEof | ConnectionReset | BrokenPipe => DriverEnd::HungUp(error.to_string()),
            _ => DriverEnd::Lost(error.to_string()),
        }
    }
}

// === impl MuxConnection ===

impl MuxConnection {
    /// The connection has ended, and with it its epoch: `serve` dropped the tracking that held it.
    pub(super) fn lost(&self, end: DriverEnd, context: &WorkerContext) {
        let by_node = matches!(end, DriverEnd::HungUp(_));
        let mut slow = if let DriverEnd::Overdue(slow) = end { slow } else { None };
        let cause = match end {
            DriverEnd::Retired => return,
            DriverEnd::Lost(cause) | DriverEnd::HungUp(cause) => cause,
            DriverEnd::Overdue(None) => "the node does not answer".to_owned(),
            DriverEnd::Overdue(Some(bound)) => format!("what was on its way came too slowly ({bound})"),
        };
        context.stats.upstream_losses.add(1);
        tracing::warn!(node = %self.node, worker = context.worker, cause, "upstream connection lost");
        context.shared.table.ask_refresh();
        context.idle.forget(&self.node);
        let now = clock::now();
        let mut state = self.state.borrow_mut();
        (state.epoch, state.run_id) = (None, Default::default());
        let reply_begun = state.coming.take().is_some();
        let culprit = if by_node { state.queue.cause(reply_begun) } else { None };
        let lost = state.queue.lose(now);
        let is_quarantined = by_node && !self.quarantine && context.options.sides_max > 0;
        let suspects = if is_quarantined { state.queue.take_suspects() } else { Vec::new() };
        drop(state);
        if let Some(request) = culprit {
            context.quarantine.note(&request, now);
        }
        if !suspects.is_empty() {
            (context.on_reroute)(Reroute::Suspects { node: self.index, commands: suspects });
        }
        let after = context.options.request_timeout;
        for waiting in lost {
            let node = self.node.clone();
            if waiting.deadline <= now {
                context.stats.upstream_timeouts.add(1);
                // The first is what was on its way.
                waiting.fail(&match slow.take() {
                    Some(bound) => UpstreamError::Slow { node, bound },
                    None => UpstreamError::TimedOut { node, after },
                });
            } else if by_node && (waiting.rerouted || self.quarantine) {
                context.quarantine.note(&waiting.call.bytes, now);
                waiting.fail(&UpstreamError::Lost { node, cause: format!("{cause}{AGAIN}") });
            } else {
                waiting.fail(&UpstreamError::Lost { node, cause: cause.clone() });
            }
        }
    }

    /// Nothing that waits can be sent on it: on the main connection it can, behind what went there meanwhile,
    /// which is not of its slots.
    pub(super) fn give_up_all(&self, cause: &str, context: &WorkerContext) {
        let waiting = self.state.borrow_mut().queue.take_all();
        match &self.main {
            Some(main) => {
                for waiting in waiting {
                    context.routes.forget_connection(waiting.call.slots.one());
                    main.enqueue(waiting);
                }
            }
            None => {
                let failure = self.unreachable(cause);
                waiting.into_iter().for_each(|waiting| waiting.fail(&failure));
            }
        }
    }

    /// Fails the commands that waited too long for a connection.
    pub(super) fn give_up_overdue(&self, context: &WorkerContext) {
        let timeout = context.options.request_timeout.as_millis();
        let failure =
            self.unreachable(&format!("no connection within the {timeout} ms of upstream_request_timeout"));
        let overdue = self.state.borrow_mut().queue.take_overdue(clock::now());
        context.stats.upstream_timeouts.add(overdue.len() as u64);
        overdue.into_iter().for_each(|waiting| waiting.fail(&failure));
    }
}
