//! A command in flight to a node, and its reply.

use bytes::Bytes;
use tokio::sync::oneshot;

use super::error::UpstreamError;
use super::rights::Right;
use super::topology::node_numbers::NodeIndex;
use crate::clock::Nanos;
use crate::node::Epoch;
use crate::protocol::db::DbIndex;
use crate::protocol::key::KeySlots;
use crate::protocol::resp::cursor::{self, ReplyHead};
use crate::protocol::resp::encode;

/// ASKING holds for one command and cannot be said inside MULTI, so no node can carry out a transaction on
/// keys that are on their way to another node.
pub const SLOT_IS_MOVING: &[u8] = b"-TRYAGAIN the slot of its keys is moving to another node\r\n";

/// A command to send.
#[derive(Clone, Debug)]
pub struct Call {
    /// The request, as it goes on the wire.
    pub bytes: Bytes,
    /// The slots of its keys. A redirect is followed only if there is one slot.
    pub slots: KeySlots,
    /// The database in which it is executed; `None` if any will do.
    pub database: Option<DbIndex>,
    /// Whether it may leave its connection in another database: a transaction with SELECT.
    pub selects: bool,
    /// Whether it only reads: such a command may be sent again after its connection was lost.
    pub reads_only: bool,
    /// Whether user code may answer: a script, a function, or a command of a module. Its errors can have
    /// any text.
    pub runs_user_code: bool,
}

/// What a node answered.
#[derive(Clone, Debug)]
pub struct UpstreamReply {
    /// The reply, in RESP3, as the node sent it.
    pub frame: Bytes,
    /// Whether it came from another connection than the command was first sent on: such a reply is not kept.
    pub rerouted: bool,
    /// Whether it came over a connection that is tracked and trusted: a change of it, or the loss of the
    /// connection, will be reported.
    pub tracked: bool,
    /// The node, if the reply came over a shared connection.
    pub by: Option<NodeIndex>,
}

/// The outcome of a command.
pub type Outcome = Result<UpstreamReply, UpstreamError>;

/// A command that was handed to a node's connection.
#[derive(Debug)]
pub struct PendingReply {
    /// Receives the outcome, once.
    pub reply: oneshot::Receiver<Outcome>,
    /// The epoch of the connection that the command goes out on, if that is tracked: the reply may be kept.
    pub epoch: Option<Epoch>,
}

/// What is done with the reply to a command in flight.
#[derive(Debug)]
pub(super) enum Completion {
    /// A session.
    Caller(oneshot::Sender<Outcome>),
    /// The connection itself: from this command on the node tracks what is read.
    TrackingEnabled,
    /// The connection itself: the server says whether it is a replica.
    Role,
    /// The connection itself: the node reports its limits.
    Limits,
    /// The connection itself: a nearside names the nearsides behind it.
    ProxyChain,
    /// Nothing waits: the command, which needs this right, was sent for its effect on the connection.
    Nobody(Right),
    /// The connection itself: the node confirms that this database is selected.
    Select(DbIndex),
    /// The connection itself; the heartbeat was sent at this time.
    Heartbeat(Nanos),
}

/// A command that waits for its reply.
#[derive(Debug)]
pub(super) struct PendingCommand {
    pub(super) call: Call,
    pub(super) waiter: Completion,
    /// When its sender stops waiting.
    pub(super) deadline: Nanos,
    /// The node that it was sent to last.
    pub(super) node: Option<NodeIndex>,
    /// The offset of its first byte on the present connection; `None` before it was queued there.
    pub(super) begins_at: Option<u64>,
    /// Its number among the commands on its slot.
    pub(super) number: u32,
    /// How often it was redirected.
    pub(super) redirects: u8,
    /// Whether its reply may be large.
    pub(super) expects_large: bool,
    /// Whether it goes behind ASKING.
    pub(super) asking: bool,
    /// Whether it was sent before, on another connection.
    pub(super) rerouted: bool,
    /// The replies before the last one, if it is a transaction.
    pub(super) parts: Option<Box<Parts>>,
}

/// The replies of a transaction before that of EXEC: MULTI and every command are answered by themselves.
#[derive(Debug)]
pub(super) struct Parts {
    /// How many there are.
    count: usize,
    /// How many are still to come on the present connection.
    left: usize,
    /// The first error among them: with it, EXEC carries out nothing.
    refusal: Option<Bytes>,
}

// === impl Call ===

impl Call {
    /// A command on keys of a database, in these slots, answered by the server's own code.
    pub fn new(database: DbIndex, slots: KeySlots, bytes: Bytes, reads_only: bool) -> Call {
        Call { slots, ..Call::without_keys(bytes, reads_only).on(database) }
    }

    /// A command that names no key, so that it may be executed in any database.
    pub fn without_keys(bytes: Bytes, reads_only: bool) -> Call {
        let slots = KeySlots::None;
        Call { bytes, slots, database: None, selects: false, reads_only, runs_user_code: false }
    }

