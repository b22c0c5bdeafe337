//! The upstream (L2): nodes that own slots, one multiplexed connection to each from every worker.
//!
//! It knows commands as bytes with a slot. It must never know clients or the near cache: what nodes push is
//! handed to a function that the proxy gave. Redirects are followed here, in the order of the replies, so
//! that a session's commands on one slot stay in order.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{self, MissedTickBehavior};

pub mod bcast;
mod call;
mod conn;
mod dedicated;
mod error;
mod mux;
mod options;
mod redirects;
mod rights;
mod shared;
mod status;
mod subscribe;
pub mod topology;
mod transaction;
mod truncate;

pub use call::{Call, Outcome, PendingReply, UpstreamReply};
pub use conn::chain::Chain;
pub use conn::dns::Lookups;
pub use conn::heartbeat::Heartbeat;
pub use conn::limits::Excess;
pub use conn::login::{Credentials, Login};
pub use conn::pace::PaceLimits;
pub use dedicated::{Dedicated, DedicatedCounts, Elsewhere};
pub use error::UpstreamError;
pub use options::{Deployment, UpstreamOptions};
pub use rights::{Right, Rights};
pub use shared::SharedUpstream;
pub use status::{Coherence, NodeStatus, ServerFacts, StatusBoard};
pub use subscribe::{OnMessage, Readiness, SubscriptionGuard, Subscriptions, Topic, TopicKind};
pub use topology::address_map::{AddressMap, AddressPattern};
pub use topology::cluster_nodes::NodeView;
pub use topology::node_numbers::{NodeEntry, NodeIndex};
pub use topology::slots::{Knowledge, SlotTable};
pub use transaction::{SLOT_IS_MOVING, answers_exec, exec_abort};

use crate::clock::{self, Nanos};
use crate::invalidation::Invalidation;
use crate::node::NodeId;
use crate::protocol::key::{SLOT_COUNT, Slot};
use crate::protocol::resp::encode;
use crate::stats::WorkerStats;
use call::{Completion, PendingCommand};
use dedicated::Idle;
use mux::MuxConnection;
use mux::large_slots::LargeSlots;
use mux::node_connections::{ConnectionIndex, NodeConnections, SendLoad};
use mux::quarantine::Quarantine;
use redirects::redirect::Redirect;
use redirects::suspects::Suspects;
use status::LinkStatus;

/// What stands for the address of a node that was forgotten.
const FORGOTTEN: &str = "a node that left";

/// Redirects of one command that are followed.
const REDIRECTS_MAX: u8 = 5;

/// Of the commands that may be in flight to a node, one in so many may be one that can do without.
const SPARE_SHARE: usize = 4;

/// Called, in the order in which nodes sent them, with what may have become stale.
pub type OnInvalidation = Box<dyn Fn(&Invalidation)>;

/// Called before a side connection is opened: from then on what one node says comes over several connections.
pub type OnSide = Box<dyn Fn()>;

/// The upstream as one worker uses it.
pub struct Upstream {
    worker: usize,
    options: UpstreamOptions,
    shared: Arc<SharedUpstream>,
    lanes: RefCell<BTreeMap<NodeIndex, NodeConnections>>,
    routes: RefCell<Box<[SlotRoute]>>,
    on_invalidation: OnInvalidation,
    on_side: OnSide,
    stats: Arc<WorkerStats>,
    /// Where the next command that any node can answer begins to look for one.
    turn: Cell<usize>,
    /// Dedicated connections that nobody uses for the moment.
    idle: Idle,
    /// Redirects that are not believed yet.
    suspects: Suspects,
    /// Of which slots something large is to be expected.
    large_slots: LargeSlots,
    /// Requests for which a node may have hung up.
    blamed: Quarantine,
    /// Some node said that it ends a connection for which too many bytes of replies wait.
    limited: Cell<bool>,
}

