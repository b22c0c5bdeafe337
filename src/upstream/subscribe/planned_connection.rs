//! A subscribing connection as the plan sees it: what was sent on it, and what is still to be sent.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Notify;

use super::topic::Topic;
use crate::clock::Nanos;

/// The phase of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum SubscribePhase {
    /// Not begun yet.
    #[default]
    New,
    /// Connecting, for the first time or again.
    Connecting,
    /// Connected.
    Up,
    /// Not connected, for this reason.
    Down(String),
}

/// A connection as the plan sees it.
#[derive(Debug, Default)]
pub(super) struct PlannedConnection {
    pub(super) phase: SubscribePhase,
    pub(super) held: BTreeMap<Topic, SentTopics>,
    /// What may have to be subscribed to or given up.
    pub(super) dirty: BTreeSet<Topic>,
    /// What the node refused; it is asked again after a while.
    pub(super) again: BTreeSet<Topic>,
    /// What was refused together: to know which of it is meant, each goes in a command of its own.
    pub(super) one_by_one: BTreeSet<Topic>,
    pub(super) in_flight: VecDeque<SentBatch>,
    pub(super) batches: u64,
    pub(super) wake: Arc<Notify>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SentTopics {
    /// Asked for in the batch of this number.
    Asked(u64),
    Active,
}

/// A command and the question behind it: what comes before the answer to the question is about the command.
#[derive(Debug)]
pub(super) struct SentBatch {
    pub(super) number: u64,
    /// Whether it subscribes; otherwise it unsubscribes, or it is a PING alone.
    pub(super) subscribes: bool,
    pub(super) topics: Vec<Topic>,
    pub(super) error: Option<Bytes>,
    pub(super) sent_at: Nanos,
}

// === impl PlannedConnection ===

impl PlannedConnection {
    pub(super) fn look_at(&mut self, topic: &Topic) {
        self.dirty.insert(topic.clone());
        self.wake.notify_one();
    }

    /// Forgets `topic`, which no client wants any more, unless the node was asked for it.
    pub(super) fn forget(&mut self, topic: &Topic) {
        self.again.remove(topic);
        if !self.held.contains_key(topic) {
            self.dirty.remove(topic);
            self.one_by_one.remove(topic);
        }
    }

    pub(super) fn begin_batch(&mut self, subscribes: bool, topics: Vec<Topic>, sent_at: Nanos) -> u64 {
        self.batches += 1;
        self.in_flight.push_back(SentBatch {
            number: self.batches,
            subscribes,
            topics,
            error: None,
            sent_at,
        });
        self.batches
    }
}
