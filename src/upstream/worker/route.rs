//! Which connection a command takes: to the owner of its slot, behind what was sent on the slot before.

use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;

use super::upstream::{FORGOTTEN, Upstream};
use crate::clock;
use crate::node::NodeId;
use crate::protocol::key::Slot;
use crate::upstream::call::PendingCommand;
use crate::upstream::error::UpstreamError;
use crate::upstream::mux::connection::MuxConnection;
use crate::upstream::mux::node_connections::{NodeConnections, SendLoad};
use crate::upstream::topology::node_numbers::NodeIndex;

impl Upstream {
    /// The owner of `slot`, or any primary if there is no slot.
    pub fn node_for(self: &Rc<Upstream>, slot: Option<Slot>) -> Option<NodeIndex> {
        match slot {
            Some(slot) => self.owner(slot),
            None => self.any_node(),
        }
    }

    /// The node that the next command on `slot` goes to, if the slot has an owner.
    pub fn node_in_order(&self, slot: Slot) -> Option<NodeIndex> {
        self.table().owner(slot).map(|owner| self.in_order(slot, owner))
    }

    /// Where a command on `slot` goes so that it stays behind those sent before it. When the slot has another
    /// owner than before while commands are still on their way to the former one, they will be redirected
    /// from there; what came straight to the new owner would overtake them.
    fn in_order(&self, slot: Slot, owner: NodeIndex) -> NodeIndex {
        let routes = &self.context.routes;
        let former = routes.node(slot);
        if former == Some(owner) {
            return owner;
        }
        if let Some(former) = former {
            let connections = self.nodes.borrow();
            let is_in_flight = connections.get(&former).is_some_and(|connections| connections.has(slot));
            if is_in_flight || self.context.unconfirmed.has_slot(slot) {
                return former;
            }
        }
        routes.set_node(slot, owner);
        owner
    }

    /// The main connection to a node, which is begun if there is none.
    pub(super) fn main_connection(self: &Rc<Upstream>, index: NodeIndex) -> Rc<MuxConnection> {
        self.connections_to(&mut self.nodes.borrow_mut(), index).main().clone()
    }

