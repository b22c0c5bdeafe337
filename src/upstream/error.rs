//! Why a command got no reply from upstream, with the text for its client.

use std::time::Duration;

use super::conn::limits::Excess;
use crate::node::NodeId;
use crate::protocol::key::Slot;

/// An error between the daemon and the upstream. `Display` is the text of the error reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// The topology was not discovered yet.
    #[error("CLUSTERDOWN nearside: the upstream is not reachable yet: {cause}")]
    NoTopology {
        /// The error of the last attempt.
        cause: String,
    },
    /// No node owns the slot.
    #[error("CLUSTERDOWN Hash slot not served")]
    NoOwner {
        /// The slot.
        slot: Slot,
    },
    /// The node cannot be connected to. The command was not sent.
    #[error("CLUSTERDOWN nearside: node {node} is unreachable ({cause}); the command was not executed")]
    Unreachable {
        /// The node.
        node: NodeId,
        /// The error of the last attempt.
        cause: String,
    },
    /// The connection was lost after the command was sent.
    #[error(
        "ERR nearside: the connection to node {node} was lost ({cause}) before the reply; the command may or may not have been executed"
    )]
    Lost {
        /// The node.
        node: NodeId,
        /// What ended the connection.
        cause: String,
    },
    /// No reply came in time.
    #[error("ERR nearside: no reply from node {node} within {} ms (upstream_request_timeout); the command may or may not have been executed", after.as_millis())]
    TimedOut {
        /// The node.
        node: NodeId,
        /// The deadline.
        after: Duration,
    },
    /// A reply, or a request on its way to the node, came along too slowly.
    #[error(
        "ERR nearside: the reply of node {node}, or the request to it, came along too slowly ({bound}); the command may or may not have been executed"
    )]
    Slow {
        /// The node.
        node: NodeId,
        /// The name of the bound.
        bound: &'static str,
    },
    /// Too much is in flight to the node already. The command was not sent.
    #[error(
        "ERR nearside: node {node} has too many commands in flight ({bound}); the command was not executed, try again later"
    )]
    Overloaded {
        /// The node.
        node: NodeId,
        /// The name of the bound.
        bound: &'static str,
    },
    /// Too many sessions have a connection of their own already. The command was not sent.
    #[error(
        "ERR nearside: too many clients need a connection of their own upstream ({bound}); the command was not executed, try again later"
    )]
    NoDedicated {
        /// The name of the bound.
        bound: &'static str,
    },
    /// An argument exceeds a limit of the node; the text begins as in Redis. The command was not sent.
    #[error(
        "ERR Protocol error: invalid bulk length: nearside: node {node} {excess}; the command was not executed"
    )]
    TooLong {
        /// The node.
        node: NodeId,
        /// What is too large for it.
        excess: Excess,
    },
    /// A request exceeds a limit of the node. The command was not sent.
    #[error("ERR nearside: the request is too large: node {node} {excess}; the command was not executed")]
    TooLarge {
        /// The node.
        node: NodeId,
        /// What is too large for it.
        excess: Excess,
    },
    /// The nodes disagree about the owner of the slot.
    #[error(
        "CLUSTERDOWN nearside: slot {slot} was redirected more than {redirects_max} times; the cluster's nodes disagree on its owner"
    )]
    TooManyRedirects {
        /// The slot.
        slot: Slot,
        /// The bound.
        redirects_max: u8,
    },
    /// The daemon is stopping.
    #[error("ERR nearside: the daemon is shutting down; the command may or may not have been executed")]
    Stopped,
}

// === impl UpstreamError ===

impl UpstreamError {
    /// Whether nothing was executed: no node got the command, or each of them redirected it.
    pub fn is_of_unsent(&self) -> bool {
        match self {
            UpstreamError::NoTopology { .. }
            | UpstreamError::NoOwner { .. }
            | UpstreamError::Unreachable { .. }
            | UpstreamError::Overloaded { .. }
            | UpstreamError::NoDedicated { .. }
            | UpstreamError::TooLong { .. }
            | UpstreamError::TooLarge { .. }
            | UpstreamError::TooManyRedirects { .. } => true,
            UpstreamError::Lost { .. }
            | UpstreamError::TimedOut { .. }
            | UpstreamError::Slow { .. }
            | UpstreamError::Stopped => false,
        }
    }

    /// The error for a command that goes beyond a limit of `node`.
    pub(super) fn beyond(node: NodeId, excess: Excess) -> UpstreamError {
        if excess.is_of_argument() {
            UpstreamError::TooLong { node, excess }
        } else {
            UpstreamError::TooLarge { node, excess }
        }
    }
}
