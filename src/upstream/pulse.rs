//! The heartbeat of an upstream connection: what is asked while it is quiet or not, and what the answer means.
//!
//! A primary that is cut off with us in a minority goes on answering PING while its slots are served elsewhere, so a
//! cluster node is asked for `CLUSTER INFO`, and a server that sentinels watch for its `ROLE`.

use bytes::Bytes;

use crate::resp::encode;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heartbeat {
    /// `CLUSTER INFO`: the state and epoch of the cluster as this node sees them.
    ClusterInfo,
    /// `ROLE`: whether the server is still a master.
    Role,
    /// `PING`: whether the server answers.
    Ping,
}

/// What the answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pulse {
    /// The node serves what it owns. In a cluster, `epoch` changes with every failover and finished slot migration.
    Healthy { epoch: u64 },
    /// What the node says cannot be relied on; why.
    Sick(String),
}

// === impl Heartbeat ===

impl Heartbeat {
    /// The request.
    pub(super) fn request(self) -> Bytes {
        match self {
            Heartbeat::ClusterInfo => encode::request(&["CLUSTER", "INFO"]),
            Heartbeat::Role => encode::request(&["ROLE"]),
            Heartbeat::Ping => encode::request(&["PING"]),
        }
    }

    /// What the reply to it means.
    pub(super) fn read(self, reply: &[u8]) -> Pulse {
        match self {
            Heartbeat::ClusterInfo => read_cluster_info(reply),
            Heartbeat::Role
                if reply.starts_with(b"*") && reply[1..].starts_with(b"3\r\n$6\r\nmaster\r\n") =>
            {
                Pulse::Healthy { epoch: 0 }
            }
            Heartbeat::Ping if reply == b"+PONG\r\n" => Pulse::Healthy { epoch: 0 },
            Heartbeat::Role | Heartbeat::Ping => sick(reply),
        }
    }
}

fn read_cluster_info(reply: &[u8]) -> Pulse {
    let text = String::from_utf8_lossy(reply);
    let field = |name: &str| text.lines().find_map(|line| line.trim_start_matches("txt:").strip_prefix(name));
    match (field("cluster_state:"), field("cluster_current_epoch:").map(str::parse)) {
        (Some("ok"), Some(Ok(epoch))) => Pulse::Healthy { epoch },
        (Some(state), _) if state != "ok" => Pulse::Sick(format!("cluster_state:{state}")),
        _ => sick(reply),
    }
}

fn sick(reply: &[u8]) -> Pulse {
    let first_line = reply.split(|byte| *byte == b'\r').next().unwrap_or_default();
    Pulse::Sick(format!("unexpected heartbeat reply {}", first_line.escape_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heartbeats_are_understood() {
        let info =
            b"=66\r\ntxt:cluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_current_epoch:6\r\n\r\n";
        assert_eq!(Heartbeat::ClusterInfo.read(info), Pulse::Healthy { epoch: 6 });
        let fail = b"$43\r\ncluster_state:fail\r\ncluster_current_epoch:6\r\n\r\n";
        assert_eq!(Heartbeat::ClusterInfo.read(fail), Pulse::Sick("cluster_state:fail".into()));
        assert!(matches!(Heartbeat::ClusterInfo.read(b"-ERR no\r\n"), Pulse::Sick(_)));
        assert_eq!(Heartbeat::Ping.read(b"+PONG\r\n"), Pulse::Healthy { epoch: 0 });
        assert!(matches!(Heartbeat::Ping.read(b"-LOADING\r\n"), Pulse::Sick(_)));
        assert_eq!(Heartbeat::Role.read(b"*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"), Pulse::Healthy { epoch: 0 });
        assert!(matches!(Heartbeat::Role.read(b"*5\r\n$5\r\nslave\r\n"), Pulse::Sick(_)));
    }
}
