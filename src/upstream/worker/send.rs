//! Every way to send a command over the multiplexed connections.

use std::rc::Rc;

use super::upstream::Upstream;
use crate::clock;
use crate::node::NodeId;
use crate::protocol::key::Slot;
use crate::protocol::resp::encode;
use crate::upstream::call::{Call, PendingReply};
use crate::upstream::error::UpstreamError;
use crate::upstream::topology::node_numbers::NodeIndex;

/// Of the commands that may be in flight to a node, one in this many may be optional.
const SPARE_SHARE: usize = 4;

impl Upstream {
    /// Sends a command to the owner of `slot`, after everything that this worker sent there before; to any
    /// node if there is no slot.
    pub fn send(self: &Rc<Upstream>, slot: Option<Slot>, call: Call) -> PendingReply {
        match self.connection_on(slot, &call.bytes) {
            Ok(connection) => connection.send(call, &self.context),
            Err(failure) => PendingReply::failed(failure),
        }
    }

    /// Sends a read whose reply is not kept: the node is asked not to track it, where the connection allows
    /// that.
    pub fn send_untracked(self: &Rc<Upstream>, slot: Option<Slot>, call: Call) -> PendingReply {
        match self.connection_on(slot, &call.bytes) {
            Ok(connection) => connection.send_untracked(call, &self.context),
            Err(failure) => PendingReply::failed(failure),
        }
    }

    /// Sends a read that the node does not track, if BCAST tracking covers `keys`: then the reply may be kept
    /// in the epoch of the BCAST connection. Gives the call back otherwise.
    ///
    /// # Errors
    /// BCAST tracking does not cover the keys at present.
    pub fn send_if_covered<'a>(
        self: &Rc<Upstream>,
        slot: Option<Slot>,
        keys: impl Iterator<Item = &'a [u8]>,
        call: Call,
    ) -> Result<PendingReply, Call> {
        let Ok(connection) = self.connection_on(slot, &call.bytes) else { return Err(call) };
        // Before it is sent: each change of the keys from here on is reported in this epoch, or ends it.
        match self.context.shared.broadcast.epoch(connection.node(), &connection.run_id(), keys) {
            // A connection without tracking cannot be asked not to track one read.
            Some(epoch) if connection.is_trusted() => {
                Ok(PendingReply { epoch: Some(epoch), ..connection.send_untracked(call, &self.context) })
            }
            _ => Err(call),
        }
    }

    /// Sends a command to this node, after everything that this worker sent there before, unless
    /// [`Upstream::is_split`].
    pub fn send_to(self: &Rc<Upstream>, index: NodeIndex, call: Call) -> PendingReply {
        self.connection_for(index, call.slots.one(), &call.bytes).send(call, &self.context)
    }

    /// Sends a command to `node`, if that is known and there is a connection to it.
    pub fn send_to_known(self: &Rc<Upstream>, node: &NodeId, call: Call) -> PendingReply {
        let index = self.index_of(node);
        if self.nodes.borrow().contains_key(&index) {
            return self.send_to(index, call);
        }
        let cause = "it is not part of the upstream".to_owned();
        PendingReply::failed(UpstreamError::Unreachable { node: node.clone(), cause })
    }

    /// Sends a transaction in one piece: MULTI, its commands and EXEC, whose reply comes after `parts`
    /// others. It is carried out once or not at all.
    pub fn send_transaction(self: &Rc<Upstream>, call: Call, parts: usize) -> PendingReply {
        match self.connection_on(call.slots.one(), &call.bytes) {
            Ok(connection) => connection.send_transaction(call, parts, &self.context),
            Err(failure) => PendingReply::failed(failure),
        }
    }

    /// Sends what belongs to a command that was let through right before: the limits, which that one may have
    /// reached, are not checked again. The reply comes after `parts` others, if it is that of a transaction.
    pub fn send_behind(self: &Rc<Upstream>, call: Call, parts: usize) -> PendingReply {
        match self.connection_on(call.slots.one(), &call.bytes) {
            Ok(connection) => connection.send_behind(call, parts, &self.context),
            Err(failure) => PendingReply::failed(failure),
        }
    }

    /// Sends a command to every primary; returns each node with its reply.
    pub fn send_each(self: &Rc<Upstream>, call: &Call) -> Vec<(NodeId, PendingReply)> {
        let primaries = self.primaries();
        primaries.iter().map(|index| (self.node(*index), self.send_to(*index, call.clone()))).collect()
    }

    /// Sends a message that any node spreads, behind those that were published on the same slot: to the
    /// slot's owner, or to another primary while that is down. Also returns the node that it went to.
    pub fn publish(self: &Rc<Upstream>, slot: Slot, call: Call) -> (Option<NodeId>, PendingReply) {
        let owner = self.connection_of(slot, &call.bytes).ok();
        let other = || self.any_node().map(|index| self.connection_for(index, call.slots.one(), &call.bytes));
        match owner.filter(|connection| !connection.is_down()).or_else(other) {
            Some(connection) => (Some(connection.node().clone()), connection.send(call, &self.context)),
            None => (None, PendingReply::failed(self.no_topology())),
        }
    }

    /// How many commands that can do without may go to the owner of `slot` now, or to the one server: they
    /// leave most of the room to others.
    pub fn spare_room(self: &Rc<Upstream>, slot: Option<Slot>) -> usize {
        let spare = self.context.options.in_flight_max / SPARE_SHARE;
        let node = slot.map_or_else(|| self.any_node(), |slot| self.node_in_order(slot));
        let connections = self.nodes.borrow();
        let connections = node.and_then(|node| connections.get(&node));
        connections.map_or(spare, |connections| spare.saturating_sub(connections.main().waiting()))
    }

    /// Waits until all that the node has pushed by now, over all its connections, was received. Returns false
    /// if that cannot be known.
    pub async fn await_side_fences(self: &Rc<Upstream>, index: NodeIndex) -> bool {
        let sent: Vec<PendingReply> = {
            let connections = self.nodes.borrow();
            let Some(connections) = connections.get(&index) else { return true };
            if connections.sides() == 0 {
                return true;
            }
            if connections.is_any_busy(clock::now()) {
                return false;
            }
            let ping = Call::question(encode::request(&["PING"]));
            connections.iter().map(|connection| connection.send(ping.clone(), &self.context)).collect()
        };
        for sent in sent {
            if !sent.reply.await.is_ok_and(|outcome| outcome.is_ok()) {
                return false;
            }
        }
        true
    }
}
