//! Which subscriptions are wanted, on which node each is to stand and where it stands: decisions without a socket.
//!
//! A subscription stands on the primary that owns the slot of its name; an ordinary one on the next primary while that
//! one is down. One that may match keyspace notifications stands on every primary, because a node tells of its own
//! keys to nobody else. Ordinary messages reach every node of a cluster, so they are taken from one node alone: the
//! source of the subscription.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Notify;

use super::message::{is_notification, may_notify};
use super::{Kind, Topic};
use crate::clock::Nanos;
use crate::glob;
use crate::key::{SLOT_COUNT, Slot};
use crate::upstream::slots::{NodeIndex, SlotTable};

/// Commands to one node that may wait for it to have carried them out, and subscriptions that are sent at once.
const BATCHES_IN_FLIGHT_MAX: usize = 64;
const TOPICS_AT_ONCE_MAX: usize = 512;

/// How a subscription stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Everything that is published from now on comes in.
    Stands,
    /// It is on its way.
    Waits,
    /// A node refused it, with this error.
    Refused(Bytes),
    /// The node cannot be reached, for this reason.
    Unreachable(NodeIndex, String),
    /// No node owns the slot, or none is known at all.
    Nowhere,
}

/// How a connection stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nobody has begun to connect.
    New,
    /// On the way.
    Connecting,
    /// Connected.
    Up,
    /// Not connected, for this reason.
    Down(String),
}

/// All that is wanted, and where.
#[derive(Debug)]
pub(super) struct Ledger {
    topics: HashMap<Topic, Entry>,
    patterns: BTreeSet<Bytes>,
    links: BTreeMap<NodeIndex, Link>,
    owners: Box<[Option<NodeIndex>]>,
    primaries: Arc<[NodeIndex]>,
    topics_max: usize,
    /// Subscriptions that stand again, or elsewhere, since somebody looked.
    restored: u64,
}

#[derive(Debug, Default)]
struct Entry {
    users: usize,
    /// Whether it stands on every primary.
    everywhere: bool,
    /// Which node ordinary messages are taken from.
    source: Option<NodeIndex>,
    /// Whether it has ever stood.
    has_stood: bool,
    refused: Option<Bytes>,
}

/// One connection as the ledger sees it.
#[derive(Debug)]
struct Link {
    phase: Phase,
    held: HashMap<Topic, Held>,
    /// What may have to be subscribed to or given up.
    dirty: HashSet<Topic>,
    /// What the node refused; it is asked again after a while.
    again: HashSet<Topic>,
    in_flight: VecDeque<Batch>,
    batches: u64,
    wake: Arc<Notify>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    /// Asked for in the batch of this number.
    Asked(u64),
    Stands,
}

/// One command and the PING behind it: what is answered before the PONG is about this command.
#[derive(Debug)]
struct Batch {
    number: u64,
    /// What it subscribes to.
    topics: Vec<Topic>,
    error: Option<Bytes>,
    sent_at: Nanos,
}

/// What is to be sent: a command on these topics.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Command {
    /// Whether it subscribes; otherwise it unsubscribes.
    pub(super) subscribes: bool,
    /// All of one kind, those of shards of one slot.
    pub(super) topics: Vec<Topic>,
}

// === impl Ledger ===

