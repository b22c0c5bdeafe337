//! The owner of each slot: one table for all workers.
//!
//! A lookup is one load from an atomic. A redirect changes one slot at once; a topology request replaces the
//! whole table.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::node_numbers::{NodeEntry, NodeIndex, NodeNumbers};
use super::ordered_watch::{OrderedReceiver, OrderedWatch};
use crate::clock::{self, Nanos};
use crate::node::NodeId;
use crate::protocol::key::{SLOT_COUNT, Slot};

const NOBODY: u64 = 0;

/// Whether the topology was discovered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// The first attempt has not ended yet.
    Pending,
    /// No attempt has succeeded yet; why the last one failed.
    Failed(String),
    /// The table was filled this many times.
    Done(u64),
}

/// The table.
#[derive(Debug)]
pub struct SlotTable {
    owners: Box<[AtomicU64]>,
    nodes: Mutex<NodeNumbers>,
    /// Every node that owns a slot, in the order of their first slot.
    primaries: Mutex<Arc<[NodeIndex]>>,
    /// Every node that the upstream named when it was asked last.
    members: Mutex<HashMap<NodeId, Option<Arc<str>>>>,
    /// Slots that were seen on the move, and until when they count as such.
    moving: Mutex<HashMap<Slot, Nanos>>,
    moving_count: AtomicU64,
    discovery: OrderedWatch<Discovery>,
    refresh_asked: AtomicU64,
    refresh_done: AtomicU64,
    refresh_wanted: Notify,
}

// === impl SlotTable ===

impl Default for SlotTable {
    fn default() -> SlotTable {
        SlotTable {
            owners: std::iter::repeat_with(|| AtomicU64::new(NOBODY)).take(SLOT_COUNT).collect(),
            nodes: Mutex::default(),
            primaries: Mutex::default(),
            members: Mutex::default(),
            moving: Mutex::default(),
            moving_count: AtomicU64::new(0),
            discovery: OrderedWatch::new(Discovery::Pending),
            refresh_asked: AtomicU64::new(0),
            refresh_done: AtomicU64::new(0),
            refresh_wanted: Notify::new(),
        }
    }
}

impl SlotTable {
    /// The owner of `slot`, if it has one.
    #[inline]
    pub(in crate::upstream) fn owner(&self, slot: Slot) -> Option<NodeIndex> {
        NodeIndex::read(&self.owners[slot.index()])
    }

    /// Every node that owns a slot, in the order of their first slot.
    pub(in crate::upstream) fn primaries(&self) -> Arc<[NodeIndex]> {
        self.primaries.lock().clone()
    }

    fn count_primaries(&self) {
        let (mut primaries, mut counted) = (Vec::new(), HashSet::new());
        for owner in self.owners.iter().filter_map(NodeIndex::read) {
            if primaries.last() != Some(&owner) && counted.insert(owner) {
                primaries.push(owner);
            }
        }
        *self.primaries.lock() = primaries.into();
    }

    /// The node with this number, if it is not forgotten.
    pub(in crate::upstream) fn node(&self, index: NodeIndex) -> Option<NodeId> {
        self.nodes.lock().node(index)
    }

    /// The number of `node`, which gets one if it is new.
    pub fn index_of(&self, node: &NodeId) -> NodeIndex {
        self.nodes.lock().index_of(node)
    }

    /// How many nodes have a number: those of the upstream, and those that left and are still referred to.
    pub fn numbered(&self) -> usize {
        self.nodes.lock().len()
    }

    /// Notes that one slot belongs to `node` now; returns whether that is new.
    pub(in crate::upstream) fn patch(&self, slot: Slot, node: &NodeId) -> bool {
        let index = self.index_of(node);
        let news = self.owners[slot.index()].swap(index.get(), Ordering::AcqRel) != index.get();
        if news {
            self.count_primaries();
        }
        news
    }

    /// Whether the upstream named `node` when it was asked last, as the owner of slots or as a replica.
    pub fn is_member(&self, node: &NodeId) -> bool {
        self.members.lock().contains_key(node)
    }

    /// The id of the node that the topology has at this address, if it is another one than `id`.
    pub(in crate::upstream) fn conflicting_id(&self, node: &NodeId, id: &str) -> Option<Arc<str>> {
        self.members.lock().get(node)?.clone().filter(|meant| **meant != *id)
    }

    /// Adds nodes that a node of the upstream named. They are members until the topology is asked for next.
    pub(in crate::upstream) fn add_members(&self, nodes: &HashSet<NodeId>) {
        let mut named = self.members.lock();
        nodes.iter().for_each(|node| _ = named.entry(node.clone()).or_default());
    }

