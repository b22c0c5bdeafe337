//! The process that serves a node: what it held in memory is gone with it.

use std::sync::Arc;

use crate::upstream::{NodeIndex, Upstream};

/// A process that serves a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NodeInstance {
    pub(super) node: NodeIndex,
    pub(super) run_id: Arc<str>,
}

// === impl NodeInstance ===

impl NodeInstance {
    /// The process that serves `node`, as far as is known now.
    pub(super) fn of(upstream: &Upstream, node: NodeIndex) -> Option<NodeInstance> {
        Some(NodeInstance { node, run_id: upstream.run_id(node)? })
    }
}
