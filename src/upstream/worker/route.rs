//! Which connection a command takes: to the owner of its slot, behind what was sent on the slot before.

use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;

use super::upstream::{FORGOTTEN, Upstream};
use crate::clock;
use crate::node::NodeId;
use crate::protocol::key::Slot;
use crate::upstream::call::PendingCommand;
use crate::upstream::mux::connection::MuxConnection;
use crate::upstream::mux::node_connections::{NodeConnections, SendLoad};
use crate::upstream::topology::node_numbers::NodeIndex;

impl Upstream {
    /// The node that the next command on `slot` goes to, if the slot has an owner.
    pub fn way(&self, slot: Slot) -> Option<NodeIndex> {
        self.context.shared.table.owner(slot).map(|owner| self.in_order(slot, owner))
    }

    /// Where a command on `slot` goes so that it stays behind those sent before it. When the slot has another
    /// owner than before while commands are still on their way to the former one, they will be redirected
    /// from there; what came straight to the new owner would overtake them.
    pub(super) fn in_order(&self, slot: Slot, owner: NodeIndex) -> NodeIndex {
        let routes = &self.context.routes;
        let former = routes.node(slot);
        if former == Some(owner) {
            return owner;
        }
        if let Some(former) = former {
            let lanes = self.lanes.borrow();
            let is_in_flight = lanes.get(&former).is_some_and(|lanes| lanes.has(slot));
            if is_in_flight || self.context.suspects.hold(slot) {
                return former;
            }
        }
        routes.set_node(slot, owner);
        owner
    }

    /// The main connection to a node, which is begun if there is none.
    pub(super) fn lane(self: &Rc<Upstream>, index: NodeIndex) -> Rc<MuxConnection> {
        self.lanes_to(&mut self.lanes.borrow_mut(), index).main().clone()
    }

    #[inline]
    pub(super) fn lanes_to<'a>(
        self: &Rc<Upstream>,
        lanes: &'a mut BTreeMap<NodeIndex, NodeConnections>,
        index: NodeIndex,
    ) -> &'a mut NodeConnections {
        lanes.entry(index).or_insert_with(|| {
            let node = self.context.shared.table.node(index);
            let is_forgotten = node.is_none();
            let lane = MuxConnection::new(
                index,
                node.unwrap_or_else(|| NodeId::new(FORGOTTEN)),
                self.context.options.large_bytes_min,
                &self.context.shared.ceiling,
                &self.context.stats,
            );
            if is_forgotten {
                // There is nobody to connect to: what is sent there fails with that.
                lane.retire();
            }
            NodeConnections::new(self.begun(lane))
        })
    }

    /// Has a new connection live.
    pub(super) fn begun(self: &Rc<Upstream>, lane: Rc<MuxConnection>) -> Rc<MuxConnection> {
        tokio::task::spawn_local(lane.clone().run(self.context.clone()));
        lane
    }

    /// The connection that a request on `slot` takes, whose owner is known.
    pub(super) fn lane_of(
        self: &Rc<Upstream>,
        slot: Slot,
        owner: NodeIndex,
        request: &Bytes,
    ) -> Rc<MuxConnection> {
        self.lane_for(self.in_order(slot, owner), Some(slot), request)
    }

    /// The connection to a node that a request takes: the main one as a rule; [`NodeConnections`] says when it
    /// is another one.
    pub(super) fn lane_for(
        self: &Rc<Upstream>,
        index: NodeIndex,
        slot: Option<Slot>,
        request: &Bytes,
    ) -> Rc<MuxConnection> {
        if self.context.quarantine.has(request)
            && let Some(lane) = slot.and_then(|slot| self.quarantine_for(index, slot))
        {
            return lane;
        }
        let mut lanes = self.lanes.borrow_mut();
        let lanes = self.lanes_to(&mut lanes, index);
        let mut is_large = self.context.expects_large(slot);
        if request.len() >= self.context.options.large_bytes_min {
            self.context.expect_large(slot);
            is_large = true;
        }
        if lanes.is_plain() && !is_large {
            return lanes.main().clone();
        }
        let routes = &self.context.routes;
        let latest = slot.and_then(|slot| routes.connection(slot, index));
        let load = SendLoad { slot, latest, is_large };
        let (taken, connection) = match lanes.way(load, self.context.options.sides_max, clock::now()) {
            Some(taken) => (taken, lanes.get(taken).clone()),
            None => {
                let side = self.open_side(lanes, index, false);
                (lanes.sides(), side)
            }
        };
        if let Some(slot) = slot {
            routes.set_connection(slot, index, taken);
        }
        connection
    }

    /// Begins one more connection to a node, for all that need it or for what the node may have hung up on.
    pub(super) fn open_side(
        self: &Rc<Upstream>,
        lanes: &mut NodeConnections,
        index: NodeIndex,
        quarantine: bool,
    ) -> Rc<MuxConnection> {
        if lanes.sides() == 0 {
            // What was sent while there was one connection alone was not noted.
            self.context.routes.forget_connections(index);
            (self.on_side)();
        }
        let (large_bytes_min, ceiling) = (self.context.options.large_bytes_min, &self.context.shared.ceiling);
        let side = self.begun(MuxConnection::side(lanes.main(), quarantine, large_bytes_min, ceiling));
        lanes.add_side(side.clone());
        side
    }

    /// Whether commands take several connections to a node at present. Then one that names no keys may
    /// overtake others.
    pub fn is_split(&self) -> bool {
        let now = clock::now();
        self.lanes.borrow().values().any(|lanes| lanes.is_split(now))
    }

    /// Sends what was under way when `index` hung up, and is to be sent again, with what has to stay behind
    /// it.
    pub(in crate::upstream) fn send_suspects(
        self: &Rc<Upstream>,
        index: NodeIndex,
        suspects: Vec<PendingCommand>,
    ) {
        if suspects.is_empty() {
            return;
        }
        let lane = self.quarantine(index);
        for waiting in suspects {
            self.context.routes.forget_connection(waiting.call.slot);
            lane.enqueue(waiting);
        }
    }

    /// The connection to a node that a request on `slot` takes for which it may have hung up before, unless
    /// that would overtake what was sent on the slot.
    #[cold]
    pub(in crate::upstream) fn quarantine_for(
        self: &Rc<Upstream>,
        index: NodeIndex,
        slot: Slot,
    ) -> Option<Rc<MuxConnection>> {
        if self.context.options.sides_max == 0 {
            return None;
        }
        {
            let lanes = self.lanes.borrow();
            let mut lanes = lanes.get(&index)?.iter();
            if lanes.any(|lane| lane.has_unslotted() || (!lane.is_quarantine() && lane.has(slot))) {
                return None;
            }
        }
        self.context.routes.forget_connection(Some(slot));
        Some(self.quarantine(index))
    }

    /// The connection of that kind to a node: there is one at most.
    pub(super) fn quarantine(self: &Rc<Upstream>, index: NodeIndex) -> Rc<MuxConnection> {
        let mut lanes = self.lanes.borrow_mut();
        let lanes = self.lanes_to(&mut lanes, index);
        if let Some(lane) = lanes.quarantine() {
            return lane.clone();
        }
        self.open_side(lanes, index, true)
    }
}
