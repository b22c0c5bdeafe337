//! The hub: messages from upstream are handed to the clients that are subscribed to them.

use std::collections::btree_map::Entry;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::registry::{Audience, Registry};
use crate::clients::Client;
use crate::clients::mailbox::Mail;
use crate::protocol::command::TopicKind;
use crate::protocol::glob::{self, SearchPosition};
use crate::stats::WorkerStats;
use crate::upstream::{Subscriptions, Topic};

/// Clients that a message is handed to before others may subscribe or leave: none of them waits for long.
const HANDED_OUT_AT_ONCE: usize = 128;

/// Patterns that are tried on the name of a channel before others get their turn.
const TRIED_AT_ONCE: usize = 128;

/// The subscriptions of all clients, and the way of messages to them.
#[derive(Debug)]
pub struct Hub {
    feed: Arc<Subscriptions>,
    registry: Mutex<Registry>,
    /// Bytes of messages that may wait for one client's session.
    waiting_bytes_max: usize,
    stats: Arc<WorkerStats>,
}

/// A search for the patterns that match the name of a channel.
#[derive(Debug)]
pub struct Search {
    channel: Topic,
    /// Where the search continues, if it is not over.
    next: Option<SearchPosition>,
    /// Those that match.
    found: Vec<Topic>,
}

/// How many there are, for INFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscriptionCounts {
    /// Channels with a subscriber.
    pub channels: usize,
    /// Patterns with a subscriber.
    pub patterns: usize,
    /// Channels of shards with a subscriber.
    pub shard_channels: usize,
    /// Clients with a subscription.
    pub clients: usize,
}

// === impl Hub ===

impl Hub {
    /// A hub for the messages of `feed`, which lets `waiting_bytes_max` bytes wait for one client's session.
    pub fn new(feed: Arc<Subscriptions>, waiting_bytes_max: usize, stats: Arc<WorkerStats>) -> Arc<Hub> {
        Arc::new(Hub { feed, registry: Mutex::default(), waiting_bytes_max, stats })
    }

    /// Brings messages in and hands them out, for as long as it is polled.
    pub async fn run(self: Arc<Hub>) {
        let feed = self.feed.clone();
        feed.run(Box::new(move |topic, message| self.hand_out(topic, message))).await;
    }

    /// What is subscribed to upstream.
    pub fn feed(&self) -> &Arc<Subscriptions> {
        &self.feed
    }

    /// Adds `client` to the subscribers of `topics`. The client was subscribed to none of them, and all are
    /// wanted upstream.
    pub fn subscribe(&self, client: &Arc<Client>, topics: &[Topic]) {
        let mut registry = self.registry.lock();
        let mut new = Vec::new();
        for topic in topics {
            match registry.of_mut(topic.kind).entry(topic.name.clone()) {
                Entry::Occupied(mut audience) => audience.get_mut().add(client),
                Entry::Vacant(place) => {
                    place.insert(Audience::One(client.clone()));
                    new.push(topic.clone());
                }
            }
            if topic.kind == TopicKind::Pattern {
                registry.by_match.insert(topic.name.clone());
            }
        }
        if !topics.is_empty() {
            *registry.clients.entry(client.id).or_default() += topics.len();
        }
        // The session asked the feed for them before, so this asks for no more.
        self.feed.keep(&new);
    }

    /// Removes `client` from the subscribers of `topics`. It was subscribed to all of them, and gets no
    /// message of them after this.
    pub fn unsubscribe(&self, client: &Client, topics: &[Topic]) {
        let mut ended = Vec::new();
        let mut registry = self.registry.lock();
        for topic in topics {
            let audiences = registry.of_mut(topic.kind);
            let Some(audience) = audiences.get_mut(&topic.name) else { continue };
            if !audience.remove(client.id) {
                audiences.remove(&topic.name);
                ended.push(topic.clone());
                if topic.kind == TopicKind::Pattern {
                    registry.by_match.remove(&topic.name);
                }
            }
        }
        if let Some(count) = registry.clients.get_mut(&client.id) {
            *count -= topics.len();
            if *count == 0 {
                registry.clients.remove(&client.id);
            }
        }
        drop(registry);
        // No client waits until the feed knows.
        if !ended.is_empty() {
            self.feed.release(&ended);
        }
    }

