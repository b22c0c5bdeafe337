//! What was sent to one node and not answered yet, and what its answers mean.
//!
//! Behind each command goes a question: an error that comes before its answer is about this command, and
//! without one all that it subscribes to is active. Confirmations need not be looked at.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Notify;

use super::plan::SubscriptionPlan;
use super::planned_connection::{PlannedConnection, SentTopics, SubscribePhase};
use super::topic::Topic;
use crate::clock::Nanos;
use crate::protocol::command::TopicKind;
use crate::protocol::key::Slot;
use crate::upstream::topology::node_numbers::NodeIndex;

/// Commands to one node that may wait for it to have carried them out.
pub(super) const BATCHES_IN_FLIGHT_MAX: usize = 64;

/// Subscriptions that are sent at once.
pub(super) const TOPICS_AT_ONCE_MAX: usize = 512;

/// Comparisons that one command may need: servers before Redis 7.2 compare each new pattern with all others
/// of the connection, and serve no other client meanwhile.
pub(super) const COMPARISONS_AT_ONCE_MAX: usize = 1 << 20;

/// What goes into one command: whether it subscribes, to what, in which slot, and what it is about if that is
/// alone.
type Sort = (bool, TopicKind, Option<Slot>, Option<Bytes>);

/// What is to be sent: a command on these topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SubscribeCommand {
    /// Whether it subscribes; otherwise it unsubscribes.
    pub(super) subscribes: bool,
    /// All of one kind, those of shards of one slot.
    pub(super) topics: Vec<Topic>,
}

// === impl SubscriptionPlan ===

impl SubscriptionPlan {
    /// What `node` refused is asked for again.
    pub(super) fn try_again(&mut self, node: NodeIndex) {
        if let Some(link) = self.links.get_mut(&node).filter(|link| !link.again.is_empty()) {
            let again = std::mem::take(&mut link.again);
            link.dirty.extend(again);
            link.wake.notify_one();
        }
    }

    /// Whether some node needs a connection that was not begun yet.
    pub(super) fn has_new(&self) -> bool {
        self.links.values().any(|link| link.phase == SubscribePhase::New)
    }

    /// Takes the nodes that need a connection which was not begun yet; the caller begins them.
    pub(super) fn take_new(&mut self) -> Vec<(NodeIndex, Arc<Notify>)> {
        let new = self.links.iter_mut().filter(|(_, link)| link.phase == SubscribePhase::New);
        new.map(|(node, link)| {
            link.phase = SubscribePhase::Connecting;
            (*node, link.wake.clone())
        })
        .collect()
    }

    /// Enters a phase of the connection to `node`. While it is down, other nodes take its place.
    pub(super) fn enter(&mut self, node: NodeIndex, phase: SubscribePhase) {
        let Some(link) = self.links.get_mut(&node) else { return };
        let matters =
            matches!(phase, SubscribePhase::Down(_)) != matches!(link.phase, SubscribePhase::Down(_));
        link.phase = phase;
        if matters {
            self.place_all();
        }
    }

    /// The connection to `node` was lost; how many subscriptions were on it.
    pub(super) fn lost(&mut self, node: NodeIndex) -> usize {
        let Some(link) = self.links.get_mut(&node) else { return 0 };
        link.phase = SubscribePhase::Connecting;
        link.in_flight.clear();
        link.one_by_one.clear();
        let held: Vec<Topic> = std::mem::take(&mut link.held).into_keys().collect();
        let again = std::mem::take(&mut link.again);
        link.dirty.extend(held.iter().cloned().chain(again));
        held.iter().for_each(|topic| self.confirm(topic));
        held.len()
    }

    /// Gives up the connection to `node` if nothing is left for it to do; whether it did.
    pub(super) fn close_if_idle(&mut self, node: NodeIndex) -> bool {
        let Some(link) = self.links.get(&node) else { return true };
        let idle = link.held.is_empty()
            && link.dirty.is_empty()
            && link.again.is_empty()
            && link.in_flight.is_empty();
        // While it is down, other nodes take its place: it is not idle before nothing is wanted at all.
        let gone = self.topics.is_empty() || !self.primaries.contains(&node);
        let close = if link.phase == SubscribePhase::Up { idle } else { gone };
        if close {
            self.links.remove(&node);
        }
        close
    }

    /// The commands for `node` that are due, of few enough topics that the lock is not held for long; `None`
    /// when nothing is to be sent, or nothing may be yet.
    pub(super) fn take_commands(&mut self, node: NodeIndex, now: Nanos) -> Option<Vec<SubscribeCommand>> {
        let patterns_max = COMPARISONS_AT_ONCE_MAX / self.patterns.len().max(1);
        let patterns_max = patterns_max.clamp(1, TOPICS_AT_ONCE_MAX);
        let batches_max = if patterns_max < TOPICS_AT_ONCE_MAX { 1 } else { BATCHES_IN_FLIGHT_MAX };
        let link = self.links.get_mut(&node)?;
        if link.dirty.is_empty() || link.in_flight.len() >= batches_max {
            return None;
        }
        if link.in_flight.is_empty() {
            link.one_by_one.retain(|topic| link.dirty.contains(topic));
        }
        let mut patterns = 0;
        let few_patterns = |topic: &&Topic| {
            patterns += usize::from(topic.kind == TopicKind::Pattern);
            patterns <= patterns_max
        };
        let next = link.dirty.iter().take(TOPICS_AT_ONCE_MAX).take_while(few_patterns);
        let topics: Vec<Topic> = next.cloned().collect();
        for topic in &topics {
            link.dirty.remove(topic);
        }
        let mut commands = Vec::new();
        for ((subscribes, ..), topics) in self.sorted(node, topics) {
            let command = SubscribeCommand { subscribes, topics };
            self.note_sent(node, &command, now);
            commands.push(command);
        }
        Some(commands)
    }

