//! The connection to one node as it is shared by all sessions of a worker: its state, and its queue of
//! commands.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use super::queue::CommandQueue;
use crate::clock::{self, Nanos};
use crate::memory::{MemoryCeiling, MemoryUse};
use crate::node::{Epoch, NodeId};
use crate::protocol::key::Slot;
use crate::stats::WorkerStats;
use crate::upstream::call::{Call, PendingCommand};
use crate::upstream::conn::limits::{self, NodeLimits};
use crate::upstream::conn::transfer::TransferProgress;
use crate::upstream::error::UpstreamError;
use crate::upstream::topology::node_numbers::NodeIndex;

/// The connection to one node. `driver.rs` connects it and `loss.rs` ends it; `receive.rs` handles what comes
/// in on it.
#[derive(Debug)]
pub(in crate::upstream) struct MuxConnection {
    pub(super) index: NodeIndex,
    pub(super) node: NodeId,
    /// The main connection to the node, if this is a side connection. It gets what cannot be sent here.
    pub(super) main: Option<Rc<MuxConnection>>,
    /// Whether it is the quarantine connection.
    pub(super) quarantine: bool,
    pub(super) stats: Arc<WorkerStats>,
    pub(super) state: RefCell<MuxState>,
    pub(super) wake: Notify,
}

#[derive(Debug)]
pub(super) struct MuxState {
    pub(super) phase: MuxPhase,
    pub(super) queue: CommandQueue,
    /// The epoch of the present connection while it is tracked.
    pub(super) epoch: Option<Epoch>,
    /// The `run_id` of the process at the other end; empty when it does not say.
    pub(super) run_id: Arc<str>,
    /// The limits of the node, as it said last.
    pub(super) limits: NodeLimits,
    /// The answers so far to the question for its present limits.
    pub(super) limits_said: Vec<Bytes>,
    /// When the limits are asked for again at the earliest; 0 if the node does not say them.
    pub(super) limits_asked_from: Nanos,
    /// The id of the node in its cluster, if it says so.
    pub(super) id: Option<Arc<str>>,
    /// Whether the node refused to track.
    pub(super) refuses_tracking: bool,
    /// Whether another nearside is at the other end.
    pub(super) is_nearside: bool,
    /// The progress of commands and replies that take more than one write or read: a large one may take
    /// longer than others.
    pub(super) transfer: TransferProgress,
    /// The reply or push that has arrived in part.
    pub(super) coming: Option<PartialFrame>,
    /// Whether the latest attempt to connect failed.
    pub(super) is_failing: bool,
    /// Whether the upstream is one server, and refuses writes.
    pub(super) takes_no_writes: bool,
    /// When the connection may be ended for that again, at the earliest.
    pub(super) stays_until: Nanos,
    /// When the server is asked again whether it is a replica, at the earliest.
    pub(super) role_asked_from: Nanos,
}

/// A reply or push that has arrived in part.
#[derive(Clone, Copy, Debug)]
pub(super) struct PartialFrame {
    /// When its first bytes were seen.
    pub(super) since: Nanos,
    /// Whether it is large, as far as it has come or by its own word.
    pub(super) is_large: bool,
}

/// How long the reported limits of a node are trusted.
pub(super) const LIMITS_HOLD: Duration = Duration::from_secs(5);

/// A reply that takes longer than this to arrive counts as large.
const SLOW: Duration = Duration::from_millis(20);

/// The phase of a connection; `mod.rs` has the transitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum MuxPhase {
    Connecting,
    Up,
    Down(String),
    /// The node left the upstream; nothing comes after this.
    Retired,
}

// === impl MuxState ===

impl MuxState {
    /// Whether the node is to be asked for its limits again.
    pub(super) fn asks_for_limits(&mut self, now: Nanos) -> bool {
        let asks = self.limits_asked_from != 0 && self.limits_asked_from <= now;
        if asks {
            self.limits_asked_from = now + clock::nanos(LIMITS_HOLD);
            self.limits_said.clear();
        }
        asks
    }

