//! The identity of the node at the other end of a connection: a node of a cluster keeps its id for life, even
//! if its address changes.
//!
//! An address may be given to another node, even to one of another cluster, which would execute commands as
//! well. So each connection asks for the id before any command, and compares it with the id in the topology.
//! If the node refuses that for good, it is accepted: the answer to HELLO has shown that it is a node of a
//! cluster.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::heartbeat::Heartbeat;
use crate::node::NodeId;
use crate::protocol::resp::cursor::{self, ReplyHead};
use crate::protocol::resp::encode;
use crate::upstream::shared::SharedUpstream;
use crate::upstream::truncate;

/// The node that a connection is meant to reach.
#[derive(Clone, Copy, Debug)]
pub(in crate::upstream) struct ExpectedNode<'a> {
    /// The address.
    pub(in crate::upstream) node: &'a NodeId,
    /// The topology, and the chain of nearsides.
    pub(in crate::upstream) shared: &'a SharedUpstream,
}

// === impl ExpectedNode ===

impl ExpectedNode<'_> {
    /// The request for the id, if the expected server has one.
    pub(in crate::upstream) fn question(heartbeat: Heartbeat) -> Option<Bytes> {
        (heartbeat == Heartbeat::ClusterInfo).then(|| encode::request(&["CLUSTER", "MYID"]))
    }

    /// The id of the node, if it has answered with one.
    ///
    /// # Errors The node is not the one in the topology, which is then requested again, or does not say its
    /// id at present.
    pub(in crate::upstream) fn recognise(self, reply: &[u8]) -> io::Result<Option<Arc<str>>> {
        if let Some(error) = truncate::error_text(reply) {
            if is_final(reply) {
                return Ok(None);
            }
            self.shared.attempt_failed();
            let text = format!("it does not say which node of the cluster it is: {error}");
            return Err(io::Error::other(text));
        }
        let Some(id) = said(reply) else { return Ok(None) };
        match self.shared.table.conflicting_id(self.node, &id) {
            None => Ok(Some(id)),
            Some(meant) => {
                self.shared.attempt_failed();
                Err(io::Error::other(format!(
                    "another node is at this address, {}, and the topology means {}; it is asked for anew",
                    truncate::cut(id.as_bytes()),
                    truncate::cut(meant.as_bytes())
                )))
            }
        }
    }
}

/// Whether an error would be the answer as long as the connection lives: the user upstream has no right to
/// ask, or the server, as of a managed service, does not know the command. The error of a node that runs a
/// script is not final in this sense, but it is accepted: the command that ends the script has to get there.
/// A server without cluster support is not a node of a cluster.
fn is_final(error: &[u8]) -> bool {
    let says = |words: &[u8]| memchr::memmem::find(error, words).is_some();
    error.starts_with(b"-NOPERM")
        || error.starts_with(b"-BUSY ")
        || error.starts_with(b"-ERR") && !says(b"cluster support disabled")
}

/// The id in a reply to the question.
fn said(reply: &[u8]) -> Option<Arc<str>> {
    match cursor::head(reply)? {
        ReplyHead::Blob { kind: b'$', body } => {
            std::str::from_utf8(body).ok().filter(|id| !id.is_empty()).map(Arc::from)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::topology::node_numbers::NodeEntry;

    #[test]
    fn another_node_than_the_topology_means_is_noticed_and_the_topology_asked() {
        let (shared, node, unknown) = (SharedUpstream::default(), NodeId::new("a:1"), NodeId::new("b:1"));
        let table = &shared.table;
        let member = NodeEntry { node: node.clone(), id: Some("id".into()) };
        let nameless = NodeEntry { node: NodeId::new("c:1"), id: None };
        table.replace(&[(0..=9, node.clone())], &[member, nameless.clone()], 0);
        let recognise = |node: &NodeId, reply: &[u8]| {
            ExpectedNode { node, shared: &shared }.recognise(reply).map_err(|error| error.to_string())
        };
        assert_eq!(recognise(&node, b"$2\r\nid\r\n"), Ok(Some("id".into())));
        assert_eq!(table.refresh_asked(), 0);
        let said = recognise(&node, b"$5\r\nother\r\n").unwrap_err();
        assert!(said.contains("another node is at this address, other, and the topology means id"), "{said}");
        assert_eq!(table.refresh_asked(), 1);
        // A node that does not say its id, or has none in the topology, cannot be checked.
        for reply in [
            &b"-NOPERM no\r\n"[..],
            b"-BUSY a script\r\n",
            b"-ERR unknown subcommand\r\n",
            b"-ERR command not supported\r\n",
            b"_\r\n",
            b"+OK\r\n",
            b"$0\r\n\r\n",
        ] {
            assert_eq!(recognise(&node, reply), Ok(None));
        }
        for node in [&unknown, &nameless.node] {
            assert_eq!(recognise(node, b"$5\r\nother\r\n"), Ok(Some("other".into())));
        }
        assert_eq!(table.refresh_asked(), 1);
        // Another time it would.
        for error in ["ERR This instance has cluster support disabled", "LOADING the dataset"] {
            let said = recognise(&node, format!("-{error}\r\n").as_bytes()).unwrap_err();
            assert_eq!(said, format!("it does not say which node of the cluster it is: {error}"));
        }
        assert_eq!(table.refresh_asked(), 1, "attempts that fail within a moment ask once");
    }
}