    /// What has to be done about `topics` on `node`, sorted into commands.
    fn sorted(&self, node: NodeIndex, topics: Vec<Topic>) -> BTreeMap<Sort, Vec<Topic>> {
        let mut groups: BTreeMap<_, Vec<Topic>> = BTreeMap::new();
        let Some(link) = self.links.get(&node) else { return groups };
        for topic in topics {
            let Some(wanted) = self.change(node, link, &topic) else { continue };
            let slot = (topic.kind == TopicKind::Shard).then(|| Slot::of(&topic.name));
            let single = link.one_by_one.get(&topic).map(|topic| topic.name.clone());
            groups.entry((wanted, topic.kind, slot, single)).or_default().push(topic);
        }
        groups
    }

    /// Whether `topic` has to be subscribed to on `node`, or given up there; `None` if it may stay as it is.
    fn change(&self, node: NodeIndex, link: &PlannedConnection, topic: &Topic) -> Option<bool> {
        let wanted = self.is_wanted(node, topic);
        // What is wanted elsewhere stays until it is active there.
        let stays = || self.topics.get(topic).is_some_and(|entry| entry.source == Some(node));
        (wanted != link.held.contains_key(topic) && (wanted || !stays())).then_some(wanted)
    }

    /// Whether a command about a topic that `concern` accepts is still to be sent to, or answered by, a node
    /// that is not down.
    pub(super) fn is_changing(&self, concern: impl Fn(&Topic) -> bool) -> bool {
        self.links.iter().filter(|(_, link)| !matches!(link.phase, SubscribePhase::Down(_))).any(
            |(node, link)| {
                let mut dirty = link.dirty.iter();
                dirty.any(|topic| concern(topic) && self.change(*node, link, topic).is_some())
                    || link.in_flight.iter().flat_map(|batch| &batch.topics).any(&concern)
            },
        )
    }

    fn note_sent(&mut self, node: NodeIndex, command: &SubscribeCommand, now: Nanos) {
        let Some(link) = self.links.get_mut(&node) else { return };
        let number = link.begin_batch(command.subscribes, command.topics.clone(), now);
        for topic in &command.topics {
            if command.subscribes {
                link.held.insert(topic.clone(), SentTopics::Asked(number));
            } else {
                link.held.remove(topic);
            }
        }
    }

    /// A PING alone is about to be sent to `node`, if nothing is on its way there that will be answered
    /// anyway.
    pub(super) fn wants_ping(&mut self, node: NodeIndex, now: Nanos) -> bool {
        let Some(link) = self.links.get_mut(&node).filter(|link| link.in_flight.is_empty()) else {
            return false;
        };
        link.begin_batch(false, Vec::new(), now);
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
        let mut asked = if batch.subscribes { batch.topics } else { Vec::new() };
        // Since then it may have ended, or have been given up and asked for again.
        asked.retain(|topic| link.held.get(topic) == Some(&SentTopics::Asked(batch.number)));
        let is_single = asked.len() == 1;
        for topic in &asked {
            link.one_by_one.remove(topic);
            if batch.error.is_none() {
                link.held.insert(topic.clone(), SentTopics::Active);
                continue;
            }
            link.held.remove(topic);
            if is_single {
                link.again.insert(topic.clone());
            } else {
                link.one_by_one.insert(topic.clone());
                link.dirty.insert(topic.clone());
            }
        }
        if !is_single && batch.error.is_some() {
            return 0;
        }
        for topic in &asked {
            if let Some(entry) = self.topics.get_mut(topic) {
                entry.refused = batch.error.clone().filter(|error| is_final(error));
            }
            self.confirm(topic);
        }
        if batch.error.is_some() { asked.len() } else { 0 }
    }

    /// A subscription on `node` has ended; whether that was not our wish.
    pub(super) fn ended(&mut self, node: NodeIndex, topic: &Topic) -> bool {
        let Some(link) = self.links.get_mut(&node) else { return false };
        let unasked = link.held.remove(topic).is_some();
        if unasked {
            link.again.insert(topic.clone());
            self.confirm(topic);
        }
        unasked
    }
}

/// Whether the error goes to the client: a node that is only not ready, or not the owner, is asked again.
fn is_final(error: &[u8]) -> bool {
    let passing: [&[u8]; 6] =
        [b"-MOVED ", b"-ASK ", b"-CLUSTERDOWN", b"-TRYAGAIN", b"-LOADING", b"-MASTERDOWN"];
    !passing.iter().any(|begin| error.starts_with(begin))
}
