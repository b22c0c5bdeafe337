//! The kind of server that is expected at the other end of a connection. HELLO names the actual kind.
//!
//! The address of a node may belong to another server by now. A server without a cluster refuses no slot, so
//! it would execute the commands for the node.

use super::heartbeat::Heartbeat;
use crate::protocol::resp::cursor;
use crate::upstream::truncate;

/// What is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::upstream) enum ExpectedReplies {
    /// A single server, which the configuration names.
    Server,
    /// The primary that the Sentinels name.
    Primary,
    /// A node of a cluster.
    Node,
    /// A Sentinel.
    Sentinel,
}

// === impl ExpectedReplies ===

impl ExpectedReplies {
    /// What is expected where connections are confirmed so.
    pub(in crate::upstream) fn of_heartbeat(heartbeat: Heartbeat) -> ExpectedReplies {
        match heartbeat {
            Heartbeat::ClusterInfo => ExpectedReplies::Node,
            Heartbeat::Role => ExpectedReplies::Primary,
            Heartbeat::Ping => ExpectedReplies::Server,
        }
    }

    /// Compares the expected kind with the kind in `hello`, the reply of the server at `address`. A server
    /// that names no kind is accepted.
    ///
    /// # Errors Another kind of server is there; the text names its kind and the expected one.
    pub(in crate::upstream) fn compare(self, hello: &[u8], address: &str) -> Result<(), String> {
        let Some(mode) = cursor::field(hello, b"mode").and_then(cursor::text) else { return Ok(()) };
        let is_right = match self {
            ExpectedReplies::Node => mode == b"cluster",
            ExpectedReplies::Sentinel => mode == b"sentinel",
            ExpectedReplies::Server | ExpectedReplies::Primary => mode != b"cluster" && mode != b"sentinel",
        };
        if is_right {
            return Ok(());
        }
        let met = match mode {
            b"cluster" => "a node of a cluster".to_owned(),
            b"sentinel" => "a Sentinel".to_owned(),
            mode => format!("no node of a cluster and no Sentinel (mode {})", truncate::cut(mode)),
        };
        let address = if address.starts_with('/') { "HOST:PORT" } else { address };
        Err(match self {
            ExpectedReplies::Server if mode == b"cluster" => {
                format!("it is {met}: the upstream must be redis-cluster://{address}")
            }
            ExpectedReplies::Server => {
                format!("it is {met}: the upstream must be redis-sentinel://{address}/SERVICE")
            }
            ExpectedReplies::Primary => {
                format!("it is {met}, and the primary that the Sentinels tell of is expected there")
            }
            ExpectedReplies::Node => format!(
                "it is {met}, and a node of the cluster is expected there; redis://HOST:PORT is the form for one server \
                 that is no cluster"
            ),
            ExpectedReplies::Sentinel => format!("it is {met}, and a Sentinel is expected there"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_kind_of_server_is_told_by_its_mode() {
        let hello =
            |mode: &str| format!("%2\r\n$2\r\nid\r\n:7\r\n$4\r\nmode\r\n${}\r\n{mode}\r\n", mode.len());
        let (node, sentinel, alone) = ("cluster", "sentinel", "standalone");
        let right = [
            (ExpectedReplies::Server, alone),
            (ExpectedReplies::Server, "proxy"),
            (ExpectedReplies::Primary, alone),
            (ExpectedReplies::Node, node),
            (ExpectedReplies::Sentinel, sentinel),
        ];
        for (expected, mode) in right {
            assert_eq!(expected.compare(hello(mode).as_bytes(), "a:1"), Ok(()), "{expected:?} {mode}");
            assert_eq!(expected.compare(b"%1\r\n$2\r\nid\r\n:7\r\n", "a:1"), Ok(()), "it does not say");
        }
        let wrong = [
            (
                ExpectedReplies::Server,
                node,
                "it is a node of a cluster: the upstream must be redis-cluster://a:1",
            ),
            (
                ExpectedReplies::Server,
                sentinel,
                "it is a Sentinel: the upstream must be redis-sentinel://a:1/SERVICE",
            ),
            (ExpectedReplies::Primary, node, "the primary that the Sentinels tell of is expected"),
            (ExpectedReplies::Primary, sentinel, "it is a Sentinel, and the primary"),
            (ExpectedReplies::Node, alone, "(mode standalone), and a node of the cluster is expected"),
            (ExpectedReplies::Node, sentinel, "it is a Sentinel, and a node"),
            (ExpectedReplies::Node, "clusterx", "(mode clusterx), and a node"),
            (ExpectedReplies::Sentinel, alone, "a Sentinel is expected"),
            (ExpectedReplies::Sentinel, node, "a Sentinel is expected"),
        ];
        for (expected, mode, text) in wrong {
            let said = expected.compare(hello(mode).as_bytes(), "a:1").unwrap_err();
            assert!(said.contains(text), "{expected:?} {mode}: {said}");
        }
    }
}