    /// Begins the search for the patterns of our clients that match `channel`.
    pub fn search(&self, channel: &Topic) -> Search {
        let sharded = channel.kind == TopicKind::Shard;
        Search { channel: channel.clone(), next: (!sharded).then(SearchPosition::default), found: Vec::new() }
    }

    /// Tries some more patterns, few enough that no other session waits for long. Returns whether all were
    /// tried.
    pub fn go_on(&self, search: &mut Search) -> bool {
        if let Some(from) = search.next.take() {
            let (name, found) = (&search.channel.name, &mut search.found);
            let note = |pattern: &Bytes| found.push(Topic::new(TopicKind::Pattern, pattern.clone()));
            search.next = self.registry.lock().by_match.search(name, from, TRIED_AT_ONCE, note);
        }
        search.next.is_none()
    }

    /// How many subscriptions of our clients get a message on the channel of a finished search. Subscriptions
    /// that are not active upstream yet get none.
    pub fn receivers(&self, search: &Search) -> usize {
        let active = self.feed.are_active(search.topics());
        let registry = self.registry.lock();
        let audience = |topic: &Topic| registry.of(topic.kind).get(&topic.name).map_or(0, Audience::len);
        search
            .topics()
            .zip(active)
            .filter(|(_, is_active)| *is_active)
            .map(|(topic, _)| audience(topic))
            .sum()
    }

    /// How many of our clients are subscribed to `topic` by its very name.
    pub fn subscribers(&self, topic: &Topic) -> usize {
        self.registry.lock().of(topic.kind).get(&topic.name).map_or(0, Audience::len)
    }

    /// The names of `kind` that our clients are subscribed to and that match `pattern`, if there is one.
    pub fn names(&self, kind: TopicKind, pattern: Option<&[u8]>) -> Vec<Bytes> {
        let registry = self.registry.lock();
        let names = registry.of(kind).keys();
        names.filter(|name| pattern.is_none_or(|pattern| glob::matches(pattern, name))).cloned().collect()
    }

    /// How many patterns that begin with `prefix` our clients are subscribed to.
    pub fn patterns_below(&self, prefix: &[u8]) -> usize {
        let registry = self.registry.lock();
        let from = registry.patterns.range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded));
        from.take_while(|(name, _)| name.starts_with(prefix)).count()
    }

    /// How many there are of everything.
    pub fn sizes(&self) -> SubscriptionCounts {
        let registry = self.registry.lock();
        SubscriptionCounts {
            channels: registry.channels.len(),
            patterns: registry.patterns.len(),
            shard_channels: registry.shards.len(),
            clients: registry.clients.len(),
        }
    }

    /// Hands a message to every client that is subscribed to `topic`.
    fn hand_out(&self, topic: &Topic, message: &Bytes) {
        let mut after = 0;
        loop {
            let registry = self.registry.lock();
            let Some(audience) = registry.of(topic.kind).get(&topic.name) else { return };
            let mut count = 0;
            for client in audience.after(after).take(HANDED_OUT_AT_ONCE) {
                client.mailbox.put_within(Mail::Now(message.clone()), self.waiting_bytes_max);
                after = client.id;
                count += 1;
            }
            drop(registry);
            self.stats.pubsub_messages.add(count as u64);
            if count < HANDED_OUT_AT_ONCE {
                return;
            }
            std::thread::yield_now();
        }
    }
}

// === impl Search ===

impl Search {
    /// What gets the messages of the channel: the patterns that were found, and the channel itself.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.found.iter().chain([&self.channel])
    }
}
