//! The upstream of one worker: its connections to every node, and what it knows of the topology.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{self, MissedTickBehavior};

use crate::clock::{self, Nanos};
use crate::node::NodeId;
use crate::protocol::key::Slot;
use crate::stats::WorkerStats;
use crate::upstream::context::{OnInvalidation, OnReroute, WorkerContext};
use crate::upstream::dedicated::Idle;
use crate::upstream::error::UpstreamError;
use crate::upstream::mux::node_connections::NodeConnections;
use crate::upstream::mux::quarantine::Quarantine;
use crate::upstream::mux::slot_routes::{LargeSlots, SlotRoutes};
use crate::upstream::options::UpstreamOptions;
use crate::upstream::redirects::unconfirmed::UnconfirmedRedirects;
use crate::upstream::shared::SharedUpstream;
use crate::upstream::topology::cluster_nodes::NodeView;
use crate::upstream::topology::node_numbers::NodeIndex;
use crate::upstream::topology::slots::{Discovery, SlotTable};

/// The address that is shown for a node that was forgotten.
pub(super) const FORGOTTEN: &str = "a node that left";

/// Called before a side connection is opened: from then on what one node says comes over several connections.
pub type OnSide = Box<dyn Fn()>;

/// The upstream as one worker uses it.
pub struct Upstream {
    pub(super) context: Rc<WorkerContext>,
    pub(super) nodes: RefCell<BTreeMap<NodeIndex, NodeConnections>>,
    pub(super) on_side: OnSide,
    /// Where the next command that any node can answer begins to look for one.
    turn: Cell<usize>,
}

// === impl Upstream ===

impl Upstream {
    /// The upstream of worker `worker`. [`Upstream::run`] must run on the same thread.
    pub fn new(
        worker: usize,
        options: UpstreamOptions,
        shared: Arc<SharedUpstream>,
        on_invalidation: OnInvalidation,
        on_side: OnSide,
        stats: Arc<WorkerStats>,
    ) -> Rc<Upstream> {
        Rc::new_cyclic(|upstream: &Weak<Upstream>| {
            let upstream = upstream.clone();
            let on_reroute: OnReroute = Box::new(move |reroute| {
                // A worker that is gone has no callers.
                if let Some(upstream) = upstream.upgrade() {
                    upstream.reroute(reroute);
                }
            });
            let context = Rc::new(WorkerContext {
                worker,
                options,
                shared,
                stats,
                on_invalidation,
                on_reroute,
                routes: SlotRoutes::default(),
                large_slots: LargeSlots::default(),
                idle: Idle::default(),
                unconfirmed: UnconfirmedRedirects::default(),
                quarantine: Quarantine::default(),
                limited: Cell::new(false),
            });
            Upstream { context, nodes: RefCell::default(), on_side, turn: Cell::default() }
        })
    }

