//! The heartbeat of an upstream connection: the request that is sent again and again, and what its answer
//! means.
//!
//! A primary that is cut off with us in a minority still answers PING while other nodes serve its slots, so a
//! cluster node is asked for `CLUSTER INFO`. A server that Sentinels watch is asked for its role with HELLO,
//! which every user may send, unlike ROLE.
//!
//! A node that refuses the heartbeat to the user upstream is alive: its answer comes after all earlier
//! pushes. For a single server that is enough. For a node of a cluster it means no more than a PONG, so L1 is
//! off for the node (I4): no other command about the state of the cluster is more likely to be allowed. A
//! command with a key does not help: with `cluster-allow-reads-when-down` a node that is cut off answers it,
//! and the user may have no right to any key.

use bytes::Bytes;

use crate::protocol::resp::cursor;
use crate::protocol::resp::encode;
use crate::upstream::rights::is_refusal;

/// Bytes of the answer to a heartbeat at most: a longer one ends the connection.
pub(in crate::upstream) const REPLY_BYTES_MAX: usize = 64 * 1024;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heartbeat {
    /// `CLUSTER INFO`: the state and epoch of the cluster as this node sees them.
    ClusterInfo,
    /// `HELLO`: whether the server is still a master.
    Role,
    /// `PING`: whether the server answers.
    Ping,
}

/// What the answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::upstream) enum Health {
    /// The node serves what it owns. In a cluster, `epoch` changes with every failover and finished slot
    /// migration.
    Healthy { epoch: u64 },
    /// The node is alive, and does not say to this user how the cluster is.
    Refused,
    /// What the node says cannot be relied on; why.
    Sick(String),
}

// === impl Heartbeat ===

impl Heartbeat {
    /// The request.
    pub(in crate::upstream) fn request(self) -> Bytes {
        match self {
            Heartbeat::ClusterInfo => encode::request(&["CLUSTER", "INFO"]),
            Heartbeat::Role => encode::request(&["HELLO", "3"]),
            Heartbeat::Ping => encode::request(&["PING"]),
        }
    }

    /// What the reply to it means.
    pub(in crate::upstream) fn read(self, reply: &[u8]) -> Health {
        match self {
            Heartbeat::ClusterInfo if is_refusal(reply) => Health::Refused,
            Heartbeat::ClusterInfo => read_cluster_info(reply),
            Heartbeat::Role
                if cursor::field(reply, b"role").is_some_and(|role| role == b"$6\r\nmaster\r\n") =>
            {
                Health::Healthy { epoch: 0 }
            }
            Heartbeat::Ping if reply == b"+PONG\r\n" || is_refusal(reply) => Health::Healthy { epoch: 0 },
            Heartbeat::Role | Heartbeat::Ping => unhealthy(reply),
        }
    }
}

/// Whether the reply to [`Heartbeat::Role`] says that the server is a replica.
pub(in crate::upstream) fn is_replica(reply: &[u8]) -> bool {
    cursor::field(reply, b"role").is_some_and(|role| role == b"$7\r\nreplica\r\n")
}

fn read_cluster_info(reply: &[u8]) -> Health {
    let text = String::from_utf8_lossy(reply);
    let field = |name: &str| text.lines().find_map(|line| line.trim_start_matches("txt:").strip_prefix(name));
    match (field("cluster_state:"), field("cluster_current_epoch:").map(str::parse)) {
        (Some("ok"), Some(Ok(epoch))) => Health::Healthy { epoch },
        (Some(state), _) if state != "ok" => Health::Sick(format!("cluster_state:{state}")),
        _ => unhealthy(reply),
    }
}

fn unhealthy(reply: &[u8]) -> Health {
    let first_line = reply.split(|byte| *byte == b'\r').next().unwrap_or_default();
    Health::Sick(format!("unexpected heartbeat reply {}", first_line.escape_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heartbeats_are_understood() {
        let info =
            b"=66\r\ntxt:cluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_current_epoch:6\r\n\r\n";
        assert_eq!(Heartbeat::ClusterInfo.read(info), Health::Healthy { epoch: 6 });
        let fail = b"$43\r\ncluster_state:fail\r\ncluster_current_epoch:6\r\n\r\n";
        assert_eq!(Heartbeat::ClusterInfo.read(fail), Health::Sick("cluster_state:fail".into()));
        assert!(matches!(Heartbeat::ClusterInfo.read(b"-ERR no\r\n"), Health::Sick(_)));
        assert_eq!(Heartbeat::Ping.read(b"+PONG\r\n"), Health::Healthy { epoch: 0 });
        assert!(matches!(Heartbeat::Ping.read(b"-LOADING\r\n"), Health::Sick(_)));
        let hello =
            |role: &str| format!("%2\r\n$2\r\nid\r\n:7\r\n$4\r\nrole\r\n${}\r\n{role}\r\n", role.len());
        assert_eq!(Heartbeat::Role.read(hello("master").as_bytes()), Health::Healthy { epoch: 0 });
        assert!(matches!(Heartbeat::Role.read(hello("replica").as_bytes()), Health::Sick(_)));
        assert!(is_replica(hello("replica").as_bytes()) && !is_replica(hello("master").as_bytes()));
        let refusal = b"-NOPERM User app has no permissions to run the 'x' command\r\n";
        assert_eq!(Heartbeat::ClusterInfo.read(refusal), Health::Refused, "I4");
        assert_eq!(Heartbeat::Ping.read(refusal), Health::Healthy { epoch: 0 });
        assert!(matches!(Heartbeat::Role.read(refusal), Health::Sick(_)));
    }
}
