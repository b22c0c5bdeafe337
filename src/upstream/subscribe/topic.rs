//! What can be subscribed to: a channel, a pattern, a channel of a shard.

use bytes::Bytes;

use crate::protocol::command::TopicKind;
use crate::protocol::glob;

/// What can be subscribed to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic {
    /// What the name names.
    pub kind: TopicKind,
    /// The channel or pattern.
    pub name: Bytes,
}

// === impl Topic ===

impl Topic {
    /// The channel or pattern `name`.
    pub fn new(kind: TopicKind, name: Bytes) -> Topic {
        Topic { kind, name }
    }

    /// Whether it gets what is published on `channel`.
    pub(super) fn gets(&self, channel: &Topic) -> bool {
        match self.kind {
            TopicKind::Pattern => {
                channel.kind == TopicKind::Channel && glob::matches(&self.name, &channel.name)
            }
            TopicKind::Channel | TopicKind::Shard => self == channel,
        }
    }
}