    /// Updates the limits of the node, once it has reported all of them. A node that refuses is not asked
    /// again.
    pub(super) fn limits_by(&mut self, said: Bytes) -> Option<NodeLimits> {
        if said.starts_with(b"-") {
            self.limits_asked_from = 0;
        }
        self.limits_said.push(said);
        if self.limits_said.len() < limits::ANSWERS - 1 {
            return None;
        }
        let said = std::mem::take(&mut self.limits_said);
        (self.limits_asked_from != 0).then(|| self.limits.renewed(&said))
    }
}

// === impl MuxConnection ===

impl MuxConnection {
    /// The main connection to `node`. Commands from `large_bytes_min` on are large.
    pub(in crate::upstream) fn new(
        index: NodeIndex,
        node: NodeId,
        large_bytes_min: usize,
        ceiling: &Arc<MemoryCeiling>,
        stats: &Arc<WorkerStats>,
    ) -> Rc<MuxConnection> {
        let queue = CommandQueue::new(large_bytes_min, ceiling.hold(MemoryUse::InFlight));
        MuxConnection::beside(None, false, index, node, queue, stats.clone())
    }

    /// A side connection; `quarantine` if it is the quarantine connection.
    pub(in crate::upstream) fn side(
        main: &Rc<MuxConnection>,
        quarantine: bool,
        large_bytes_min: usize,
        ceiling: &Arc<MemoryCeiling>,
    ) -> Rc<MuxConnection> {
        let mut queue = CommandQueue::new(large_bytes_min, ceiling.hold(MemoryUse::InFlight));
        if quarantine {
            queue.start_slowly();
        }
        let stats = main.stats.clone();
        MuxConnection::beside(Some(main.clone()), quarantine, main.index, main.node.clone(), queue, stats)
    }

    fn beside(
        main: Option<Rc<MuxConnection>>,
        quarantine: bool,
        index: NodeIndex,
        node: NodeId,
        queue: CommandQueue,
        stats: Arc<WorkerStats>,
    ) -> Rc<MuxConnection> {
        let phase = MuxPhase::Connecting;
        let state = MuxState {
            phase,
            queue,
            epoch: None,
            run_id: Arc::default(),
            limits: NodeLimits::default(),
            limits_said: Vec::new(),
            limits_asked_from: 0,
            id: None,
            refuses_tracking: false,
            is_nearside: false,
            transfer: TransferProgress::default(),
            coming: None,
            is_failing: false,
            takes_no_writes: false,
            stays_until: 0,
            role_asked_from: 0,
        };
        Rc::new(MuxConnection {
            index,
            node,
            main,
            quarantine,
            stats,
            state: RefCell::new(state),
            wake: Notify::new(),
        })
    }

    /// Whether it is the quarantine connection.
    pub(in crate::upstream) fn is_quarantine(&self) -> bool {
        self.quarantine
    }

    /// The `run_id` of the process at the other end; empty when it is not known.
    pub(in crate::upstream) fn run_id(&self) -> Arc<str> {
        self.state.borrow().run_id.clone()
    }

    /// Whether reads on it are tracked, as far as is known.
    pub(in crate::upstream) fn is_trusted(&self) -> bool {
        self.state.borrow().epoch.is_some()
    }

    /// Whether it is connected.
    pub(in crate::upstream) fn is_up(&self) -> bool {
        self.state.borrow().phase == MuxPhase::Up
    }

    /// Whether it is being connected, and nothing says that this will fail.
    pub(in crate::upstream) fn is_coming(&self) -> bool {
        let state = self.state.borrow();
        state.phase == MuxPhase::Connecting && !state.is_failing
    }

    /// Whether the latest attempt to connect failed.
    pub(in crate::upstream) fn is_failing(&self) -> bool {
        self.state.borrow().is_failing
    }

    /// Whether a command or reply is partly sent or received.
    #[inline]
    pub(in crate::upstream) fn is_amid_something(&self) -> bool {
        let state = self.state.borrow();
        state.coming.is_some() || state.queue.is_sending_large()
    }