    /// Where the node with this id is, if the upstream named it.
    pub(in crate::upstream) fn place_of(&self, id: &str) -> Option<NodeId> {
        let is_it = |known: &Option<Arc<str>>| known.as_deref() == Some(id);
        self.members.lock().iter().find(|(_, known)| is_it(known)).map(|(node, _)| node.clone())
    }

    /// Replaces the table: `owned` gives the slots of each node, `members` all that are named, `asked` what
    /// [`SlotTable::refresh_asked`] said before the upstream was asked. Returns the slots whose owner is not
    /// the one that they had before: of what is known for the first time nothing was read.
    pub(in crate::upstream) fn replace(
        &self,
        owned: &[(std::ops::RangeInclusive<u16>, NodeId)],
        members: &[NodeEntry],
        asked: u64,
    ) -> Vec<Slot> {
        // Before the new owners are visible.
        let owners = owned.iter().map(|(_, node)| (node.clone(), None));
        let named = members.iter().map(|member| (member.node.clone(), member.id.clone()));
        *self.members.lock() = owners.chain(named).collect();
        let mut owners = vec![NOBODY; SLOT_COUNT];
        for (slots, node) in owned {
            let index = self.index_of(node);
            for number in slots.clone() {
                if let Some(owner) = owners.get_mut(usize::from(number)) {
                    *owner = index.get();
                }
            }
        }
        let mut changed = Vec::new();
        for (number, owner) in owners.into_iter().enumerate() {
            let former = self.owners[number].swap(owner, Ordering::AcqRel);
            if former != NOBODY && former != owner {
                changed.extend(Slot::from_number(number as u64));
            }
        }
        self.count_primaries();
        self.forget_those_gone();
        self.refresh_done.fetch_max(asked, Ordering::AcqRel);
        self.discovery.send_if(|discovery| {
            Some(Discovery::Done(if let Discovery::Done(times) = discovery { *times + 1 } else { 1 }))
        });
        changed
    }

    /// Forgets the nodes that are no part of the upstream.
    fn forget_those_gone(&self) {
        let owners: HashSet<NodeIndex> = self.owners.iter().filter_map(NodeIndex::read).collect();
        let named = self.members.lock();
        self.nodes.lock().forget(|index, node| owners.contains(&index) || named.contains_key(node));
    }

    /// An attempt to ask the upstream failed. What is known already stays.
    pub(in crate::upstream) fn attempt_failed(&self, cause: String) {
        self.discovery.send_if(|discovery| {
            (!matches!(discovery, Discovery::Done(_))).then_some(Discovery::Failed(cause))
        });
    }

    /// Whether the topology was discovered.
    pub(in crate::upstream) fn discovery(&self) -> Discovery {
        self.discovery.latest()
    }

