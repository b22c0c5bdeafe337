//! Publish and subscribe for all clients of the daemon: who wants which messages, and handing them out.
//!
//! Upstream each channel or pattern is subscribed to once, whatever the number of clients. A message is one piece of
//! memory for all who get it. A client is among the subscribers as soon as it asks to be, so that it misses nothing; what
//! comes before the confirmation is kept behind it by its session. Whoever ends a subscription is taken out first and
//! gets the confirmation after that, so that no message comes behind it.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::clients::Client;
use crate::glob::{self, Patterns, Place};
use crate::mailbox::Mail;
use crate::stats::WorkerStats;
use crate::upstream::{Feed, Kind, Topic, Wanted};

/// A message is handed to so many clients before others may subscribe or leave: none of them waits for long.
const HANDED_OUT_AT_ONCE: usize = 128;

/// So many patterns are tried on the name of a channel before others get their turn.
const TRIED_AT_ONCE: usize = 128;

/// Who is subscribed to what.
#[derive(Debug)]
pub struct Hub {
    feed: Arc<Feed>,
    registry: Mutex<Registry>,
    /// Bytes of messages that may wait for one client's session.
    waiting_bytes_max: usize,
    stats: Arc<WorkerStats>,
}

#[derive(Debug, Default)]
struct Registry {
    channels: HashMap<Bytes, Audience>,
    patterns: HashMap<Bytes, Audience>,
    shards: HashMap<Bytes, Audience>,
    /// The names of `patterns`, by what they match.
    by_match: Patterns,
    /// How many subscriptions each client has that has any.
    clients: HashMap<u64, usize>,
}

/// The subscribers of one channel or pattern.
#[derive(Debug)]
struct Audience {
    clients: BTreeMap<u64, Arc<Client>>,
    /// Keeps the subscription upstream.
    _wanted: Option<Wanted>,
}

/// A search for the patterns that match the name of a channel.
#[derive(Debug)]
pub struct Search {
    channel: Topic,
    /// Where it goes on, if it is not over.
    next: Option<Place>,
    /// Those that match.
    found: Vec<Topic>,
}