    /// Whether something large or slow is on its way on it, or was asked for: all else would have to wait for
    /// that.
    pub(in crate::upstream) fn is_busy(&self, now: Nanos) -> bool {
        let state = self.state.borrow();
        let is_in_the_way =
            |coming: PartialFrame| coming.is_large || coming.since + clock::nanos(SLOW) <= now;
        let queue = &state.queue;
        state.coming.is_some_and(is_in_the_way) || queue.is_sending_large() || queue.expects_large()
    }

    /// Whether a command that may touch anything has not been answered yet.
    pub(in crate::upstream) fn has_unslotted(&self) -> bool {
        self.state.borrow().queue.has_unslotted()
    }

    /// Whether it cannot be connected to for now.
    pub(in crate::upstream) fn is_down(&self) -> bool {
        matches!(self.state.borrow().phase, MuxPhase::Down(_))
    }

    /// Whether every command has been answered.
    pub(in crate::upstream) fn is_idle(&self) -> bool {
        self.state.borrow().queue.len() == 0
    }

    /// Whether a command on `slot` has not been answered yet.
    pub(in crate::upstream) fn has(&self, slot: Slot) -> bool {
        self.state.borrow().queue.has(slot)
    }

    /// The node's address.
    pub(in crate::upstream) fn node(&self) -> &NodeId {
        &self.node
    }

    /// The bytes of replies that the node lets wait for one client, if it said so.
    pub(in crate::upstream) fn reply_limit(&self) -> Option<u64> {
        self.state.borrow().limits.replies()
    }

    /// The error for a command, or a transaction, that exceeds a known limit of the node.
    #[inline]
    pub(in crate::upstream) fn too_large(&self, call: &Call, transaction: bool) -> Option<UpstreamError> {
        let excess = self.state.borrow().limits.excess(&call.bytes, transaction)?;
        Some(UpstreamError::beyond(self.node.clone(), excess))
    }

    /// Puts a command at the end of the line; redirects come here from another node's line.
    pub(in crate::upstream) fn enqueue(&self, mut waiting: PendingCommand) {
        if let Some(failure) = self.too_large(&waiting.call, waiting.parts.is_some()) {
            self.stats.upstream_too_large.add(1);
            return waiting.fail(&failure);
        }
        waiting.node = Some(self.index);
        let mut state = self.state.borrow_mut();
        match (&state.phase, &self.main) {
            (MuxPhase::Down(_) | MuxPhase::Retired, Some(main)) => main.enqueue(waiting),
            (MuxPhase::Connecting | MuxPhase::Up, _) => {
                let connected = state.phase == MuxPhase::Up;
                state.queue.push(waiting, connected);
                drop(state);
                self.wake.notify_one();
            }
            (MuxPhase::Down(cause), _) => waiting.fail(&self.unreachable(cause)),
            (MuxPhase::Retired, _) => waiting.fail(&self.unreachable("it is no longer part of the upstream")),
        }
    }

    /// The node left the upstream: finishes what is in flight and ends.
    pub(in crate::upstream) fn retire(&self) {
        self.state.borrow_mut().phase = MuxPhase::Retired;
        self.wake.notify_one();
    }

    /// How many commands wait to be sent, or for a reply.
    pub(in crate::upstream) fn waiting(&self) -> usize {
        self.state.borrow().queue.len()
    }

    /// The error for a command that was not sent to the node, for this reason.
    pub(super) fn unreachable(&self, cause: &str) -> UpstreamError {
        UpstreamError::Unreachable { node: self.node.clone(), cause: cause.to_owned() }
    }

    /// Enters a phase, unless the node is retired.
    pub(super) fn enter(&self, phase: MuxPhase) -> bool {
        let mut state = self.state.borrow_mut();
        let alive = state.phase != MuxPhase::Retired;
        if alive {
            state.phase = phase;
        }
        alive
    }

    /// Whether the node left the upstream, and nothing waits for it.
    pub(super) fn is_over(&self) -> bool {
        let state = self.state.borrow();
        state.phase == MuxPhase::Retired && state.queue.len() == 0
    }
}
