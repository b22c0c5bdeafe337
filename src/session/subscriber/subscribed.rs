//! What one client is subscribed to, and which of it is not active upstream yet.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use crate::clients::{Client, ClientFlag};
use crate::memory::MemoryHold;
use crate::protocol::command::TopicKind;
use crate::upstream::Topic;

/// What each name waits for: the request of this number, whose fate is the name's, or nothing any more.
type NameStates = BTreeMap<Bytes, Option<u64>>;

/// What remembering a name takes beside its bytes: places here, among the subscribers, in the feed and in
/// what its node has, and, until it is active, in what is sent and confirmed. Rather too much than too
/// little: this is what is known of it in time.
const NAME_BYTES: usize = 768;

/// What one client is subscribed to.
#[derive(Debug)]
pub(super) struct Subscribed {
    channels: NameStates,
    patterns: NameStates,
    shards: NameStates,
    /// What the names take, here and where the daemon remembers which clients want them.
    held: MemoryHold,
    requests: u64,
    /// The session is over: nothing is added any more.
    over: bool,
}

// === impl Subscribed ===

impl Subscribed {
    /// Nothing yet; what it takes is counted in `held`.
    pub(super) fn new(held: MemoryHold) -> Subscribed {
        let (channels, patterns, shards) = Default::default();
        Subscribed { channels, patterns, shards, held, requests: 0, over: false }
    }

    /// What a subscription to `topic` takes, in bytes.
    pub(super) fn bytes_of(topic: &Topic) -> usize {
        // Its name is written once more for its client or its node.
        2 * topic.name.len() + NAME_BYTES
    }

    /// Whether it is anything.
    pub(super) fn is_any(&self) -> bool {
        self.len() > 0
    }

    /// How many subscriptions there are.
    pub(super) fn len(&self) -> usize {
        self.channels.len() + self.patterns.len() + self.shards.len()
    }

    /// How many of them are patterns.
    pub(super) fn patterns(&self) -> usize {
        self.patterns.len()
    }

    /// How many subscriptions of the sort of `kind` there are, as confirmations count them.
    pub(super) fn count(&self, kind: TopicKind) -> usize {
        match kind {
            TopicKind::Channel | TopicKind::Pattern => self.channels.len() + self.patterns.len(),
            TopicKind::Shard => self.shards.len(),
        }
    }

    /// The names of `kind`, in order.
    pub(super) fn names(&self, kind: TopicKind) -> Vec<Bytes> {
        self.of(kind).keys().cloned().collect()
    }

    /// Whether `topic` is among it.
    pub(super) fn contains(&self, topic: &Topic) -> bool {
        self.of(topic.kind).contains_key(&topic.name)
    }

    /// The number of a new request to subscribe.
    pub(super) fn begin(&mut self) -> u64 {
        self.requests += 1;
        self.requests
    }

    /// Adds `topic` for `request`; whether it is new.
    pub(super) fn add(&mut self, topic: &Topic, request: u64) -> bool {
        let names = self.of_mut(topic.kind);
        match names.get_mut(&topic.name) {
            Some(waits) => {
                // The later request decides.
                *waits = waits.map(|_| request);
                false
            }
            None => {
                names.insert(topic.name.clone(), Some(request));
                self.held.set(self.held.bytes() + Self::bytes_of(topic));
                true
            }
        }
    }

    /// What waited for `request` waits no more.
    pub(super) fn confirm(&mut self, topics: &[Topic], request: u64) {
        for topic in topics {
            if let Some(waits) = self.of_mut(topic.kind).get_mut(&topic.name).filter(|w| **w == Some(request))
            {
                *waits = None;
            }
        }
    }

    /// Takes out what waited for `request` in vain.
    pub(super) fn take_back(&mut self, topics: &[Topic], request: u64) -> Vec<Topic> {
        let waits = |topic: &&Topic| self.of(topic.kind).get(&topic.name) == Some(&Some(request));
        let back: Vec<Topic> = topics.iter().filter(waits).cloned().collect();
        back.into_iter().filter(|topic| self.remove(topic)).collect()
    }

    /// Takes `topic` out; whether it was there.
    pub(super) fn remove(&mut self, topic: &Topic) -> bool {
        let removed = self.of_mut(topic.kind).remove(&topic.name).is_some();
        if removed {
            self.held.set(self.held.bytes() - Self::bytes_of(topic));
        }
        removed
    }

    /// Takes up to `count` topics out.
    pub(super) fn take(&mut self, count: usize) -> Vec<Topic> {
        let mut taken = Vec::new();
        for kind in [TopicKind::Channel, TopicKind::Pattern, TopicKind::Shard] {
            let names = self.of_mut(kind);
            while taken.len() < count
                && let Some((name, _)) = names.pop_first()
            {
                taken.push(Topic::new(kind, name));
            }
        }
        self.held.set(self.held.bytes() - taken.iter().map(Self::bytes_of).sum::<usize>());
        taken
    }

    /// Takes everything out, for good.
    pub(super) fn end(&mut self) -> Vec<Topic> {
        self.over = true;
        self.take(usize::MAX)
    }

    /// Whether nothing is added any more.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Publishes the counts for CLIENT LIST, and the bytes for the memory ceiling.
    pub(super) fn show(&self, client: &Client) {
        client.held_by_subscriptions.store(self.held.bytes(), Ordering::Relaxed);
        client.channels.store(self.channels.len(), Ordering::Relaxed);
        client.patterns.store(self.patterns.len(), Ordering::Relaxed);
        client.shard_channels.store(self.shards.len(), Ordering::Relaxed);
        client.mark(ClientFlag::PubSub, self.is_any());
    }

    fn of(&self, kind: TopicKind) -> &NameStates {
        match kind {
            TopicKind::Channel => &self.channels,
            TopicKind::Pattern => &self.patterns,
            TopicKind::Shard => &self.shards,
        }
    }

    fn of_mut(&mut self, kind: TopicKind) -> &mut NameStates {
        match kind {
            TopicKind::Channel => &mut self.channels,
            TopicKind::Pattern => &mut self.patterns,
            TopicKind::Shard => &mut self.shards,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::memory::MemoryCeiling;

    fn topic(name: &'static str) -> Topic {
        Topic::new(TopicKind::Channel, Bytes::from_static(name.as_bytes()))
    }

    #[test]
    fn a_request_that_fails_takes_back_what_waits_for_it_alone() {
        let held = Arc::<MemoryCeiling>::default().hold(crate::memory::MemoryUse::Subscriptions);
        let mut subscribed = Subscribed::new(held);
        let topics = [topic("stands"), topic("asked again"), topic("ended"), topic("alone")];
        let first = subscribed.begin();
        assert!(subscribed.add(&topics[0], first));
        subscribed.confirm(&topics, first);
        let second = subscribed.begin();
        let new: Vec<bool> = topics.iter().map(|topic| subscribed.add(topic, second)).collect();
        assert_eq!(new, [false, true, true, true]);
        assert!(subscribed.remove(&topics[2]));
        let third = subscribed.begin();
        assert!(!subscribed.add(&topics[1], third));
        assert_eq!(subscribed.take_back(&topics, second), [topic("alone")]);
        assert_eq!(subscribed.names(TopicKind::Channel), ["asked again", "stands"]);
        subscribed.confirm(&topics, third);
        assert_eq!(subscribed.take_back(&topics, third), []);
        assert_eq!(subscribed.take(1), [topic("asked again")]);
        assert_eq!(subscribed.end(), [topic("stands")]);
        assert!(!subscribed.is_any() && subscribed.is_over());
    }
}