/// How many there are, for INFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
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
    /// A hub for what `feed` brings in, that lets so many bytes wait for one client's session.
    pub fn new(feed: Arc<Feed>, waiting_bytes_max: usize, stats: Arc<WorkerStats>) -> Arc<Hub> {
        Arc::new(Hub { feed, registry: Mutex::default(), waiting_bytes_max, stats })
    }

    /// Brings messages in and hands them out, for as long as it is polled.
    pub async fn run(self: Arc<Hub>) {
        let feed = self.feed.clone();
        feed.run(Box::new(move |topic, message| self.hand_out(topic, message))).await;
    }

    /// What is subscribed to upstream.
    pub fn feed(&self) -> &Arc<Feed> {
        &self.feed
    }

    /// Adds `client` to the subscribers of `topics`, none of which it was subscribed to and all of which are wanted.
    pub fn subscribe(&self, client: &Arc<Client>, topics: &[Topic]) {
        let mut registry = self.registry();
        for topic in topics {
            let audience =
                registry.of_mut(topic.kind).entry(topic.name.clone()).or_insert_with(|| Audience {
                    clients: BTreeMap::new(),
                    // Whoever subscribes wants it already, so this is not one more.
                    _wanted: self.feed.want(vec![topic.clone()]),
                });
            audience.clients.insert(client.id, client.clone());
            if topic.kind == Kind::Pattern {
                registry.by_match.insert(topic.name.clone());
            }
        }
        if !topics.is_empty() {
            *registry.clients.entry(client.id).or_default() += topics.len();
        }
    }

    /// Takes `client` out of the subscribers of `topics`, all of which it was subscribed to. No message comes to it
    /// after this.
    pub fn unsubscribe(&self, client: &Client, topics: &[Topic]) {
        let mut ended = Vec::new();
        let mut registry = self.registry();
        for topic in topics {
            let audiences = registry.of_mut(topic.kind);
            let Some(audience) = audiences.get_mut(&topic.name) else { continue };
            audience.clients.remove(&client.id);
            if audience.clients.is_empty() {
                ended.extend(audiences.remove(&topic.name));
                if topic.kind == Kind::Pattern {
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
        // Nobody has to wait until the feed knows.
        drop(ended);
    }

    /// Begins to look which patterns of our clients get what is published on `channel`.
    pub fn search(&self, channel: &Topic) -> Search {
        let sharded = channel.kind == Kind::Shard;
        Search { channel: channel.clone(), next: (!sharded).then(Place::default), found: Vec::new() }
    }

    /// Tries some more patterns, so few that nobody waits for long; whether all were tried.
    pub fn go_on(&self, search: &mut Search) -> bool {
        if let Some(from) = search.next.take() {
            let (name, found) = (&search.channel.name, &mut search.found);
            let note = |pattern: &Bytes| found.push(Topic::new(Kind::Pattern, pattern.clone()));
            search.next = self.registry().by_match.search(name, from, TRIED_AT_ONCE, note);
        }
        search.next.is_none()
    }

    /// How many subscriptions of our clients get what is published on the channel of a search that is over. Those that do
    /// not stand upstream yet get nothing.
    pub fn receivers(&self, search: &Search) -> usize {
        let standing = self.feed.standing(search.topics());
        let registry = self.registry();
        let audience =
            |topic: &Topic| registry.of(topic.kind).get(&topic.name).map_or(0, |it| it.clients.len());
        search.topics().zip(standing).filter(|(_, stands)| *stands).map(|(topic, _)| audience(topic)).sum()
    }

    /// How many of our clients are subscribed to `topic` by its very name.
    pub fn subscribers(&self, topic: &Topic) -> usize {
        self.registry().of(topic.kind).get(&topic.name).map_or(0, |audience| audience.clients.len())
    }

    /// The names of `kind` that our clients are subscribed to and that match `pattern`, if there is one.
    pub fn names(&self, kind: Kind, pattern: Option<&[u8]>) -> Vec<Bytes> {
        let registry = self.registry();
        let names = registry.of(kind).keys();
        names.filter(|name| pattern.is_none_or(|pattern| glob::matches(pattern, name))).cloned().collect()
    }

    /// How many there are of everything.
    pub fn sizes(&self) -> Sizes {
        let registry = self.registry();
        Sizes {
            channels: registry.channels.len(),
            patterns: registry.patterns.len(),
            shard_channels: registry.shards.len(),
            clients: registry.clients.len(),
        }
    }

    /// Hands a message to everybody who is subscribed to `topic`.
    fn hand_out(&self, topic: &Topic, message: &Bytes) {
        let mut after = Bound::Unbounded;
        loop {
            let registry = self.registry();
            let Some(audience) = registry.of(topic.kind).get(&topic.name) else { return };
            let mut count = 0;
            for (id, client) in audience.clients.range((after, Bound::Unbounded)).take(HANDED_OUT_AT_ONCE) {
                client.mailbox.put_within(Mail::Now(message.clone()), self.waiting_bytes_max);
                after = Bound::Excluded(*id);
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

    /// Nobody panics while holding it; if somebody does, what is in it is still whole.
    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Search ===

impl Search {
    /// What gets the messages of the channel: the patterns that were found, and the channel itself.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.found.iter().chain([&self.channel])
    }
}

// === impl Registry ===

impl Registry {
    fn of(&self, kind: Kind) -> &HashMap<Bytes, Audience> {
        match kind {
            Kind::Channel => &self.channels,
            Kind::Pattern => &self.patterns,
            Kind::Shard => &self.shards,
        }
    }

    fn of_mut(&mut self, kind: Kind) -> &mut HashMap<Bytes, Audience> {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
            Kind::Shard => &mut self.shards,
        }
    }
}
