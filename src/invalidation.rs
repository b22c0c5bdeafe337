//! What may have become stale: a value that is handed to the near cache and the trackers.

use bytes::Bytes;

use crate::protocol::key::Slot;

/// A part of the keyspace whose cached replies must not be served any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invalidation {
    /// These keys changed: a push named them, or a client of ours is writing them.
    Keys(Vec<Bytes>),
    /// These slots have another owner than before, or are on the way to one.
    Slots(Vec<Slot>),
    /// Everything that was read from one node: its connection was lost or cannot be trusted, or the node
    /// forgot what it tracks. Entries of L1 carry the epoch of that connection, which has ended already.
    Node,
    /// Everything: a client of ours flushed it, or ran what may have written anything.
    All,
}
