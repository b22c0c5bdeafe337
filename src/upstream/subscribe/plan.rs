//! Which subscriptions are wanted, on which node each belongs, and which node messages are taken from:
//! decisions without a socket.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use super::message::{is_notification, may_notify};
use super::planned_connection::{PlannedConnection, SentTopics, SubscribePhase};
use super::topic::Topic;
use crate::protocol::command::TopicKind;
use crate::protocol::key::{SLOT_COUNT, Slot};
use crate::upstream::topology::node_numbers::NodeIndex;
use crate::upstream::topology::slots::SlotTable;

/// The state of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SubscriptionStatus {
    /// Everything that is published from now on comes in.
    Active,
    /// The node has not confirmed it yet.
    Waits,
    /// A node refused it, with this error.
    Refused(Bytes),
    /// The node cannot be reached, for this reason.
    Unreachable(NodeIndex, String),
    /// No node owns the slot, or none is known at all.
    Nowhere,
}

/// All that is wanted, and where.
///
/// What is remembered by topic is in trees: they take no more at once when they grow, and give back what they
/// took.
#[derive(Debug)]
pub(super) struct SubscriptionPlan {
    pub(super) topics: BTreeMap<Topic, PlanEntry>,
    /// The names of those that are patterns.
    pub(super) patterns: BTreeSet<Bytes>,
    pub(super) links: BTreeMap<NodeIndex, PlannedConnection>,
    owners: Box<[Option<NodeIndex>]>,
    pub(super) primaries: Arc<[NodeIndex]>,
    topics_max: usize,
    /// Subscriptions that became active again, or on another node, since they were last counted.
    restored: u64,
}

#[derive(Debug, Default)]
pub(super) struct PlanEntry {
    users: usize,
    /// Whether it belongs on every primary.
    everywhere: bool,
    /// Which node ordinary messages are taken from.
    pub(super) source: Option<NodeIndex>,
    /// Whether it has ever stood.
    has_stood: bool,
    pub(super) refused: Option<Bytes>,
}

// === impl SubscriptionPlan ===

impl SubscriptionPlan {
    /// A plan of at most `topics_max` different subscriptions.
    pub(super) fn new(topics_max: usize) -> SubscriptionPlan {
        SubscriptionPlan {
            topics: BTreeMap::new(),
            patterns: BTreeSet::new(),
            links: BTreeMap::new(),
            owners: vec![None; SLOT_COUNT].into(),
            primaries: Arc::new([]),
            topics_max,
            restored: 0,
        }
    }

    /// How many different subscriptions are wanted.
    pub(super) fn len(&self) -> usize {
        self.topics.len()
    }

    /// Counts one more user of each of `topics`. Returns false, and changes nothing, if there would be too
    /// many.
    pub(super) fn hold(&mut self, topics: &[Topic]) -> bool {
        let new: BTreeSet<&Topic> = topics.iter().filter(|topic| !self.topics.contains_key(*topic)).collect();
        if self.topics.len() + new.len() > self.topics_max {
            return false;
        }
        for topic in topics {
            let entry = self.topics.entry(topic.clone()).or_default();
            entry.users += 1;
            if entry.users == 1 {
                entry.everywhere = may_notify(topic);
                if topic.kind == TopicKind::Pattern {
                    self.patterns.insert(topic.name.clone());
                }
                self.place(topic);
            }
        }
        true
    }

    /// Counts one user less of each of `topics`.
    pub(super) fn release(&mut self, topics: &[Topic]) {
        for topic in topics {
            let Some(entry) = self.topics.get_mut(topic) else { continue };
            entry.users -= 1;
            if entry.users == 0 {
                self.topics.remove(topic);
                if topic.kind == TopicKind::Pattern {
                    self.patterns.remove(&topic.name);
                }
                self.place(topic);
                self.links.values_mut().for_each(|link| link.forget(topic));
            }
        }
    }

    /// The state of `topic`.
    pub(super) fn status(&self, topic: &Topic) -> SubscriptionStatus {
        let Some(entry) = self.topics.get(topic) else { return SubscriptionStatus::Nowhere };
        if let Some(error) = &entry.refused {
            return SubscriptionStatus::Refused(error.clone());
        }
        let settled = |node: &NodeIndex| self.is_active(*node, topic) || self.is_down(*node);
        if entry.source.is_some() && (!entry.everywhere || self.primaries.iter().all(settled)) {
            return SubscriptionStatus::Active;
        }
        let Some(home_node) = self.home_node(topic) else { return SubscriptionStatus::Nowhere };
        match self.links.get(&home_node).map(|link| &link.phase) {
            Some(SubscribePhase::Down(cause)) => SubscriptionStatus::Unreachable(home_node, cause.clone()),
            _ => SubscriptionStatus::Waits,
        }
    }