    /// What is known of the topology, for a task that waits for changes of it.
    pub(in crate::upstream) fn follow(&self) -> OrderedReceiver<'_, Discovery> {
        self.discovery.reader()
    }

    /// How often the table was filled from the upstream.
    pub fn refreshes(&self) -> u64 {
        if let Discovery::Done(times) = self.discovery() { times } else { 0 }
    }

    /// Asks for a refresh; returns the number to give to [`SlotTable::is_refreshed`].
    pub(in crate::upstream) fn ask_refresh(&self) -> u64 {
        let number = self.refresh_asked.fetch_add(1, Ordering::AcqRel) + 1;
        self.refresh_wanted.notify_one();
        number
    }

    /// Whether a refresh that began after `number` was given out has ended well.
    pub(in crate::upstream) fn is_refreshed(&self, number: u64) -> bool {
        self.refresh_done.load(Ordering::Acquire) >= number
    }

    /// How many refreshes were asked for so far.
    pub(in crate::upstream) fn refresh_asked(&self) -> u64 {
        self.refresh_asked.load(Ordering::Acquire)
    }

    /// Resolves when a refresh is asked for.
    pub(in crate::upstream) async fn refresh_wanted(&self) {
        self.refresh_wanted.notified().await;
    }

    /// `slot` was seen on its way to another node. It counts as moving for `duration` from now.
    pub(in crate::upstream) fn mark_moving(&self, slot: Slot, duration: Duration) {
        let now = clock::now();
        let mut moving = self.moving.lock();
        moving.retain(|_, until| *until > now);
        moving.insert(slot, now + clock::nanos(duration));
        self.moving_count.store(moving.len() as u64, Ordering::Release);
    }

    /// Whether `slot` was on its way to another node a moment ago.
    pub(in crate::upstream) fn is_moving(&self, slot: Slot, now: Nanos) -> bool {
        self.moving_count.load(Ordering::Acquire) > 0
            && self.moving.lock().get(&slot).is_some_and(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_tells_which_slots_changed_hands() {
        let table = SlotTable::default();
        let (a, b) = (NodeId::new("a:1"), NodeId::new("b:1"));
        assert_eq!(table.replace(&[(0..=9, a.clone()), (10..=19, b.clone())], &[], 0), []);
        assert_eq!(table.refreshes(), 1);
        assert_eq!(
            table.replace(&[(0..=8, a.clone()), (9..=19, b.clone())], &[], 0),
            [Slot::from_number(9).unwrap()]
        );
        assert!(!table.patch(Slot::from_number(9).unwrap(), &b));
        assert!(table.patch(Slot::from_number(9).unwrap(), &a));
        assert_eq!(table.replace(&[(0..=9, a.clone())], &[], 0).len(), 10, "nobody owns the rest now");
        assert_eq!(table.replace(&[(0..=9, a.clone()), (10..=19, b.clone())], &[], 0), []);
        assert_eq!(table.primaries().len(), 2);
        assert_eq!(table.owner(Slot::from_number(20).unwrap()), None);
    }

    #[test]
    fn those_are_named_whom_the_latest_answer_names() {
        let table = SlotTable::default();
        let [a, b, c, replica] = ["a:1", "b:1", "c:1", "r:1"].map(NodeId::new);
        let member = |node: &NodeId, id: &str| NodeEntry { node: node.clone(), id: Some(id.into()) };
        table.replace(&[(0..=9, a.clone())], &[member(&a, "1"), member(&replica, "2")], 0);
        assert_eq!((table.place_of("2"), table.place_of("3")), (Some(replica.clone()), None));
        assert_eq!(table.conflicting_id(&a, "1"), None);
        assert_eq!(table.conflicting_id(&a, "2"), Some("1".into()));
        assert_eq!(table.conflicting_id(&b, "2"), None, "nobody is meant to be there");
        assert!(table.is_member(&a) && table.is_member(&replica) && !table.is_member(&b));
        table.add_members(&HashSet::from([b.clone()]));
        assert!(table.is_member(&a) && table.is_member(&b));
        table.replace(&[(0..=9, c.clone())], &[], 0);
        assert!(
            table.is_member(&c) && !table.is_member(&b) && !table.is_member(&a) && !table.is_member(&replica)
        );
    }

    #[test]
    fn a_number_that_is_free_is_forgotten_and_never_given_to_another() {
        let table = SlotTable::default();
        let names = ["stays:1", "leaves:1", "held:1"].map(NodeId::new);
        // What a map holds is gone with it: whoever has a name here has it from the table.
        table.replace(&(0..).map(|slot| slot..=slot).zip(names).collect::<Vec<_>>(), &[], 0);
        let owner = |slot| table.owner(Slot::from_number(slot).unwrap()).unwrap();
        let [of_stays, of_leaves, of_held] = [0, 1, 2].map(owner);
        let [stays, leaves, redirected] = ["stays:1", "leaves:1", "redirected:1"].map(NodeId::new);
        let owned = [(0..=2, stays.clone())];
        let holder = table.node(of_held);
        let replace = || table.replace(&owned, &[], 0);
        replace();
        let of_redirected = table.index_of(&NodeId::new("redirected:1"));
        assert_eq!(table.node(of_leaves), Some(leaves.clone()), "whoever asked for it a moment ago finds it");
        replace();
        assert_eq!(table.numbered(), 3, "the one that left is forgotten");
        assert_eq!((table.node(of_leaves), table.node(of_held)), (None, holder.clone()));
        assert_eq!(table.node(of_redirected), Some(redirected));
        // It comes again, as somebody else: the old number means nobody for ever.
        let again = table.index_of(&leaves);
        assert!(![of_stays, of_leaves, of_held, of_redirected].contains(&again));
        assert_eq!((table.node(of_leaves), table.node(again)), (None, Some(leaves)));
        drop(holder);
        for _ in 0..3 {
            replace();
        }
        assert_eq!((table.numbered(), table.node(of_stays)), (1, Some(stays)));
    }

    #[test]
    fn more_nodes_come_and_go_than_are_ever_kept() {
        let table = SlotTable::default();
        for round in 0..50 {
            let owned: Vec<_> =
                (0..4_000).map(|at| (at..=at, NodeId::new(format!("h{round}-{at}:1")))).collect();
            table.replace(&owned, &[], 0);
            assert!(table.numbered() <= 3 * 4_000, "{}", table.numbered());
            assert!(table.owner(Slot::from_number(3_999).unwrap()).is_some());
        }
    }

    #[test]
    fn a_refresh_counts_only_for_those_who_asked_before_it_began() {
        let table = SlotTable::default();
        let first = table.ask_refresh();
        let asked = table.refresh_asked();
        let second = table.ask_refresh();
        table.replace(&[], &[], asked);
        assert!(table.is_refreshed(first));
        assert!(!table.is_refreshed(second));
    }
}