    /// The call, executed in this database.
    pub fn on(self, database: DbIndex) -> Call {
        Call { database: Some(database), ..self }
    }

    /// A command that names no key and changes nothing.
    pub fn question(bytes: Bytes) -> Call {
        Call::without_keys(bytes, true)
    }
}

// === impl Parts ===

impl Parts {
    /// Resets the count when the transaction is sent, for the first time or again.
    pub(super) fn start(&mut self) {
        self.left = self.count;
        self.refusal = None;
    }

    /// Whether `frame` is one of the replies before the last.
    pub(super) fn take(&mut self, frame: &Bytes) -> bool {
        let taken = self.left > 0;
        if taken {
            self.left -= 1;
            if self.refusal.is_none() && frame.starts_with(b"-") {
                self.refusal = Some(frame.clone());
            }
        }
        taken
    }

    /// Whether `exec` can be what EXEC answers, no error: MULTI is the first of them, and the others were
    /// queued.
    pub(super) fn are_answered_by(&self, exec: &[u8]) -> bool {
        answers_exec(exec, self.count.saturating_sub(1))
    }

    /// The error for which nothing was carried out.
    pub(super) fn refusal(&self) -> Option<&Bytes> {
        self.refusal.as_ref()
    }
}

// === impl PendingReply ===

impl PendingReply {
    /// Whether the outcome is there and was not taken yet. Right after the command was handed over, that
    /// means that it was not sent.
    pub fn has_outcome(&self) -> bool {
        !self.reply.is_empty()
    }

    /// Waits for the outcome.
    pub(super) async fn outcome(self) -> Outcome {
        self.reply.await.unwrap_or(Err(UpstreamError::Stopped))
    }

    /// A command that failed before it was sent.
    pub(super) fn failed(failure: UpstreamError) -> PendingReply {
        let (sender, reply) = oneshot::channel();
        // The receiver is right here.
        let _ = sender.send(Err(failure));
        PendingReply { reply, epoch: None }
    }
}

// === impl PendingCommand ===

impl PendingCommand {
    pub(super) fn new(call: Call, waiter: Completion, deadline: Nanos) -> PendingCommand {
        PendingCommand {
            call,
            waiter,
            deadline,
            node: None,
            begins_at: None,
            number: 0,
            redirects: 0,
            expects_large: false,
            asking: false,
            rerouted: false,
            parts: None,
        }
    }

    /// Whether a caller waits for it and no slot keeps its place: its keys lie in several slots, or it may
    /// touch any key, since it names no keys and does not only read.
    pub(super) fn is_unslotted(&self) -> bool {
        let has_no_place = match self.call.slots {
            KeySlots::One(_) => false,
            KeySlots::None => !self.call.reads_only,
            KeySlots::Several => true,
        };
        has_no_place && matches!(self.waiter, Completion::Caller(_))
    }

    /// Makes it a transaction, whose last reply comes after `count` others.
    pub(super) fn after(self, count: usize) -> PendingCommand {
        PendingCommand { parts: Some(Box::new(Parts { count, left: count, refusal: None })), ..self }
    }

    /// Completes the command with a reply. A caller whose client has left does not wait any more.
    pub(super) fn answer(self, frame: Bytes, tracked: bool) {
        if let Completion::Caller(sender) = self.waiter {
            let _ = sender.send(Ok(UpstreamReply { frame, rerouted: self.rerouted, tracked, by: self.node }));
        }
    }

    /// Refuses it, because its slot moves.
    pub(super) fn answer_moving(self) {
        let reply = Bytes::from_static(SLOT_IS_MOVING);
        let reply = if self.parts.is_some() { exec_abort(&reply) } else { reply };
        self.answer(reply, false);
    }

    /// Completes the command with an error.
    pub(super) fn fail(self, failure: &UpstreamError) {
        if let Completion::Caller(sender) = self.waiter {
            let _ = sender.send(Err(failure.clone()));
        }
    }
}

/// The reply to EXEC of a transaction in which a command met `error`.
pub fn exec_abort(error: &[u8]) -> Bytes {
    let text = error.strip_prefix(b"-ERR ").or(error.strip_prefix(b"-")).unwrap_or(error);
    let cause = String::from_utf8_lossy(text.strip_suffix(b"\r\n").unwrap_or(text));
    encode::error_reply(format!("EXECABORT Transaction discarded because of: {cause}"))
}

/// Whether `frame`, which is no error, can be the reply of EXEC after `commands` queued commands: as many
/// replies, or null.
pub fn answers_exec(frame: &[u8], commands: usize) -> bool {
    match cursor::head(frame) {
        Some(ReplyHead::Aggregate { kind: b'*', count }) => count == commands,
        Some(ReplyHead::Null { .. }) => true,
        _ => false,
    }
}
