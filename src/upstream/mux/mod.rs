//! One node's connection, shared by all sessions of a worker: connect, greet, send, hand out replies, start
//! over.
//!
//! ```text
//! Connecting --greeted--> Up --lost--> Connecting --failed--> Down --delay--> Connecting
//! ```
//! While `Connecting` commands wait for their deadline; while `Down` they fail at once. Whatever happens here
//! touches no other node. When the connection is lost its epoch ends before anything else is done (I4).

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};

mod driver;
pub(super) mod large_slots;
pub(super) mod node_connections;
pub(super) mod quarantine;
mod queue;
mod receive;

use super::Upstream;
use super::call::{Call, Completion, PendingCommand, PendingReply};
use super::error::UpstreamError;
use super::rights::Right;
use crate::clock::{self, Nanos};
use crate::memory::{MemoryCeiling, MemoryUse};
use crate::node::{Epoch, NodeId};
use crate::protocol::key::Slot;
use crate::stats::WorkerStats;
use crate::upstream::conn::handshake::UNTRACKED;
use crate::upstream::conn::limits::{self, NodeLimits};
use crate::upstream::conn::pace::Pace;
use crate::upstream::topology::node_numbers::NodeIndex;
use queue::{COMMAND_BYTES, CommandQueue};

/// The connection to one node. It is made and lost in `life`; what comes in on it is dealt with in `receive`.
#[derive(Debug)]
pub(super) struct MuxConnection {
    index: NodeIndex,
    node: NodeId,
    /// The main connection to the node, if this is a side connection. It gets what cannot be sent here.
    main: Option<Rc<MuxConnection>>,
    /// It is for what the node may have hung up on, and for nothing else.
    quarantine: bool,
    stats: Arc<WorkerStats>,
    state: RefCell<MuxState>,
    wake: Notify,
}

#[derive(Debug)]
struct MuxState {
    phase: MuxPhase,
    queue: CommandQueue,
    /// The epoch of the present connection while it is tracked.
    epoch: Option<Epoch>,
    /// Who is on the present connection, as it calls itself; empty when it does not say.
    run_id: Arc<str>,
    /// What the node hangs up on, as it said last.
    limits: NodeLimits,
    /// What it said so far of what it hangs up on by now.
    limits_said: Vec<Bytes>,
    /// Not before is it asked for that again; 0 if it does not tell.
    limits_asked_from: Nanos,
    /// Who that is in its cluster, if it says so.
    id: Option<Arc<str>>,
    /// The node was asked to track and would not.
    refuses_tracking: bool,
    /// Another nearside is at the other end.
    is_nearside: bool,
    /// How commands and replies come along that take more than one write or read: a large value may take
    /// longer than others.
    pace: Pace,
    /// The reply or push that has arrived in part.
    coming: Option<PartialFrame>,
    /// No attempt to connect has succeeded since the latest one that failed.
    is_failing: bool,
    /// The one server that there is takes no writes.
    takes_no_writes: bool,
    /// Not before is the connection ended for that again.
    stays_until: Nanos,
    /// Not before is it asked again whether it is a replica.
    role_asked_from: Nanos,
}

/// A reply or push that has arrived in part.
#[derive(Clone, Copy, Debug)]
struct PartialFrame {
    /// When its first bytes were seen.
    since: Nanos,
    /// Whether it is large, as far as it has come or by its own word.
    is_large: bool,
}

/// How long a node is believed in what it says that it hangs up on.
const LIMITS_HOLD: Duration = Duration::from_secs(5);

/// What takes longer than this to come is in the way as if it were large.
const SLOW: Duration = Duration::from_millis(20);

/// Where the connection stands; the transitions are in the file's opening comment.
#[derive(Clone, Debug, PartialEq, Eq)]
enum MuxPhase {
    Connecting,
    Up,
    Down(String),
    /// The node left the upstream; nothing comes after this.
    Retired,
}

// === impl State ===

impl MuxState {
    /// Whether the node is to be asked once more what it hangs up on.
    fn asks_for_limits(&mut self, now: Nanos) -> bool {
        let asks = self.limits_asked_from != 0 && self.limits_asked_from <= now;
        if asks {
            self.limits_asked_from = now + clock::nanos(LIMITS_HOLD);
            self.limits_said.clear();
        }
        asks
    }