    /// Whether a message for `topic`, published on `channel`, that came from `node` is for us.
    pub(super) fn accepts(&self, node: NodeIndex, topic: &Topic, channel: &[u8]) -> bool {
        self.topics.get(topic).is_some_and(|entry| {
            let notification = entry.everywhere && is_notification(channel) && self.primaries.contains(&node);
            notification || entry.source == Some(node)
        })
    }

    /// How many different patterns of ours `node` has.
    pub(super) fn own_patterns(&self, node: NodeIndex) -> usize {
        let is_active =
            |pattern: &&Bytes| self.is_active(node, &Topic::new(TopicKind::Pattern, (*pattern).clone()));
        self.patterns.iter().filter(is_active).count()
    }

    /// The owners of the slots may be others now.
    pub(super) fn follow(&mut self, table: &SlotTable) {
        let owners: Box<[Option<NodeIndex>]> =
            (0..SLOT_COUNT as u64).map(|number| table.owner(Slot::from_number(number)?)).collect();
        if owners != self.owners {
            self.primaries = table.primaries();
            self.owners = owners;
            self.place_all();
        }
        let nodes: Vec<NodeIndex> = self.links.keys().copied().collect();
        for node in nodes {
            self.try_again(node);
        }
    }

    /// Takes the number of subscriptions that became active again, or on another node, since the last call.
    pub(super) fn take_restored(&mut self) -> u64 {
        std::mem::take(&mut self.restored)
    }

    /// The node that `topic` belongs on, of all that receive what is published.
    fn home_node(&self, topic: &Topic) -> Option<NodeIndex> {
        let slot = Slot::of(&topic.name);
        let owner = self.owners[slot.index()];
        if topic.kind == TopicKind::Shard || owner.is_some_and(|owner| !self.is_down(owner)) {
            return owner;
        }
        let count = self.primaries.len();
        let others = (0..count).map(|turn| self.primaries[(slot.index() + turn) % count]);
        others.into_iter().find(|node| !self.is_down(*node)).or(owner)
    }

    pub(super) fn is_wanted(&self, node: NodeIndex, topic: &Topic) -> bool {
        self.topics.get(topic).is_some_and(|entry| {
            (entry.everywhere && self.primaries.contains(&node)) || self.home_node(topic) == Some(node)
        })
    }

    fn is_down(&self, node: NodeIndex) -> bool {
        self.links.get(&node).is_some_and(|link| matches!(link.phase, SubscribePhase::Down(_)))
    }

    /// Whether `topic` is active on `node`.
    pub(super) fn is_active(&self, node: NodeIndex, topic: &Topic) -> bool {
        self.links.get(&node).is_some_and(|link| link.held.get(topic) == Some(&SentTopics::Active))
    }

    pub(super) fn place_all(&mut self) {
        let topics: Vec<Topic> = self.topics.keys().cloned().collect();
        topics.iter().for_each(|topic| self.place(topic));
    }

    /// Has every node look at `topic` that is to have it, or has it.
    fn place(&mut self, topic: &Topic) {
        let mut targets: Vec<NodeIndex> = Vec::new();
        if let Some(entry) = self.topics.get(topic) {
            targets.extend(self.home_node(topic));
            if entry.everywhere {
                targets.extend(self.primaries.iter());
            }
        }
        for node in targets {
            let link = self.links.entry(node).or_default();
            if !link.held.contains_key(topic) {
                link.look_at(topic);
            }
        }
        self.recall(topic);
        self.confirm(topic);
    }

    /// Has every node that has `topic` look whether it still should.
    fn recall(&mut self, topic: &Topic) {
        let holders = self.links.values_mut().filter(|link| link.held.contains_key(topic));
        holders.for_each(|link| link.look_at(topic));
    }

    /// Decides which node messages for `topic` are taken from.
    pub(super) fn confirm(&mut self, topic: &Topic) {
        let home_node = self.home_node(topic);
        let Some(before) = self.topics.get(topic).map(|entry| entry.source) else { return };
        let is_active = |node: &NodeIndex| self.is_active(*node, topic);
        let source = home_node.filter(is_active).or(before.filter(is_active));
        if source == before {
            return;
        }
        if let Some(entry) = self.topics.get_mut(topic) {
            entry.source = source;
            if source.is_some() {
                self.restored += u64::from(entry.has_stood);
                entry.has_stood = true;
            }
        }
        self.recall(topic);
    }
}