/// How the commands of one slot go.
#[derive(Clone, Copy, Debug, Default)]
struct SlotRoute {
    /// Where the last one went.
    node: Option<NodeIndex>,
    /// Over which connection to that node, if that is known.
    seat: Option<u8>,
    /// Counts them. It starts anew when it has to: what is compared is never so far apart.
    sent: u32,
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
        let routes = RefCell::new(vec![SlotRoute::default(); SLOT_COUNT].into());
        let (lanes, turn, idle) = (RefCell::default(), Cell::default(), Idle::default());
        let (suspects, blamed, large_slots) =
            (Suspects::default(), Quarantine::default(), LargeSlots::default());
        let limited = Cell::new(false);
        Rc::new(Upstream {
            worker,
            options,
            shared,
            lanes,
            routes,
            on_invalidation,
            on_side,
            stats,
            turn,
            idle,
            suspects,
            large_slots,
            blamed,
            limited,
        })
    }

    /// Whether nodes are asked to track what is read.
    fn tracks(&self) -> bool {
        self.options.track || self.shared.tracking_wanted.load(Ordering::Relaxed)
    }

    /// Keeps a connection to every primary, and none to nodes that left, as the slot table changes; and none
    /// that nobody uses for longer than it should.
    pub async fn run(self: Rc<Upstream>) {
        let mut knowledge = self.shared.table.follow();
        let mut ticks = time::interval(self.options.dedicated_idle_timeout / 2);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if matches!(knowledge.latest(), Knowledge::Known(_)) {
                self.follow_table();
            }
            tokio::select! {
                biased;
                () = knowledge.changed() => {}
                _ = ticks.tick() => {}
            }
            let primaries = self.primary_nodes();
            self.idle.tend(&self.options, |node| primaries.contains(node));
            self.retire_unused();
        }
    }

    /// Sends a command to the owner of `slot`, after everything that this worker sent there before.
    pub fn send(self: &Rc<Upstream>, slot: Slot, call: Call) -> PendingReply {
        match self.shared.table.owner(slot) {
            Some(owner) => self.lane_of(slot, owner, &call.bytes).send(call, self),
            None => PendingReply::failed(self.no_owner(slot)),
        }
    }

    /// Sends a read whose reply is not kept: the node does not track it, as far as it can be told so.
    pub fn send_untracked(self: &Rc<Upstream>, slot: Slot, call: Call) -> PendingReply {
        match self.shared.table.owner(slot) {
            Some(owner) => self.lane_of(slot, owner, &call.bytes).send_untracked(call, self),
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
        let Some(owner) = self.shared.table.owner(slot) else { return Err(call) };
        let lane = self.lane_of(slot, owner, &call.bytes);
        // Before it is sent: all that happens to the keys from here on is heard in this epoch, or ends it.
        match self.shared.broadcast.epoch(lane.node(), &lane.run_id(), keys) {
            // A connection that is not trusted itself cannot be told what not to track.
            Some(epoch) if lane.is_trusted() => {
                Ok(PendingReply { epoch: Some(epoch), ..lane.send_untracked(call, self) })
            }
            _ => Err(call),
        }
    }

    /// How many commands that can do without may go to the owner of `slot` now: they leave most of the room
    /// to others.
    pub fn spare_room(&self, slot: Slot) -> usize {
        let spare = self.options.in_flight_max / SPARE_SHARE;
        let lanes = self.lanes.borrow();
        let lanes = self.way(slot).and_then(|node| lanes.get(&node));
        lanes.map_or(spare, |lanes| spare.saturating_sub(lanes.main().waiting()))
    }

    /// Waits until all that the node has pushed by now to whoever listens to it was heard.
    pub async fn await_fence(&self, node: NodeIndex) {
        self.shared.broadcast.await_fence(&self.node(node)).await;
    }

    /// The node that the next command on `slot` goes to, if the slot has an owner.
    pub fn way(&self, slot: Slot) -> Option<NodeIndex> {
        self.shared.table.owner(slot).map(|owner| self.in_order(slot, owner))
    }

    /// Where a command on `slot` goes so that it stays behind those sent before it. When the slot has another
    /// owner than before while commands are still on their way to the former one, they will be redirected
    /// from there; what came straight to the new owner would overtake them.
    fn in_order(&self, slot: Slot, owner: NodeIndex) -> NodeIndex {
        let mut routes = self.routes.borrow_mut();
        let route = &mut routes[slot.index()];
        if route.node == Some(owner) {
            return owner;
        }
        if let Some(former) = route.node {
            let lanes = self.lanes.borrow();
            if lanes.get(&former).is_some_and(|lanes| lanes.has(slot)) || self.suspects.hold(slot) {
                return former;
            }
        }
        (route.node, route.seat) = (Some(owner), None);
        owner
    }

    /// The number of a command on `slot` that is sent now.
    fn number(&self, slot: Option<Slot>) -> u32 {
        let Some(slot) = slot else { return 0 };
        let sent = &mut self.routes.borrow_mut()[slot.index()].sent;
        *sent = sent.wrapping_add(1);
        *sent
    }

    /// Whether nothing was sent on the slot of `waiting` after it.
    fn is_latest(&self, waiting: &PendingCommand) -> bool {
        waiting.call.slot.is_none_or(|slot| self.routes.borrow()[slot.index()].sent == waiting.number)
    }

    /// Sends a command that any node can answer.
    pub fn send_any(self: &Rc<Upstream>, call: Call) -> PendingReply {
        match self.any_node() {
            Some(index) => self.send_to(index, call),
            None => PendingReply::failed(self.no_topology()),
        }
    }

    /// Sends a command to `node`, if that is known and there is a connection to it.
    pub fn send_to_known(self: &Rc<Upstream>, node: &NodeId, call: Call) -> PendingReply {
        let index = self.shared.table.index_of(node);
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
            Some(slot) => match self.shared.table.owner(slot) {
                Some(owner) => self.lane_of(slot, owner, &call.bytes),
                None => return PendingReply::failed(self.no_owner(slot)),
            },
            None => match self.any_node() {
                Some(index) => self.lane_for(index, None, &call.bytes),
                None => return PendingReply::failed(self.no_topology()),
            },
        };
        lane.send_transaction(call, parts, self)
    }

    /// Sends what belongs to a command on `slot` that was let through right before: the bounds, which that
    /// one may have reached, are not looked at again. The reply comes after `parts` others, if it is that
    /// of a transaction.
    pub fn send_behind(self: &Rc<Upstream>, slot: Slot, bytes: Bytes, parts: usize) -> PendingReply {
        let call = Call { bytes, slot: Some(slot), reads_only: false, foreign: false };
        match self.shared.table.owner(slot) {
            Some(owner) => self.lane_of(slot, owner, &call.bytes).send_behind(call, parts, self),
            None => PendingReply::failed(self.no_owner(slot)),
        }
    }

    /// Some primary: another one each time, and one that is connected if there is one.
    pub fn any_node(self: &Rc<Upstream>) -> Option<NodeIndex> {
        let primaries = self.shared.table.primaries();
        self.turn.set(self.turn.get().wrapping_add(1));
        let turn = self.turn.get();
        let candidates = || (0..primaries.len()).map(|offset| primaries[(turn + offset) % primaries.len()]);
        candidates().find(|index| self.lane(*index).is_up()).or_else(|| candidates().next())
    }

    /// Every node that owns a slot, in the order of their first slot.
    pub fn primaries(&self) -> Arc<[NodeIndex]> {
        self.shared.table.primaries()
    }

    /// The owner of `slot`, if it has one.
    pub fn owner(&self, slot: Slot) -> Option<NodeIndex> {
        self.shared.table.owner(slot)
    }

    /// The address of a node; of one that has long left the upstream nothing is known but its number.
    pub fn node(&self, index: NodeIndex) -> NodeId {
        self.shared.table.node(index).unwrap_or_else(|| NodeId::new(FORGOTTEN))
    }

    /// The number of the node at this address.
    pub fn index_of(&self, node: &NodeId) -> NodeIndex {
        self.shared.table.index_of(node)
    }

    /// Which process answered last as this node, if any did.
    pub fn run_id(&self, index: NodeIndex) -> Option<Arc<str>> {
        self.shared.board.run_id(&self.node(index))
    }

    /// Whether the servers may give fields of a hash times of their own.
    pub fn fields_expire(&self) -> bool {
        self.shared.board.fields_expire()
    }

    /// Whether the slots are shared out among the nodes of a cluster, which one server alone knows nothing
    /// of.
    pub fn is_cluster(&self) -> bool {
        self.options.is_cluster()
    }

    /// Sends a command to this node, after everything that this worker sent there before, unless
    /// [`Upstream::is_split`].
    pub fn send_to(self: &Rc<Upstream>, index: NodeIndex, call: Call) -> PendingReply {
        self.lane_for(index, call.slot, &call.bytes).send(call, self)
    }

    /// Waits until the owners of the slots were asked for once more, or `patience` is over.
    pub async fn refreshed(&self, patience: Duration) {
        let _ = tokio::time::timeout(patience, self.refreshed_once()).await;
    }

    async fn refreshed_once(&self) {
        let number = self.shared.table.ask_refresh();
        let mut knowledge = self.shared.table.follow();
        knowledge.wait_for(|_| self.shared.table.is_refreshed(number)).await;
    }

    /// Whether all slots are one node's, as those of a standalone server are.
    pub fn has_one_primary(&self) -> bool {
        self.shared.table.primaries().len() == 1
    }

    /// The same, and which node each went to.
    pub fn send_each(self: &Rc<Upstream>, call: &Call) -> Vec<(NodeId, PendingReply)> {
        let primaries = self.shared.table.primaries();
        primaries.iter().map(|index| (self.node(*index), self.send_to(*index, call.clone()))).collect()
    }

    /// Sends a message that any node spreads, behind those that were published on the same slot: to the
    /// slot's owner, or to whoever is up while that is down. Also says which node it went to.
    pub fn publish(self: &Rc<Upstream>, slot: Slot, call: Call) -> (Option<NodeId>, PendingReply) {
        let owner = self.shared.table.owner(slot).map(|owner| self.lane_of(slot, owner, &call.bytes));
        let other = || self.any_node().map(|index| self.lane_for(index, call.slot, &call.bytes));
        match owner.filter(|lane| !lane.is_down()).or_else(other) {
            Some(lane) => (Some(lane.node().clone()), lane.send(call, self)),
            None => (None, PendingReply::failed(self.no_topology())),
        }
    }

    /// The node that owns `slot`, if one does.
    pub fn owner_node(&self, slot: Slot) -> Option<NodeId> {
        self.shared.table.node(self.shared.table.owner(slot)?)
    }

    /// Whether `slot` was seen on its way to another node a moment ago: nothing of it is kept then.
    pub fn is_moving(&self, slot: Slot, now: Nanos) -> bool {
        self.shared.table.is_moving(slot, now)
    }

    /// Whether it is known yet who owns what, or that this cannot be found out for now.
    pub fn is_settled(&self) -> bool {
        self.shared.table.refreshes() > 0 || self.shared.table.knowledge() != Knowledge::Asking
    }

    /// Waits until it is known who owns what, or the first attempt to find out has failed, or `patience` is
    /// over.
    pub async fn settled(&self, patience: Duration) {
        let mut knowledge = self.shared.table.follow();
        let settled = knowledge.wait_for(|knowledge| *knowledge != Knowledge::Asking);
        // Whoever waited goes on in either case: what cannot be reached fails with its own error.
        let _ = tokio::time::timeout(patience, settled).await;
    }

    /// Who owns what, and how the connections stand.
    pub fn shared(&self) -> &Arc<SharedUpstream> {
        &self.shared
    }

    /// The address of every primary.
    pub fn primary_nodes(&self) -> Vec<NodeId> {
        let primaries = self.shared.table.primaries();
        primaries.iter().filter_map(|index| self.shared.table.node(*index)).collect()
    }

    /// Who owns any of `slots`.
    ///
    /// # Errors
    /// Nobody owns one of them.
    pub fn owners(&self, slots: impl Iterator<Item = Slot>) -> Result<Vec<NodeId>, UpstreamError> {
        let mut owners = Vec::new();
        for slot in slots {
            let owner = self.shared.table.owner(slot).ok_or_else(|| self.no_owner(slot))?;
            if !owners.contains(&owner) {
                owners.push(owner);
            }
        }
        Ok(owners.into_iter().filter_map(|owner| self.shared.table.node(owner)).collect())
    }

    /// Ends when `node` is not the owner of `slot` any more; never, when there is no slot.
    pub async fn left(&self, slot: Option<Slot>, node: &NodeId) {
        let Some(slot) = slot else { return std::future::pending().await };
        let owns = || self.shared.table.owner(slot).and_then(|owner| self.shared.table.node(owner));
        let mut knowledge = self.shared.table.follow();
        knowledge.wait_for(|_| owns().as_ref() != Some(node)).await;
    }

    /// What `node` said of its slots, if `frame` is an answer to CLUSTER NODES.
    pub fn view(&self, frame: &[u8], node: &NodeId) -> Option<NodeView> {
        let place_of = |id: &str| self.shared.table.place_of(id);
        NodeView::read(frame, node, &self.options.address_map, place_of)
    }

    /// `error`, which `node` answered to a command on `slot`, as a redirect of that command. It is none where
    /// there is but one server, and none if it names another slot.
    fn redirect_of(&self, error: &[u8], slot: Option<Slot>, node: &NodeId) -> Option<Redirect> {
        let redirect = redirects::redirect::parse(error, node, &self.options.address_map)?;
        (self.is_cluster() && slot == Some(redirect.slot())).then_some(redirect)
    }

    /// Follows a redirect that a node answered to `waiting`, and that is believed.
    fn redirect(self: &Rc<Upstream>, redirect: Redirect, mut waiting: PendingCommand) {
        self.stats.upstream_redirects.add(1);
        waiting.rerouted = true;
        waiting.redirects += 1;
        self.note(&redirect);
        let (slot, node, asking) = match redirect {
            Redirect::Moved(slot, node) => (slot, node, false),
            Redirect::Ask(slot, node) => (slot, node, true),
        };
        if waiting.redirects > REDIRECTS_MAX {
            return waiting.fail(&UpstreamError::TooManyRedirects { slot, redirects_max: REDIRECTS_MAX });
        }
        if waiting.redirects > 1 && !self.is_latest(&waiting) {
            // A slot came back to a node that had it before. What was sent after this command is on its way
            // there, or was carried out: this one would come behind it (I6).
            return waiting.answer_moving();
        }
        let lane = self.lane_for(self.shared.table.index_of(&node), Some(slot), &waiting.call.bytes);
        if let Some(failure) = lane.too_large(&waiting.call, waiting.parts.is_some()) {
            self.stats.upstream_too_large.add(1);
            return waiting.fail(&failure);
        }
        waiting.asking = asking;
        if asking {
            // The two must arrive together: neither is sent again after a loss.
            waiting.call.reads_only = false;
            let asking =
                Call { bytes: encode::request(&["ASKING"]), slot: None, reads_only: false, foreign: false };
            lane.enqueue(PendingCommand::new(asking, Completion::Nobody(Right::Asking), waiting.deadline));
        }
        lane.enqueue(waiting);
    }

    /// What a redirect says of its slot.
    fn note(&self, redirect: &Redirect) {
        match redirect {
            Redirect::Moved(slot, node) => {
                if self.shared.table.patch(*slot, node) {
                    (self.on_invalidation)(&Invalidation::Slots(vec![*slot]));
                }
                self.shared.table.ask_refresh();
            }
            Redirect::Ask(slot, _) => self.note_moving(*slot),
        }
    }

    /// `slot` was seen on its way to another node.
    pub fn note_moving(&self, slot: Slot) {
        self.shared.table.mark_moving(slot, self.options.slot_moving);
        (self.on_invalidation)(&Invalidation::Slots(vec![slot]));
    }

    /// The main connection to a node, which is begun if there is none.
    fn lane(self: &Rc<Upstream>, index: NodeIndex) -> Rc<MuxConnection> {
        self.lanes_to(&mut self.lanes.borrow_mut(), index).main().clone()
    }

    #[inline]
    fn lanes_to<'a>(
        self: &Rc<Upstream>,
        lanes: &'a mut BTreeMap<NodeIndex, NodeConnections>,
        index: NodeIndex,
    ) -> &'a mut NodeConnections {
        lanes.entry(index).or_insert_with(|| {
            let node = self.shared.table.node(index);
            let is_forgotten = node.is_none();
            let lane = MuxConnection::new(
                index,
                node.unwrap_or_else(|| NodeId::new(FORGOTTEN)),
                self.options.large_bytes_min,
                &self.shared.ceiling,
                &self.stats,
            );
            if is_forgotten {
                // There is nobody to connect to: what is sent there fails with that.
                lane.retire();
            }
            NodeConnections::new(self.begun(lane))
        })
    }

    /// Has a new connection live.
    fn begun(self: &Rc<Upstream>, lane: Rc<MuxConnection>) -> Rc<MuxConnection> {
        tokio::task::spawn_local(lane.clone().run(self.clone()));
        lane
    }

    /// The connection that a request on `slot` takes, whose owner is known.
    fn lane_of(self: &Rc<Upstream>, slot: Slot, owner: NodeIndex, request: &Bytes) -> Rc<MuxConnection> {
        self.lane_for(self.in_order(slot, owner), Some(slot), request)
    }

    /// The connection to a node that a request takes: the main one as a rule; "The connections to a node" in
    /// ARCHITECTURE.md says when it is another one.
    fn lane_for(
        self: &Rc<Upstream>,
        index: NodeIndex,
        slot: Option<Slot>,
        request: &Bytes,
    ) -> Rc<MuxConnection> {
        if self.blamed.has(request)
            && let Some(lane) = slot.and_then(|slot| self.quarantine_for(index, slot))
        {
            return lane;
        }
        let mut lanes = self.lanes.borrow_mut();
        let lanes = self.lanes_to(&mut lanes, index);
        let mut is_large = self.expects_large(slot);
        if request.len() >= self.options.large_bytes_min {
            self.expect_large(slot);
            is_large = true;
        }
        if lanes.is_plain() && !is_large {
            return lanes.main().clone();
        }
        let mut routes = self.routes.borrow_mut();
        let route = slot.map(|slot| &mut routes[slot.index()]).filter(|route| route.node == Some(index));
        let latest = route.as_ref().and_then(|route| route.seat).map(ConnectionIndex::from);
        let seat = lanes.way(SendLoad { slot, latest, is_large }, self.options.sides_max, clock::now());
        if let Some(seat) = seat {
            if let Some(route) = route {
                route.seat = u8::try_from(seat).ok();
            }
            return lanes.get(seat).clone();
        }
        drop(routes);
        let side = self.open_side(lanes, index, false);
        let mut routes = self.routes.borrow_mut();
        if let Some(slot) = slot.filter(|slot| routes[slot.index()].node == Some(index)) {
            routes[slot.index()].seat = u8::try_from(lanes.sides()).ok();
        }
        side
    }

    /// Begins one more connection to a node, for all that need it or for what the node may have hung up on.
    fn open_side(
        self: &Rc<Upstream>,
        lanes: &mut NodeConnections,
        index: NodeIndex,
        quarantine: bool,
    ) -> Rc<MuxConnection> {
        if lanes.sides() == 0 {
            // What was sent while there was one connection alone was not noted.
            let mut routes = self.routes.borrow_mut();
            let routes = routes.iter_mut().filter(|route| route.node == Some(index));
            routes.for_each(|route| route.seat = None);
            (self.on_side)();
        }
        let (large_bytes_min, ceiling) = (self.options.large_bytes_min, &self.shared.ceiling);
        let side = self.begun(MuxConnection::side(lanes.main(), quarantine, large_bytes_min, ceiling));
        lanes.add_side(side.clone());
        side
    }

    /// Whether a command on `slot` may have a large reply, or be on a large value.
    #[inline]
    fn expects_large(&self, slot: Option<Slot>) -> bool {
        slot.is_some_and(|slot| self.large_slots.has(slot))
    }

    /// What is asked of `slot` goes over side connections, as long as one that nobody needs is kept.
    fn expect_large(&self, slot: Option<Slot>) {
        if let Some(slot) = slot {
            let until = clock::now() + clock::nanos(self.options.dedicated_idle_timeout);
            self.large_slots.note(slot, until);
        }
    }

    /// Nobody knows any more over which connection the commands on `slot` go.
    fn forget_seat(&self, slot: Option<Slot>) {
        if let Some(slot) = slot {
            self.routes.borrow_mut()[slot.index()].seat = None;
        }
    }

    /// Whether commands take several connections to a node at present. Then one that names no keys may
    /// overtake others.
    pub fn is_split(&self) -> bool {
        let now = clock::now();
        self.lanes.borrow().values().any(|lanes| lanes.is_split(now))
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
            lanes.iter().map(|lane| lane.send(ping(), self)).collect::<Vec<_>>()
        };
        for sent in sent {
            if !sent.reply.await.is_ok_and(|outcome| outcome.is_ok()) {
                return false;
            }
        }
        true
    }

    fn retire_unused(&self) {
        let (timeout, now) = (self.options.dedicated_idle_timeout, clock::now());
        let mut lanes = self.lanes.borrow_mut();
        for lane in lanes.values_mut().flat_map(|lanes| lanes.take_unused(timeout, now)) {
            tracing::debug!(node = %lane.node(), worker = self.worker, "a side connection was not needed any more");
            lane.retire();
        }
    }

    fn follow_table(self: &Rc<Upstream>) {
        let primaries = self.shared.table.primaries();
        for index in primaries.iter() {
            self.lane(*index);
        }
        let own_slots: HashSet<NodeIndex> = primaries.iter().copied().collect();
        // One with commands on their way is looked at again after the next refresh.
        self.lanes.borrow_mut().retain(|index, lanes| {
            let stays = own_slots.contains(index) || !lanes.is_idle();
            if !stays {
                if self.shared.attempts.may_tell() {
                    tracing::info!(node = %lanes.node(), worker = self.worker, "the node owns no slots any more");
                }
                lanes.retire();
            }
            stays
        });
    }

    fn report(&self, node: &NodeId, link: LinkStatus) {
        self.shared.board.report(node, self.worker, link);
    }

    /// That nobody is known to own `slot`, and why.
    pub fn no_owner(&self, slot: Slot) -> UpstreamError {
        match self.shared.table.knowledge() {
            Knowledge::Known(_) => UpstreamError::NoOwner { slot },
            _ => self.no_topology(),
        }
    }

    /// That no node is known, and why.
    pub fn no_topology(&self) -> UpstreamError {
        let cause = match &self.shared.table.knowledge() {
            Knowledge::Unknown(cause) => cause.clone(),
            _ => "no node has answered".to_owned(),
        };
        UpstreamError::NoTopology { cause }
    }
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Upstream(worker: {})", self.worker)
    }
}
