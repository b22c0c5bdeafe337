//! Every way to send a command over the multiplexed connections.

use std::rc::Rc;

use bytes::Bytes;

use super::upstream::Upstream;
use crate::clock;
use crate::node::NodeId;
use crate::protocol::key::Slot;
use crate::protocol::resp::encode;
use crate::upstream::call::{Call, PendingReply};
use crate::upstream::error::UpstreamError;
use crate::upstream::topology::node_numbers::NodeIndex;

/// Of the commands that may be in flight to a node, one in this many may be one that can do without.
const SPARE_SHARE: usize = 4;

impl Upstream {
    /// Sends a command to the owner of `slot`, after everything that this worker sent there before.
    pub fn send(self: &Rc<Upstream>, slot: Slot, call: Call) -> PendingReply {
        match self.context.shared.table.owner(slot) {
            Some(owner) => self.lane_of(slot, owner, &call.bytes).send(call, &self.context),
            None => PendingReply::failed(self.no_owner(slot)),
        }
    }

    /// Sends a read whose reply is not kept: the node does not track it, as far as it can be told so.
    pub fn send_untracked(self: &Rc<Upstream>, slot: Slot, call: Call) -> PendingReply {
        match self.context.shared.table.owner(slot) {
            Some(owner) => self.lane_of(slot, owner, &call.bytes).send_untracked(call, &self.context),
            None => PendingReply::failed(self.no_owner(slot)),
        }
    }

    /// Sends a read that the node does not track, if every change of `keys` is heard of anyway: then the
    /// reply may be kept in the epoch of the connection that listens. Gives the call back otherwise.
    ///
    /// # Errors
    /// They are not heard of at present.
    pub fn send_heard<'a>(
        self: &Rc<Upstream>,
        slot: Slot,
        keys: impl Iterator<Item = &'a [u8]>,
        call: Call,
    ) -> Result<PendingReply, Call> {
        let Some(owner) = self.context.shared.table.owner(slot) else { return Err(call) };
        let lane = self.lane_of(slot, owner, &call.bytes);
        // Before it is sent: all that happens to the keys from here on is heard in this epoch, or ends it.
        match self.context.shared.broadcast.epoch(lane.node(), &lane.run_id(), keys) {
            // A connection that is not trusted itself cannot be told what not to track.
            Some(epoch) if lane.is_trusted() => {
                Ok(PendingReply { epoch: Some(epoch), ..lane.send_untracked(call, &self.context) })
            }
            _ => Err(call),
        }
    }

    /// Sends a command that any node can answer.
    pub fn send_any(self: &Rc<Upstream>, call: Call) -> PendingReply {
        match self.any_node() {
            Some(index) => self.send_to(index, call),
            None => PendingReply::failed(self.no_topology()),
        }
    }

    /// Sends a command to this node, after everything that this worker sent there before, unless
    /// [`Upstream::is_split`].
    pub fn send_to(self: &Rc<Upstream>, index: NodeIndex, call: Call) -> PendingReply {
        self.lane_for(index, call.slot, &call.bytes).send(call, &self.context)
    }

    /// Sends a command to `node`, if that is known and there is a connection to it.
    pub fn send_to_known(self: &Rc<Upstream>, node: &NodeId, call: Call) -> PendingReply {
        let index = self.context.shared.table.index_of(node);
        let is_known = self.lanes.borrow().contains_key(&index);
        let cause = || "it is not part of the upstream".to_owned();
        match is_known {
            true => self.send_to(index, call),
            false => PendingReply::failed(UpstreamError::Unreachable { node: node.clone(), cause: cause() }),
        }
    }

    /// Sends a transaction in one piece: MULTI, its commands and EXEC, whose reply comes after `parts`
    /// others. It is carried out once or not at all.
    pub fn send_transaction(
        self: &Rc<Upstream>,
        slot: Option<Slot>,
        bytes: Bytes,
        parts: usize,
    ) -> PendingReply {
        let call = Call { bytes, slot, reads_only: false, foreign: false };
        let lane = match slot {
            Some(slot) => match self.context.shared.table.owner(slot) {
                Some(owner) => self.lane_of(slot, owner, &call.bytes),
                None => return PendingReply::failed(self.no_owner(slot)),
            },
            None => match self.any_node() {
                Some(index) => self.lane_for(index, None, &call.bytes),
                None => return PendingReply::failed(self.no_topology()),
            },
        };
        lane.send_transaction(call, parts, &self.context)
    }

    /// Sends what belongs to a command on `slot` that was let through right before: the bounds, which that
    /// one may have reached, are not looked at again. The reply comes after `parts` others, if it is that
    /// of a transaction.
    pub fn send_behind(self: &Rc<Upstream>, slot: Slot, bytes: Bytes, parts: usize) -> PendingReply {
        let call = Call { bytes, slot: Some(slot), reads_only: false, foreign: false };
        match self.context.shared.table.owner(slot) {
            Some(owner) => self.lane_of(slot, owner, &call.bytes).send_behind(call, parts, &self.context),
            None => PendingReply::failed(self.no_owner(slot)),
        }
    }

    /// The same, and which node each went to.
    pub fn send_each(self: &Rc<Upstream>, call: &Call) -> Vec<(NodeId, PendingReply)> {
        let primaries = self.context.shared.table.primaries();
        primaries.iter().map(|index| (self.node(*index), self.send_to(*index, call.clone()))).collect()
    }

    /// Sends a message that any node spreads, behind those that were published on the same slot: to the
    /// slot's owner, or to whoever is up while that is down. Also says which node it went to.
    pub fn publish(self: &Rc<Upstream>, slot: Slot, call: Call) -> (Option<NodeId>, PendingReply) {
        let owner = self.context.shared.table.owner(slot).map(|owner| self.lane_of(slot, owner, &call.bytes));
        let other = || self.any_node().map(|index| self.lane_for(index, call.slot, &call.bytes));
        match owner.filter(|lane| !lane.is_down()).or_else(other) {
            Some(lane) => (Some(lane.node().clone()), lane.send(call, &self.context)),
            None => (None, PendingReply::failed(self.no_topology())),
        }
    }

    /// How many commands that can do without may go to the owner of `slot` now: they leave most of the room
    /// to others.
    pub fn spare_room(&self, slot: Slot) -> usize {
        let spare = self.context.options.in_flight_max / SPARE_SHARE;
        let lanes = self.lanes.borrow();
        let lanes = self.way(slot).and_then(|node| lanes.get(&node));
        lanes.map_or(spare, |lanes| spare.saturating_sub(lanes.main().waiting()))
    }

    /// Waits until all was heard that the node has pushed by now, over whichever connection; whether that can
    /// be told.
    pub async fn hear_sides(self: &Rc<Upstream>, index: NodeIndex) -> bool {
        let sent = {
            let lanes = self.lanes.borrow();
            let Some(lanes) = lanes.get(&index) else { return true };
            if lanes.sides() == 0 {
                return true;
            }
            if lanes.is_any_busy(clock::now()) {
                return false;
            }
            let ping =
                || Call { bytes: encode::request(&["PING"]), slot: None, reads_only: true, foreign: false };
            lanes.iter().map(|lane| lane.send(ping(), &self.context)).collect::<Vec<_>>()
        };
        for sent in sent {
            if !sent.reply.await.is_ok_and(|outcome| outcome.is_ok()) {
                return false;
            }
        }
        true
    }
}
