//! The subscribers of each channel and pattern.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use crate::clients::Client;
use crate::protocol::command::TopicKind;
use crate::protocol::glob::Patterns;

/// All subscribers, in trees: a tree gives its memory back when many have gone.
#[derive(Debug, Default)]
pub(super) struct Registry {
    pub(super) channels: BTreeMap<Bytes, Audience>,
    pub(super) patterns: BTreeMap<Bytes, Audience>,
    pub(super) shards: BTreeMap<Bytes, Audience>,
    /// The names of `patterns`, by what they match.
    pub(super) by_match: Patterns,
    /// How many subscriptions each client has that has any.
    pub(super) clients: BTreeMap<u64, usize>,
}

/// The subscribers of one channel or pattern. Most have one alone, which takes no table.
#[derive(Debug)]
pub(super) enum Audience {
    One(Arc<Client>),
    /// By their ids.
    Many(BTreeMap<u64, Arc<Client>>),
}

// === impl Audience ===

impl Audience {
    /// How many clients there are.
    pub(super) fn len(&self) -> usize {
        match self {
            Audience::One(_) => 1,
            Audience::Many(clients) => clients.len(),
        }
    }

    /// Adds a client.
    pub(super) fn add(&mut self, client: &Arc<Client>) {
        if let Audience::One(first) = self {
            *self = Audience::Many(BTreeMap::from([(first.id, first.clone())]));
        }
        if let Audience::Many(clients) = self {
            clients.insert(client.id, client.clone());
        }
    }

    /// Removes a client, and returns whether another one is left.
    pub(super) fn remove(&mut self, id: u64) -> bool {
        match self {
            Audience::One(client) => client.id != id,
            Audience::Many(clients) => {
                clients.remove(&id);
                !clients.is_empty()
            }
        }
    }

    /// The clients with larger ids than `id`, by their ids.
    pub(super) fn after(&self, id: u64) -> impl Iterator<Item = &Arc<Client>> {
        let (one, many) = match self {
            Audience::One(client) => (Some(client), None),
            Audience::Many(clients) => (None, Some(clients)),
        };
        let many =
            many.into_iter().flat_map(move |clients| clients.range((Bound::Excluded(id), Bound::Unbounded)));
        one.into_iter().filter(move |client| client.id > id).chain(many.map(|(_, client)| client))
    }
}

// === impl Registry ===

impl Registry {
    /// The subscribers to topics of `kind`, by name.
    pub(super) fn of(&self, kind: TopicKind) -> &BTreeMap<Bytes, Audience> {
        match kind {
            TopicKind::Channel => &self.channels,
            TopicKind::Pattern => &self.patterns,
            TopicKind::Shard => &self.shards,
        }
    }

    /// The subscribers to topics of `kind`, by name.
    pub(super) fn of_mut(&mut self, kind: TopicKind) -> &mut BTreeMap<Bytes, Audience> {
        match kind {
            TopicKind::Channel => &mut self.channels,
            TopicKind::Pattern => &mut self.patterns,
            TopicKind::Shard => &mut self.shards,
        }
    }
}