impl Ledger {
    /// A ledger of at most so many different subscriptions.
    pub(super) fn new(topics_max: usize) -> Ledger {
        Ledger {
            topics: HashMap::new(),
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

    /// One more wants each of `topics`; false, and nothing is changed, if these would be too many.
    pub(super) fn hold(&mut self, topics: &[Topic]) -> bool {
        let new: HashSet<&Topic> = topics.iter().filter(|topic| !self.topics.contains_key(*topic)).collect();
        if self.topics.len() + new.len() > self.topics_max {
            return false;
        }
        for topic in topics {
            let entry = self.topics.entry(topic.clone()).or_default();
            entry.users += 1;
            if entry.users == 1 {
                entry.everywhere = may_notify(topic);
                if topic.kind == Kind::Pattern {
                    self.patterns.insert(topic.name.clone());
                }
                self.place(topic);
            }
        }
        true
    }

    /// One less wants each of `topics`.
    pub(super) fn release(&mut self, topics: &[Topic]) {
        for topic in topics {
            let Some(entry) = self.topics.get_mut(topic) else { continue };
            entry.users -= 1;
            if entry.users == 0 {
                self.topics.remove(topic);
                if topic.kind == Kind::Pattern {
                    self.patterns.remove(&topic.name);
                }
                self.place(topic);
            }
        }
    }

    /// How `topic` stands.
    pub(super) fn standing(&self, topic: &Topic) -> Standing {
        let Some(entry) = self.topics.get(topic) else { return Standing::Nowhere };
        if let Some(error) = &entry.refused {
            return Standing::Refused(error.clone());
        }
        let settled = |node: &NodeIndex| self.stands(*node, topic) || self.is_down(*node);
        if entry.source.is_some() && (!entry.everywhere || self.primaries.iter().all(settled)) {
            return Standing::Stands;
        }
        let Some(keeper) = self.keeper(topic) else { return Standing::Nowhere };
        match self.links.get(&keeper).map(|link| &link.phase) {
            Some(Phase::Down(cause)) => Standing::Unreachable(keeper, cause.clone()),
            _ => Standing::Waits,
        }
    }

    /// Whether a message for `topic`, published on `channel`, that came from `node` is for us.
    pub(super) fn accepts(&self, node: NodeIndex, topic: &Topic, channel: &[u8]) -> bool {
        self.topics.get(topic).is_some_and(|entry| {
            let notification = entry.everywhere && is_notification(channel) && self.primaries.contains(&node);
            notification || entry.source == Some(node)
        })
    }

    /// How many of our own subscriptions `node` counts when something is published on `channel` of this kind.
    pub(super) fn own_receivers(&self, node: NodeIndex, channel: &Topic) -> usize {
        let exact = usize::from(self.stands(node, channel));
        if channel.kind == Kind::Shard {
            return exact;
        }
        let matching = self.patterns.iter().filter(|pattern| glob::matches(pattern, &channel.name));
        let stands = |pattern: &&Bytes| self.stands(node, &Topic::new(Kind::Pattern, (*pattern).clone()));
        exact + matching.filter(stands).count()
    }

    /// How many different patterns of ours `node` has.
    pub(super) fn own_patterns(&self, node: NodeIndex) -> usize {
        let stands = |pattern: &&Bytes| self.stands(node, &Topic::new(Kind::Pattern, (*pattern).clone()));
        self.patterns.iter().filter(stands).count()
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

    /// What `node` refused is asked for again.
    pub(super) fn try_again(&mut self, node: NodeIndex) {
        if let Some(link) = self.links.get_mut(&node).filter(|link| !link.again.is_empty()) {
            let again = std::mem::take(&mut link.again);
            link.dirty.extend(again);
            link.wake.notify_one();
        }
    }

    /// Whether there is a node that a connection is needed to and that nobody connects to yet.
    pub(super) fn has_new(&self) -> bool {
        self.links.values().any(|link| link.phase == Phase::New)
    }

    /// The nodes that a connection is needed to and that nobody connects to yet; from now on somebody does.
    pub(super) fn take_new(&mut self) -> Vec<(NodeIndex, Arc<Notify>)> {
        let new = self.links.iter_mut().filter(|(_, link)| link.phase == Phase::New);
        new.map(|(node, link)| {
            link.phase = Phase::Connecting;
            (*node, link.wake.clone())
        })
        .collect()
    }

    /// Enters a phase of the connection to `node`. What stood there stands no more, unless it is up.
    pub(super) fn enter(&mut self, node: NodeIndex, phase: Phase) {
        let Some(link) = self.links.get_mut(&node) else { return };
        let matters = matches!(phase, Phase::Down(_)) != matches!(link.phase, Phase::Down(_));
        link.phase = phase;
        if matters {
            self.place_all();
        }
    }

    /// The connection to `node` was lost; how many subscriptions were on it.
    pub(super) fn lost(&mut self, node: NodeIndex) -> usize {
        let Some(link) = self.links.get_mut(&node) else { return 0 };
        link.phase = Phase::Connecting;
        link.in_flight.clear();
        let held: Vec<Topic> = std::mem::take(&mut link.held).into_keys().collect();
        let again = std::mem::take(&mut link.again);
        link.dirty.extend(held.iter().cloned().chain(again));
        held.iter().for_each(|topic| self.settle(topic));
        held.len()
    }

    /// Gives up the connection to `node` if nothing is left for it to do; whether it did.
    pub(super) fn close_if_idle(&mut self, node: NodeIndex) -> bool {
        let Some(link) = self.links.get(&node) else { return true };
        let idle = link.held.is_empty()
            && link.dirty.is_empty()
            && link.again.is_empty()
            && link.in_flight.is_empty();
        // While it is down, others stand in for it: it is not idle before nothing is wanted at all.
        let gone = self.topics.is_empty() || !self.primaries.contains(&node);
        let close = if link.phase == Phase::Up { idle } else { gone };
        if close {
            self.links.remove(&node);
        }
        close
    }

    /// What is to be sent to `node` now, as far as it may be.
    pub(super) fn take_commands(&mut self, node: NodeIndex, now: Nanos) -> Vec<Command> {
        let mut commands = Vec::new();
        while let Some(link) = self.links.get_mut(&node) {
            if link.dirty.is_empty() || link.in_flight.len() >= BATCHES_IN_FLIGHT_MAX {
                break;
            }
            let topics: Vec<Topic> = link.dirty.iter().take(TOPICS_AT_ONCE_MAX).cloned().collect();
            for topic in &topics {
                link.dirty.remove(topic);
            }
            for ((subscribes, ..), topics) in self.sorted(node, topics) {
                let command = Command { subscribes, topics };
                self.note_sent(node, &command, now);
                commands.push(command);
            }
        }
        commands
    }

    /// What has to be done about `topics` on `node`, sorted into commands.
    fn sorted(
        &self,
        node: NodeIndex,
        topics: Vec<Topic>,
    ) -> BTreeMap<(bool, Kind, Option<Slot>), Vec<Topic>> {
        let mut groups: BTreeMap<_, Vec<Topic>> = BTreeMap::new();
        let Some(link) = self.links.get(&node) else { return groups };
        for topic in topics {
            let wanted = self.is_wanted(node, &topic);
            let source = self.topics.get(&topic).is_some_and(|entry| entry.source == Some(node));
            // What is wanted elsewhere stays until it stands there.
            if wanted == link.held.contains_key(&topic) || (!wanted && source) {
                continue;
            }
            let slot = (topic.kind == Kind::Shard).then(|| Slot::of(&topic.name));
            groups.entry((wanted, topic.kind, slot)).or_default().push(topic);
        }
        groups
    }

    fn note_sent(&mut self, node: NodeIndex, command: &Command, now: Nanos) {
        let Some(link) = self.links.get_mut(&node) else { return };
        let number =
            link.begin_batch(if command.subscribes { command.topics.clone() } else { Vec::new() }, now);
        for topic in &command.topics {
            if command.subscribes {
                link.held.insert(topic.clone(), Held::Asked(number));
            } else {
                link.held.remove(topic);
            }
        }
    }

    /// A PING alone is about to be sent to `node`, if nothing is on its way there that will be answered anyway.
    pub(super) fn wants_ping(&mut self, node: NodeIndex, now: Nanos) -> bool {
        let Some(link) = self.links.get_mut(&node).filter(|link| link.in_flight.is_empty()) else {
            return false;
        };
        link.begin_batch(Vec::new(), now);
        true
    }

    /// Since when `node` owes an answer.
    pub(super) fn owes_since(&self, node: NodeIndex) -> Option<Nanos> {
        self.links.get(&node)?.in_flight.front().map(|batch| batch.sent_at)
    }

    /// `node` answered an error: it is about the oldest command.
    pub(super) fn refused(&mut self, node: NodeIndex, error: Bytes) {
        let oldest = self.links.get_mut(&node).and_then(|link| link.in_flight.front_mut());
        if let Some(batch) = oldest {
            batch.error = Some(error);
        }
    }

    /// `node` has carried out the oldest command; how many subscriptions it refused.
    pub(super) fn done(&mut self, node: NodeIndex) -> usize {
        let Some(link) = self.links.get_mut(&node) else { return 0 };
        let Some(batch) = link.in_flight.pop_front() else { return 0 };
        let mut asked = batch.topics;
        // Since then it may have ended, or have been given up and asked for anew.
        asked.retain(|topic| link.held.get(topic) == Some(&Held::Asked(batch.number)));
        for topic in &asked {
            if batch.error.is_none() {
                link.held.insert(topic.clone(), Held::Stands);
            } else {
                link.held.remove(topic);
                link.again.insert(topic.clone());
            }
        }
        for topic in &asked {
            if let Some(entry) = self.topics.get_mut(topic) {
                entry.refused = batch.error.clone().filter(|error| is_final(error));
            }
            self.settle(topic);
        }
        if batch.error.is_some() { asked.len() } else { 0 }
    }

    /// A subscription on `node` has ended; whether that was not our wish.
    pub(super) fn ended(&mut self, node: NodeIndex, topic: &Topic) -> bool {
        let Some(link) = self.links.get_mut(&node) else { return false };
        let unasked = link.held.remove(topic).is_some();
        if unasked {
            link.again.insert(topic.clone());
            self.settle(topic);
        }
        unasked
    }

    /// How many subscriptions stand again, or elsewhere, since this was asked last.
    pub(super) fn take_restored(&mut self) -> u64 {
        std::mem::take(&mut self.restored)
    }

    /// The node that `topic` is to stand on, of all that may tell us what is published.
    fn keeper(&self, topic: &Topic) -> Option<NodeIndex> {
        let slot = Slot::of(&topic.name);
        let owner = self.owners[slot.index()];
        if topic.kind == Kind::Shard || owner.is_some_and(|owner| !self.is_down(owner)) {
            return owner;
        }
        let count = self.primaries.len();
        let others = (0..count).map(|turn| self.primaries[(slot.index() + turn) % count]);
        others.into_iter().find(|node| !self.is_down(*node)).or(owner)
    }

    fn is_wanted(&self, node: NodeIndex, topic: &Topic) -> bool {
        self.topics.get(topic).is_some_and(|entry| {
            (entry.everywhere && self.primaries.contains(&node)) || self.keeper(topic) == Some(node)
        })
    }

    fn is_down(&self, node: NodeIndex) -> bool {
        self.links.get(&node).is_some_and(|link| matches!(link.phase, Phase::Down(_)))
    }

    /// Whether `topic` stands on `node`.
    pub(super) fn stands(&self, node: NodeIndex, topic: &Topic) -> bool {
        self.links.get(&node).is_some_and(|link| link.held.get(topic) == Some(&Held::Stands))
    }

    fn place_all(&mut self) {
        let topics: Vec<Topic> = self.topics.keys().cloned().collect();
        topics.iter().for_each(|topic| self.place(topic));
    }

    /// Has every node look at `topic` that is to have it, or has it.
    fn place(&mut self, topic: &Topic) {
        let mut targets: Vec<NodeIndex> = Vec::new();
        if let Some(entry) = self.topics.get(topic) {
            targets.extend(self.keeper(topic));
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
        self.settle(topic);
    }

    /// Has every node that has `topic` look whether it still should.
    fn recall(&mut self, topic: &Topic) {
        let holders = self.links.values_mut().filter(|link| link.held.contains_key(topic));
        holders.for_each(|link| link.look_at(topic));
    }

    /// Decides which node messages for `topic` are taken from.
    fn settle(&mut self, topic: &Topic) {
        let keeper = self.keeper(topic);
        let Some(before) = self.topics.get(topic).map(|entry| entry.source) else { return };
        let standing = |node: &NodeIndex| self.stands(*node, topic);
        let source = keeper.filter(standing).or(before.filter(standing));
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

// === impl Link ===

impl Default for Link {
    fn default() -> Link {
        Link {
            phase: Phase::New,
            held: HashMap::new(),
            dirty: HashSet::new(),
            again: HashSet::new(),
            in_flight: VecDeque::new(),
            batches: 0,
            wake: Arc::default(),
        }
    }
}

impl Link {
    fn look_at(&mut self, topic: &Topic) {
        self.dirty.insert(topic.clone());
        self.wake.notify_one();
    }

    fn begin_batch(&mut self, topics: Vec<Topic>, sent_at: Nanos) -> u64 {
        self.batches += 1;
        self.in_flight.push_back(Batch { number: self.batches, topics, error: None, sent_at });
        self.batches
    }
}

/// Whether the client may as well be told: a node that is only not ready, or not the owner, is asked again.
fn is_final(error: &[u8]) -> bool {
    let passing: [&[u8]; 6] =
        [b"-MOVED ", b"-ASK ", b"-CLUSTERDOWN", b"-TRYAGAIN", b"-LOADING", b"-MASTERDOWN"];
    !passing.iter().any(|begin| error.starts_with(begin))
}
