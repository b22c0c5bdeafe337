//! Whether a map belongs to our cluster. An address may be given to another server, but a node keeps its id
//! for life: a map that names none of the known nodes belongs to another cluster.

use std::collections::HashSet;
use std::sync::Arc;

use super::map::SlotMap;

/// The cluster as it was believed last.
#[derive(Debug, Default)]
pub(super) struct ClusterIdentity {
    ids: HashSet<Arc<str>>,
}

// === impl ClusterIdentity ===

impl ClusterIdentity {
    /// Whether `map` belongs to this cluster, as far as is known: no map was believed before, or the nodes
    /// had no ids, or one of them is still there.
    pub(super) fn includes(&self, map: &SlotMap) -> bool {
        self.ids.is_empty() || map.ids().any(|id| self.ids.contains(id))
    }

    /// `map` is believed.
    pub(super) fn believe(&mut self, map: &SlotMap) {
        self.ids = map.ids().cloned().collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::NodeId;
    use crate::upstream::topology::node_numbers::NodeEntry;

    fn map(ids: &[&str]) -> SlotMap {
        let member = |(place, id): (usize, &&str)| {
            let id = (!id.is_empty()).then(|| Arc::from(*id));
            NodeEntry { node: NodeId::new(format!("10.0.0.{place}:6379")), id }
        };
        SlotMap { owned: Vec::new(), members: ids.iter().enumerate().map(member).collect() }
    }

    #[test]
    fn one_node_that_was_known_makes_a_map_ours_wherever_it_is() {
        let mut identity = ClusterIdentity::default();
        assert!(identity.includes(&map(&["a", "b"])), "nothing was known");
        identity.believe(&map(&["a", "b", "c"]));
        assert!(identity.includes(&map(&["x", "y", "c"])));
        assert!(!identity.includes(&map(&["x", "y", "z"])), "the same addresses, other nodes");
        assert!(!identity.includes(&map(&["", "", ""])), "who does not say is not known");
        identity.believe(&map(&["x", "y", "c"]));
        assert!(!identity.includes(&map(&["a", "b"])), "what is compared with is the latest");
        identity.believe(&map(&["", ""]));
        assert!(identity.includes(&map(&["x"])), "servers without ids cannot be told apart");
    }
}