    /// What it hangs up on by now, once it has said all of it. One that refuses to say so is not asked again.
    fn limits_by(&mut self, said: Bytes) -> Option<NodeLimits> {
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

// === impl Lane ===

impl MuxConnection {
    /// The main connection to `node`. Commands from `large_bytes_min` on are large.
    pub(super) fn new(
        index: NodeIndex,
        node: NodeId,
        large_bytes_min: usize,
        ceiling: &Arc<MemoryCeiling>,
        stats: &Arc<WorkerStats>,
    ) -> Rc<MuxConnection> {
        let queue = CommandQueue::new(large_bytes_min, ceiling.hold(MemoryUse::InFlight));
        MuxConnection::beside(None, false, index, node, queue, stats.clone())
    }

    /// A side connection; `quarantine` if it is for what the node may have hung up on.
    pub(super) fn side(
        main: &Rc<MuxConnection>,
        quarantine: bool,
        large_bytes_min: usize,
        ceiling: &Arc<MemoryCeiling>,
    ) -> Rc<MuxConnection> {
        let mut queue = CommandQueue::new(large_bytes_min, ceiling.hold(MemoryUse::InFlight));
        if quarantine {
            queue.begin_with_one();
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
            pace: Pace::default(),
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

    /// Whether it is for what the node may have hung up on, and for nothing else.
    pub(super) fn is_quarantine(&self) -> bool {
        self.quarantine
    }

    /// Who answers on the present connection, as it calls itself; empty when that is not known.
    pub(super) fn run_id(&self) -> Arc<str> {
        self.state.borrow().run_id.clone()
    }

    /// Whether what is read on it is tracked, as far as it knows.
    pub(super) fn is_trusted(&self) -> bool {
        self.state.borrow().epoch.is_some()
    }

    /// Whether it is connected.
    pub(super) fn is_up(&self) -> bool {
        self.state.borrow().phase == MuxPhase::Up
    }

    /// Whether it is being connected, and nothing says that this will fail.
    pub(super) fn is_coming(&self) -> bool {
        let state = self.state.borrow();
        state.phase == MuxPhase::Connecting && !state.is_failing
    }

    /// Whether the latest attempt to connect failed.
    pub(super) fn is_failing(&self) -> bool {
        self.state.borrow().is_failing
    }

    /// Whether anything is on its way on it of which the end has not come or gone.
    #[inline]
    pub(super) fn is_amid_something(&self) -> bool {
        let state = self.state.borrow();
        state.coming.is_some() || state.queue.is_sending_large()
    }

    /// Whether something large or slow is on its way on it, or was asked for: all else would have to wait for
    /// that.
    pub(super) fn is_busy(&self, now: Nanos) -> bool {
        let state = self.state.borrow();
        let is_in_the_way =
            |coming: PartialFrame| coming.is_large || coming.since + clock::nanos(SLOW) <= now;
        let queue = &state.queue;
        state.coming.is_some_and(is_in_the_way) || queue.is_sending_large() || queue.expects_large()
    }

    /// Whether a command that may touch anything has not been answered yet.
    pub(super) fn has_unslotted(&self) -> bool {
        self.state.borrow().queue.has_unslotted()
    }

    /// Whether it cannot be connected to for now.
    pub(super) fn is_down(&self) -> bool {
        matches!(self.state.borrow().phase, MuxPhase::Down(_))
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
    pub(super) fn send(&self, call: Call, upstream: &Upstream) -> PendingReply {
        self.hand_over(call, upstream, |waiting| waiting)
    }

    /// Sends a transaction, whose last reply comes after `parts` others.
    pub(super) fn send_transaction(&self, call: Call, parts: usize, upstream: &Upstream) -> PendingReply {
        self.hand_over(call, upstream, |waiting| waiting.after(parts))
    }

    /// Sends what belongs to a command that was let through right before, whatever the bounds say now.
    pub(super) fn send_behind(&self, call: Call, parts: usize, upstream: &Upstream) -> PendingReply {
        let deadline = clock::now() + clock::nanos(upstream.options.request_timeout);
        self.put(call, deadline, upstream, |waiting| if parts > 0 { waiting.after(parts) } else { waiting })
    }

    /// Sends a read that the node is not to track: nobody will ask whether its reply is still true.
    ///
    /// What says so goes right before the read, and neither is ever kept for another connection without the
    /// other behind it: they have one deadline, and what was written is sent again only if it reads. A
    /// read that is sent again or redirected is tracked, which costs the node a little memory and nobody
    /// the truth.
    pub(super) fn send_untracked(&self, call: Call, upstream: &Upstream) -> PendingReply {
        let refused = self.bound_reached(&call, upstream).is_some() || self.too_large(&call, false).is_some();
        if !self.is_trusted() || refused {
            return self.send(call, upstream);
        }
        let deadline = clock::now() + clock::nanos(upstream.options.request_timeout);
        let untracked =
            Call { bytes: Bytes::from_static(UNTRACKED), slot: None, reads_only: false, foreign: false };
        self.enqueue(PendingCommand::new(untracked, Completion::Nobody(Right::Caching), deadline));
        // Not looked at the bounds again: the read must follow.
        PendingReply { epoch: None, ..self.put(call, deadline, upstream, |waiting| waiting) }
    }

    fn hand_over(
        &self,
        call: Call,
        upstream: &Upstream,
        finish: impl FnOnce(PendingCommand) -> PendingCommand,
    ) -> PendingReply {
        if let Some(bound) = self.bound_reached(&call, upstream) {
            upstream.stats.upstream_refusals.add(1);
            return PendingReply::failed(UpstreamError::Overloaded { node: self.node.clone(), bound });
        }
        let deadline = clock::now() + clock::nanos(upstream.options.request_timeout);
        self.put(call, deadline, upstream, finish)
    }

    fn put(
        &self,
        call: Call,
        deadline: Nanos,
        upstream: &Upstream,
        finish: impl FnOnce(PendingCommand) -> PendingCommand,
    ) -> PendingReply {
        upstream.stats.upstream_commands.bump();
        let (sender, reply) = oneshot::channel();
        let number = upstream.number(call.slot);
        let expects_large = upstream.expects_large(call.slot);
        let waiting = PendingCommand {
            number,
            expects_large,
            ..PendingCommand::new(call, Completion::Caller(sender), deadline)
        };
        self.enqueue(finish(waiting));
        PendingReply { reply, epoch: self.state.borrow().epoch.clone() }
    }

    /// How many bytes of replies the node lets wait for one client, if it said so.
    pub(super) fn reply_limit(&self) -> Option<u64> {
        self.state.borrow().limits.replies()
    }

    /// What is wrong with a command, or a transaction, that the node would hang up on, as far as is known.
    #[inline]
    pub(super) fn too_large(&self, call: &Call, transaction: bool) -> Option<UpstreamError> {
        let excess = self.state.borrow().limits.excess(&call.bytes, transaction)?;
        Some(UpstreamError::beyond(self.node.clone(), excess))
    }

    /// Puts a command at the end of the line; redirects come here from another node's line.
    pub(super) fn enqueue(&self, mut waiting: PendingCommand) {
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
    pub(super) fn retire(&self) {
        self.state.borrow_mut().phase = MuxPhase::Retired;
        self.wake.notify_one();
    }

    /// How many commands wait to be sent, or for a reply.
    pub(super) fn waiting(&self) -> usize {
        self.state.borrow().queue.len()
    }

    fn bound_reached(&self, call: &Call, upstream: &Upstream) -> Option<&'static str> {
        let state = self.state.borrow();
        let options = &upstream.options;
        // What was redirected and waits until that is believed is still in flight.
        let (suspects, their_bytes) = upstream.suspects.load(self.index);
        if state.queue.len() + suspects >= options.in_flight_max {
            return Some("upstream_in_flight_max");
        }
        let (bytes, more) = (state.queue.bytes(), call.bytes.len());
        // What is large was let in when it was announced.
        let ceiling = &upstream.shared.ceiling;
        let much = ceiling.is_much(state.queue.takes());
        if ceiling.is_small(more) && much && !ceiling.fits(more + COMMAND_BYTES) {
            return Some("memory_max");
        }
        // One command is let through whatever its size.
        let bytes = bytes + their_bytes;
        (bytes > 0 && bytes + more > options.in_flight_bytes_max).then_some("upstream_in_flight_bytes_max")
    }

    fn unreachable(&self, cause: &str) -> UpstreamError {
        UpstreamError::Unreachable { node: self.node.clone(), cause: cause.to_owned() }
    }
}