    /// Keeps a connection to every primary, closes those to nodes that left as the slot table changes, and
    /// closes those that were idle for too long.
    pub async fn run(self: Rc<Upstream>) {
        let mut discovery = self.table().follow();
        let mut ticks = time::interval(self.context.options.dedicated_idle_timeout / 2);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if matches!(discovery.latest(), Discovery::Done(_)) {
                self.follow_table();
            }
            tokio::select! {
                biased;
                () = discovery.changed() => {}
                _ = ticks.tick() => {}
            }
            let primaries = self.primary_nodes();
            self.context.idle.tend(&self.context.options, |node| primaries.contains(node));
            self.retire_unused();
        }
    }

    fn follow_table(self: &Rc<Upstream>) {
        let primaries = self.table().primaries();
        for index in primaries.iter() {
            self.main_connection(*index);
        }
        let own_slots: HashSet<NodeIndex> = primaries.iter().copied().collect();
        // One with commands on their way is looked at again after the next refresh.
        self.nodes.borrow_mut().retain(|index, connections| {
            let stays = own_slots.contains(index) || !connections.is_idle();
            if !stays {
                if self.context.shared.connect_limiter.may_log() {
                    tracing::info!(node = %connections.node(), worker = self.context.worker, "node owns no slots any more: connections closed");
                }
                connections.retire();
            }
            stays
        });
    }

    fn retire_unused(&self) {
        let (timeout, now) = (self.context.options.dedicated_idle_timeout, clock::now());
        let mut connections = self.nodes.borrow_mut();
        for connection in
            connections.values_mut().flat_map(|connections| connections.take_unused(timeout, now))
        {
            tracing::debug!(node = %connection.node(), worker = self.context.worker, "idle side connection closed");
            connection.retire();
        }
    }

    /// Waits until all that the node has pushed by now on its BCAST connection was received.
    pub async fn await_fence(&self, node: NodeIndex) {
        self.context.shared.broadcast.await_fence(&self.node(node)).await;
    }

    /// Some primary: another one each time, and one that is connected if there is one.
    pub fn any_node(self: &Rc<Upstream>) -> Option<NodeIndex> {
        let primaries = self.table().primaries();
        self.turn.set(self.turn.get().wrapping_add(1));
        let turn = self.turn.get();
        let candidates = || (0..primaries.len()).map(|offset| primaries[(turn + offset) % primaries.len()]);
        candidates().find(|index| self.main_connection(*index).is_up()).or_else(|| candidates().next())
    }

    /// Every node that owns a slot, in the order of their first slot.
    pub fn primaries(&self) -> Arc<[NodeIndex]> {
        self.table().primaries()
    }

    /// The owner of `slot`, if it has one.
    pub fn owner(&self, slot: Slot) -> Option<NodeIndex> {
        self.table().owner(slot)
    }

    /// The address of a node; of one that has long left the upstream nothing is known but its number.
    pub fn node(&self, index: NodeIndex) -> NodeId {
        self.table().node(index).unwrap_or_else(|| NodeId::new(FORGOTTEN))
    }

    /// The number of the node at this address.
    pub fn index_of(&self, node: &NodeId) -> NodeIndex {
        self.table().index_of(node)
    }

    /// Which process answered last as this node, if any did.
    pub fn run_id(&self, index: NodeIndex) -> Option<Arc<str>> {
        self.context.shared.status.run_id(&self.node(index))
    }

    /// Whether the servers may give fields of a hash times of their own.
    pub fn fields_expire(&self) -> bool {
        self.context.shared.status.fields_expire()
    }

    /// Whether the upstream is a cluster, with the slots distributed over its nodes.
    pub fn is_cluster(&self) -> bool {
        self.context.options.is_cluster()
    }

    /// Waits until the owners of the slots were asked for once more, or `timeout` is over.
    pub async fn refreshed(&self, timeout: Duration) {
        let _ = tokio::time::timeout(timeout, self.refreshed_once()).await;
    }

    /// Waits until the owners of the slots were asked for once more.
    pub(super) async fn refreshed_once(&self) {
        let number = self.table().ask_refresh();
        let mut discovery = self.table().follow();
        discovery.wait_for(|_| self.table().is_refreshed(number)).await;
    }

    /// Whether all slots are one node's, as those of a standalone server are.
    pub fn has_one_primary(&self) -> bool {
        self.table().primaries().len() == 1
    }

    /// The node that owns `slot`, if one does.
    pub fn owner_node(&self, slot: Slot) -> Option<NodeId> {
        self.table().node(self.table().owner(slot)?)
    }

    /// Whether `slot` was seen on its way to another node a moment ago: nothing of it is kept then.
    pub fn is_moving(&self, slot: Slot, now: Nanos) -> bool {
        self.table().is_moving(slot, now)
    }

    /// Whether the topology was discovered, or an attempt to discover it failed.
    pub fn is_settled(&self) -> bool {
        self.table().discovery() != Discovery::Pending
    }

    /// Waits until the topology was discovered, or the first attempt has failed, or `timeout` is over.
    pub async fn settled(&self, timeout: Duration) {
        let mut discovery = self.table().follow();
        let settled = discovery.wait_for(|discovery| *discovery != Discovery::Pending);
        // The caller continues in either case: a command that cannot be sent fails with its own error.
        let _ = tokio::time::timeout(timeout, settled).await;
    }

    /// The owners of the slots.
    pub(super) fn table(&self) -> &SlotTable {
        &self.context.shared.table
    }

    /// The state that all workers share.
    pub fn shared(&self) -> &Arc<SharedUpstream> {
        &self.context.shared
    }

    /// The address of every primary.
    pub fn primary_nodes(&self) -> Vec<NodeId> {
        let primaries = self.table().primaries();
        primaries.iter().filter_map(|index| self.table().node(*index)).collect()
    }

    /// The owners of `slots`, each once.
    ///
    /// # Errors
    /// One of the slots has no owner.
    pub fn owners(&self, slots: impl Iterator<Item = Slot>) -> Result<Vec<NodeId>, UpstreamError> {
        let mut owners = Vec::new();
        for slot in slots {
            let owner = self.table().owner(slot).ok_or_else(|| self.no_owner(slot))?;
            if !owners.contains(&owner) {
                owners.push(owner);
            }
        }
        Ok(owners.into_iter().filter_map(|owner| self.table().node(owner)).collect())
    }

    /// Ends when `node` is not the owner of `slot` any more; never, when there is no slot.
    pub async fn left(&self, slot: Option<Slot>, node: &NodeId) {
        let Some(slot) = slot else { return std::future::pending().await };
        let mut discovery = self.table().follow();
        discovery.wait_for(|_| self.owner_node(slot).as_ref() != Some(node)).await;
    }

    /// What `node` said of its slots, if `frame` is an answer to CLUSTER NODES.
    pub fn view(&self, frame: &[u8], node: &NodeId) -> Option<NodeView> {
        let place_of = |id: &str| self.table().place_of(id);
        NodeView::read(frame, node, &self.context.options.address_map, place_of)
    }

    /// The error for a command on `slot`, whose owner is not known.
    pub fn no_owner(&self, slot: Slot) -> UpstreamError {
        match self.table().discovery() {
            Discovery::Done(_) => UpstreamError::NoOwner { slot },
            _ => self.no_topology(),
        }
    }

    /// The error for a command when no node is known.
    pub fn no_topology(&self) -> UpstreamError {
        let cause = match &self.table().discovery() {
            Discovery::Failed(cause) => cause.clone(),
            _ => "no node has answered".to_owned(),
        };
        UpstreamError::NoTopology { cause }
    }

    /// Notes that `slot` was seen on its way to another node.
    pub fn note_moving(&self, slot: Slot) {
        self.context.note_moving(slot);
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upstream(worker: {})", self.context.worker)
    }
}
