//! Dedicated connections that no session uses at present.

use std::cell::RefCell;
use std::collections::HashMap;

use super::link::DedicatedLink;
use crate::clock::{self, Nanos};
use crate::node::NodeId;
use crate::upstream::options::UpstreamOptions;

/// The idle connections of one worker, by node. The latest is taken first, so that surplus ones grow old.
#[derive(Debug, Default)]
pub(in crate::upstream) struct Idle(RefCell<HashMap<NodeId, Vec<IdleConnection>>>);

#[derive(Debug)]
struct IdleConnection {
    link: DedicatedLink,
    since: Nanos,
}

// === impl Idle ===

impl Idle {
    /// A connection to `node` that is as it was left: one on which anything came since, if only its end, is
    /// closed.
    pub(in crate::upstream) fn take(&self, node: &NodeId) -> Option<DedicatedLink> {
        let mut links = self.0.borrow_mut();
        let of_node = links.get_mut(node)?;
        std::iter::from_fn(|| of_node.pop()).map(|kept| kept.link).find(|link| link.transport.is_quiet())
    }

    /// Keeps a connection, unless there are enough.
    pub(in crate::upstream) fn put(&self, link: DedicatedLink, options: &UpstreamOptions) {
        let mut links = self.0.borrow_mut();
        let of_node = links.entry(link.node.clone()).or_default();
        if of_node.len() < options.dedicated_idle_max && link.transport.is_quiet() {
            of_node.push(IdleConnection { link, since: clock::now() });
        }
    }

    /// Closes those to `node`, on which one can no longer rely.
    pub(in crate::upstream) fn forget(&self, node: &NodeId) {
        self.0.borrow_mut().remove(node);
    }

    /// Closes those that have been idle for too long, that their node closed, and whose node is not `wanted`
    /// any more.
    pub(in crate::upstream) fn tend(&self, options: &UpstreamOptions, wanted: impl Fn(&NodeId) -> bool) {
        let oldest = clock::now().saturating_sub(clock::nanos(options.dedicated_idle_timeout));
        self.0.borrow_mut().retain(|node, links| {
            links.retain(|kept| kept.since > oldest && kept.link.transport.is_quiet());
            !links.is_empty() && wanted(node)
        });
    }
}
