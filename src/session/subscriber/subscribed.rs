//! What one client is subscribed to, and which of it is not active upstream yet.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use smallvec::{SmallVec, smallvec};

use crate::clients::{Client, ClientFlag};
use crate::memory::MemoryHold;
use crate::namespace::Scope;
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
    /// The namespace in which the client was when it began to subscribe: all names are of it.
    scope: Option<Rc<Scope>>,
    /// For topics to which several names may lead: these names.
    names_of_topics: BTreeMap<Topic, BTreeSet<Bytes>>,
    /// What the names take, here and where the daemon remembers which clients want them.
    held: MemoryHold,
    requests: u64,
    /// The session is over: nothing is added any more.
    over: bool,
}

// === impl Subscribed ===

impl Subscribed {
    /// Nothing yet; what it takes is counted in `held`.
    pub(super) fn new(held: MemoryHold, scope: Option<Rc<Scope>>) -> Subscribed {
        let (channels, patterns, shards, names_of_topics) = Default::default();
        Subscribed { channels, patterns, shards, scope, names_of_topics, held, requests: 0, over: false }
    }

    /// The namespace that the names are of.
    pub(super) fn scope(&self) -> Option<&Rc<Scope>> {
        self.scope.as_ref()
    }

    /// What `name` leads to upstream: itself or, in a namespace, one topic or several.
    pub(super) fn topics(&self, kind: TopicKind, name: &Bytes) -> SmallVec<[Topic; 1]> {
        match &self.scope {
            None => smallvec![Topic::new(kind, name.clone())],
            Some(scope) => {
                scope.topics(kind, name).into_iter().map(|topic| Topic::new(kind, topic)).collect()
            }
        }
    }

