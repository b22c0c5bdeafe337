//! The nodes of the upstream, numbered in the order in which they were first named.
//!
//! A number is never given to another node: what still holds the number of a node that is gone, a command in
//! flight or a scan cursor, cannot mean a node that came later.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::node::NodeId;

/// The number of a node in the table. The numbers do not run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeIndex(NonZeroU64);

/// A node that the upstream names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEntry {
    /// The address.
    pub node: NodeId,
    /// The id that it keeps in its cluster for life. A server without a cluster has none.
    pub id: Option<Arc<str>>,
}

/// The nodes that were named and not forgotten, by number and by address.
#[derive(Debug, Default)]
pub(super) struct NodeNumbers {
    nodes: BTreeMap<NodeIndex, KnownNode>,
    numbers: HashMap<NodeId, NodeIndex>,
    /// How many numbers were given out.
    given: u64,
}

#[derive(Debug)]
struct KnownNode {
    node: NodeId,
    /// Whether it was no part of the upstream at the last check, and its number was not asked for since.
    is_gone: bool,
}

/// What holds the name of a node here: its number and its address.
const OWN_HOLDERS: usize = 2;

// === impl NodeNumbers ===

impl NodeNumbers {
    /// The node with this number, if it is not forgotten.
    pub(super) fn node(&self, index: NodeIndex) -> Option<NodeId> {
        self.nodes.get(&index).map(|known| known.node.clone())
    }

    /// How many nodes have a number.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The number of `node`, which gets one if it is new.
    pub(super) fn index_of(&mut self, node: &NodeId) -> NodeIndex {
        if let Some(index) = self.numbers.get(node) {
            if let Some(known) = self.nodes.get_mut(index) {
                known.is_gone = false;
            }
            return *index;
        }
        let index = NodeIndex(NonZeroU64::MIN.saturating_add(self.given));
        self.given += 1;
        self.nodes.insert(index, KnownNode { node: node.clone(), is_gone: false });
        self.numbers.insert(node.clone(), index);
        index
    }

    /// Forgets the nodes that were no part of the upstream at this check and the last one, as soon as nothing
    /// else holds their name: neither a connection nor its status. The two checks are apart, so a caller that
    /// asked for a number a moment ago has the name by then.
    pub(super) fn forget(&mut self, is_part: impl Fn(NodeIndex, &NodeId) -> bool) {
        let numbers = &mut self.numbers;
        self.nodes.retain(|index, known| {
            let is_gone = !is_part(*index, &known.node);
            let was_gone = std::mem::replace(&mut known.is_gone, is_gone);
            let keeps = !(is_gone && was_gone) || known.node.holders() > OWN_HOLDERS;
            if !keeps {
                numbers.remove(&known.node);
            }
            keeps
        });
    }
}

// === impl NodeIndex ===

impl NodeIndex {
    /// The owner that a place of the table names.
    #[inline]
    pub(super) fn read(owner: &AtomicU64) -> Option<NodeIndex> {
        NonZeroU64::new(owner.load(Ordering::Acquire)).map(NodeIndex)
    }

    /// The number as a place of the table holds it; never 0.
    pub(super) fn get(self) -> u64 {
        self.0.get()
    }
}