    #[inline]
    pub(super) fn connections_to<'a>(
        self: &Rc<Upstream>,
        connections: &'a mut BTreeMap<NodeIndex, NodeConnections>,
        index: NodeIndex,
    ) -> &'a mut NodeConnections {
        connections.entry(index).or_insert_with(|| {
            let node = self.table().node(index);
            let is_forgotten = node.is_none();
            let connection = MuxConnection::new(
                index,
                node.unwrap_or_else(|| NodeId::new(FORGOTTEN)),
                self.context.options.large_bytes_min,
                &self.context.shared.ceiling,
                &self.context.stats,
            );
            if is_forgotten {
                // There is no address to connect to: what is sent there fails.
                connection.retire();
            }
            NodeConnections::new(self.begun(connection))
        })
    }

    /// Starts a new connection.
    pub(super) fn begun(self: &Rc<Upstream>, connection: Rc<MuxConnection>) -> Rc<MuxConnection> {
        tokio::task::spawn_local(connection.clone().run(self.context.clone()));
        connection
    }

    /// The connection that a request on `slot` takes.
    ///
    /// # Errors No node owns the slot.
    pub(super) fn connection_of(
        self: &Rc<Upstream>,
        slot: Slot,
        request: &Bytes,
    ) -> Result<Rc<MuxConnection>, UpstreamError> {
        let node = self.node_in_order(slot).ok_or_else(|| self.no_owner(slot))?;
        Ok(self.connection_for(node, Some(slot), request))
    }

    /// The connection that a request takes to the owner of `slot`, or to any node if there is no slot.
    ///
    /// # Errors
    /// No such node is known.
    pub(super) fn connection_on(
        self: &Rc<Upstream>,
        slot: Option<Slot>,
        request: &Bytes,
    ) -> Result<Rc<MuxConnection>, UpstreamError> {
        let Some(slot) = slot else {
            let index = self.any_node().ok_or_else(|| self.no_topology())?;
            return Ok(self.connection_for(index, None, request));
        };
        self.connection_of(slot, request)
    }

    /// The connection to a node that a request takes: the main one as a rule; [`NodeConnections`] says when
    /// it is another one.
    pub(super) fn connection_for(
        self: &Rc<Upstream>,
        index: NodeIndex,
        slot: Option<Slot>,
        request: &Bytes,
    ) -> Rc<MuxConnection> {
        if self.context.quarantine.has(request)
            && let Some(connection) = slot.and_then(|slot| self.quarantine_for(index, slot))
        {
            return connection;
        }
        let mut connections = self.nodes.borrow_mut();
        let connections = self.connections_to(&mut connections, index);
        let mut is_large = self.context.expects_large(slot);
        if request.len() >= self.context.options.large_bytes_min {
            self.context.expect_large(slot);
            is_large = true;
        }
        if connections.is_plain() && !is_large {
            return connections.main().clone();
        }
        let routes = &self.context.routes;
        let latest = slot.and_then(|slot| routes.connection(slot, index));
        let load = SendLoad { slot, latest, is_large };
        let (taken, connection) =
            match connections.connection_for(load, self.context.options.sides_max, clock::now()) {
                Some(taken) => (taken, connections.get(taken).clone()),
                None => {
                    let side = self.open_side(connections, index, false);
                    (connections.sides(), side)
                }
            };
        if let Some(slot) = slot {
            routes.set_connection(slot, index, taken);
        }
        connection
    }

    /// Opens a side connection to a node: one for all commands that need it, or the quarantine connection.
    pub(super) fn open_side(
        self: &Rc<Upstream>,
        connections: &mut NodeConnections,
        index: NodeIndex,
        quarantine: bool,
    ) -> Rc<MuxConnection> {
        if connections.sides() == 0 {
            // What was sent while there was one connection alone was not noted.
            self.context.routes.forget_connections(index);
            (self.on_side)();
        }
        let (large_bytes_min, ceiling) = (self.context.options.large_bytes_min, &self.context.shared.ceiling);
        let side = self.begun(MuxConnection::side(connections.main(), quarantine, large_bytes_min, ceiling));
        connections.add_side(side.clone());
        side
    }

    /// Whether a request of `bytes` bytes may take another connection than earlier commands. Then a command
    /// whose place no slot keeps may overtake others.
    pub fn is_split(&self, bytes: usize) -> bool {
        let now = clock::now();
        bytes >= self.context.options.large_bytes_min
            || self.nodes.borrow().values().any(|connections| connections.is_split(now))
    }

    /// Sends the commands again that were in flight when `index` closed a connection, with those that must
    /// stay behind them.
    pub(super) fn send_suspects(self: &Rc<Upstream>, index: NodeIndex, suspects: Vec<PendingCommand>) {
        if suspects.is_empty() {
            return;
        }
        let connection = self.quarantine(index);
        for waiting in suspects {
            self.context.routes.forget_connection(waiting.call.slots.one());
            connection.enqueue(waiting);
        }
    }

    /// The quarantine connection for a request on `slot` for which the node may have closed a connection
    /// before; `None` if the request would overtake others on its slot.
    #[cold]
    fn quarantine_for(self: &Rc<Upstream>, index: NodeIndex, slot: Slot) -> Option<Rc<MuxConnection>> {
        let would_overtake = |connection: &Rc<MuxConnection>| {
            connection.has_unslotted() || (!connection.is_quarantine() && connection.has(slot))
        };
        if self.context.options.sides_max == 0 || self.nodes.borrow().get(&index)?.iter().any(would_overtake)
        {
            return None;
        }
        self.context.routes.forget_connection(Some(slot));
        Some(self.quarantine(index))
    }

    /// The quarantine connection to a node: there is one at most.
    fn quarantine(self: &Rc<Upstream>, index: NodeIndex) -> Rc<MuxConnection> {
        let mut connections = self.nodes.borrow_mut();
        let connections = self.connections_to(&mut connections, index);
        if let Some(connection) = connections.quarantine() {
            return connection.clone();
        }
        self.open_side(connections, index, true)
    }
}