    /// What a subscription to `name` takes, in bytes.
    pub(super) fn bytes_of(&self, kind: TopicKind, name: &Bytes) -> usize {
        // A name is written once more for its client or its node.
        self.topics(kind, name).iter().map(|topic| 2 * topic.name.len() + NAME_BYTES).sum()
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

    /// Whether `name` is among it.
    pub(super) fn contains(&self, kind: TopicKind, name: &[u8]) -> bool {
        self.of(kind).contains_key(name)
    }

    /// The names by which the client has subscribed to a topic to which several may lead.
    pub(super) fn names_of(&self, topic: &Topic) -> impl Iterator<Item = &Bytes> {
        self.names_of_topics.get(topic).into_iter().flatten()
    }

    /// The number of a new request to subscribe.
    pub(super) fn begin(&mut self) -> u64 {
        self.requests += 1;
        self.requests
    }

    /// Adds `name` for `request`. Returns the topics that the client had not subscribed to.
    pub(super) fn add(&mut self, kind: TopicKind, name: &Bytes, request: u64) -> Vec<Topic> {
        let names = self.of_mut(kind);
        if let Some(waits) = names.get_mut(name) {
            // The later request decides.
            *waits = waits.map(|_| request);
            return Vec::new();
        }
        names.insert(name.clone(), Some(request));
        self.held.set(self.held.bytes() + self.bytes_of(kind, name));
        let mut new = Vec::new();
        for topic in self.topics(kind, name) {
            let mut is_new = true;
            if self.is_for_several(&topic) {
                let names = self.names_of_topics.entry(topic.clone()).or_default();
                is_new = names.is_empty();
                names.insert(name.clone());
            }
            new.extend(is_new.then_some(topic));
        }
        new
    }

    /// What waited for `request` waits no more.
    pub(super) fn confirm(&mut self, kind: TopicKind, names: &[Bytes], request: u64) {
        for name in names {
            if let Some(waits) = self.of_mut(kind).get_mut(name).filter(|waits| **waits == Some(request)) {
                *waits = None;
            }
        }
    }

    /// Takes out what waited for `request` in vain. Returns the topics that the client leaves.
    pub(super) fn take_back(&mut self, kind: TopicKind, names: &[Bytes], request: u64) -> Vec<Topic> {
        let mut left = Vec::new();
        for name in names {
            if self.of(kind).get(name) == Some(&Some(request)) {
                left.extend(self.remove(kind, name).into_iter().flatten());
            }
        }
        left
    }

    /// Takes `name` out. Returns the topics that the client leaves, if the name was there.
    pub(super) fn remove(&mut self, kind: TopicKind, name: &Bytes) -> Option<Vec<Topic>> {
        self.of_mut(kind).remove(name)?;
        self.held.set(self.held.bytes() - self.bytes_of(kind, name));
        Some(self.leave(kind, name))
    }

    /// The topics of `name` to which no other name of the client leads.
    fn leave(&mut self, kind: TopicKind, name: &Bytes) -> Vec<Topic> {
        let mut left = Vec::new();
        for topic in self.topics(kind, name) {
            if let Some(names) = self.names_of_topics.get_mut(&topic) {
                names.remove(name);
                if !names.is_empty() {
                    continue;
                }
                self.names_of_topics.remove(&topic);
            }
            left.push(topic);
        }
        left
    }

    fn is_for_several(&self, topic: &Topic) -> bool {
        self.scope.is_some() && Scope::is_for_several(&topic.name)
    }

    /// Takes up to `count` names out. Returns the topics that the client leaves; `None` if there was no name.
    pub(super) fn take(&mut self, count: usize) -> Option<Vec<Topic>> {
        let (mut taken, mut left) = (0, Vec::new());
        for kind in [TopicKind::Channel, TopicKind::Pattern, TopicKind::Shard] {
            while taken < count
                && let Some((name, _)) = self.of_mut(kind).pop_first()
            {
                taken += 1;
                self.held.set(self.held.bytes() - self.bytes_of(kind, &name));
                left.extend(self.leave(kind, &name));
            }
        }
        (taken > 0).then_some(left)
    }

    /// Takes everything out, for good.
    pub(super) fn end(&mut self) -> Vec<Topic> {
        self.over = true;
        self.take(usize::MAX).unwrap_or_default()
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
    use crate::namespace::{ChannelRule, Namespace};
    use crate::protocol::db::DbIndex;

    const CHANNEL: TopicKind = TopicKind::Channel;

    fn topic(name: &'static str) -> Topic {
        Topic::new(CHANNEL, Bytes::from_static(name.as_bytes()))
    }

    fn subscribed(scope: Option<Scope>) -> Subscribed {
        let held = Arc::<MemoryCeiling>::default().hold(crate::memory::MemoryUse::Subscriptions);
        Subscribed::new(held, scope.map(Rc::new))
    }

    #[test]
    fn a_request_that_fails_takes_back_what_waits_for_it_alone() {
        let mut subscribed = subscribed(None);
        let names =
            ["stands", "asked again", "ended", "alone"].map(|name| Bytes::from_static(name.as_bytes()));
        let first = subscribed.begin();
        assert_eq!(subscribed.add(CHANNEL, &names[0], first), [topic("stands")]);
        subscribed.confirm(CHANNEL, &names, first);
        let second = subscribed.begin();
        let new: Vec<usize> = names.iter().map(|name| subscribed.add(CHANNEL, name, second).len()).collect();
        assert_eq!(new, [0, 1, 1, 1]);
        assert_eq!(subscribed.remove(CHANNEL, &names[2]), Some(vec![topic("ended")]));
        let third = subscribed.begin();
        assert_eq!(subscribed.add(CHANNEL, &names[1], third), []);
        assert_eq!(subscribed.take_back(CHANNEL, &names, second), [topic("alone")]);
        assert_eq!(subscribed.names(CHANNEL), ["asked again", "stands"]);
        subscribed.confirm(CHANNEL, &names, third);
        assert_eq!(subscribed.take_back(CHANNEL, &names, third), []);
        assert_eq!(subscribed.take(1), Some(vec![topic("asked again")]));
        assert_eq!(subscribed.end(), [topic("stands")]);
        assert!(!subscribed.is_any() && subscribed.is_over() && subscribed.take(1).is_none());
    }

    #[test]
    fn a_topic_of_several_names_is_left_with_the_last() {
        let namespace = Namespace { name: "app".into(), pinned: false, channels: ChannelRule::Own };
        let mut subscribed = subscribed(Some(Scope::new(Arc::new(namespace), DbIndex::default())));
        let request = subscribed.begin();
        let [first, second] =
            ["__keyevent@0__:del", "__keyevent@3__:del"].map(|name| Bytes::from_static(name.as_bytes()));
        let topic = topic("__keyevent@0__:del");
        assert_eq!(subscribed.add(CHANNEL, &first, request), std::slice::from_ref(&topic));
        assert_eq!(subscribed.add(CHANNEL, &second, request), []);
        assert_eq!(subscribed.names_of(&topic).collect::<Vec<_>>(), [&first, &second]);
        assert_eq!(subscribed.remove(CHANNEL, &first), Some(Vec::new()));
        assert_eq!(subscribed.remove(CHANNEL, &first), None);
        assert_eq!(subscribed.remove(CHANNEL, &second), Some(vec![topic]));
        assert_eq!((subscribed.held.bytes(), subscribed.names_of_topics.len()), (0, 0));
    }
}
