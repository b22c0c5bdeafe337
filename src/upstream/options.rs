//! The kind of the upstream, and the limits of its connections.

use std::sync::Arc;
use std::time::Duration;

use super::conn::heartbeat::Heartbeat;
use super::conn::login::Login;
use super::conn::transfer::TransferLimits;
use super::topology::address_map::AddressMap;

/// The kind of the upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deployment {
    /// A Redis Cluster, found through any of these nodes (`host:port`).
    Cluster {
        /// Where to ask first.
        seeds: Vec<String>,
    },
    /// A single server, at `host:port` or the path of a Unix socket.
    Single {
        /// The address.
        address: String,
    },
    /// The master of a service that these sentinels (`host:port`) watch.
    Sentinel {
        /// The sentinels.
        sentinels: Vec<String>,
        /// The name of the service.
        service: String,
    },
}

/// Everything that the upstream connections of one worker need to know.
#[derive(Clone, Debug)]
pub struct UpstreamOptions {
    /// The credentials.
    pub login: Login,
    /// The addresses of nodes that announce other ones.
    pub address_map: Arc<AddressMap>,
    /// Whether nodes are asked to track what we read: off when L1 is off.
    pub track: bool,
    /// The heartbeat of a connection.
    pub heartbeat: Heartbeat,
    /// The time from one heartbeat to the next.
    pub heartbeat_interval: Duration,
    /// How long a heartbeat confirms a connection: L1 serves replies of a node this long after an answered
    /// heartbeat was sent.
    pub lease: Duration,
    /// How long each step of connecting may take: the look-up of a name, each of its addresses, the
    /// greeting.
    pub connect_timeout: Duration,
    /// How long a command may wait for its reply. A connection whose oldest command waits longer is closed,
    /// unless a large reply is arriving.
    pub request_timeout: Duration,
    /// How long it may wait while a large reply arrives.
    pub transfer: TransferLimits,
    /// From this size on a request or reply is large.
    pub large_bytes_min: usize,
    /// Connections of one worker to one node beside the main one.
    pub sides_max: usize,
    /// Commands in flight on one connection.
    pub in_flight_max: usize,
    /// Bytes of the commands in flight on one connection.
    pub in_flight_bytes_max: usize,
    /// Bytes of one whole reply or push. A longer reply is skipped and answered with an error; a connection
    /// on which a longer push comes is closed.
    pub reply_bytes_max: usize,
    /// Dedicated connections in use at the same time, on all workers.
    pub dedicated_max: usize,
    /// Dedicated connections to one node that a worker keeps for reuse.
    pub dedicated_idle_max: usize,
    /// How long they are kept.
    pub dedicated_idle_timeout: Duration,
    /// The least time between two requests that ask a node to confirm redirects.
    pub refresh_gap_min: Duration,
    /// The first delay after a failed attempt to connect.
    pub backoff_min: Duration,
    /// The longest such delay.
    pub backoff_max: Duration,
    /// How long a slot that was seen on the move is kept out of L1.
    pub slot_moving: Duration,
}

/// What the topology is asked of, how, and how often.
#[derive(Clone, Debug)]
pub struct TopologyOptions {
    /// What is asked.
    pub deployment: Deployment,
    /// The configured names of a cluster alone are asked, and no nodes that it named itself.
    pub configured_only: bool,
    /// How those are spoken to that are asked: as whom, how long each step may take, and how long an answer
    /// may be.
    pub connection: UpstreamOptions,
    /// How often it is asked without a reason.
    pub refresh_interval: Duration,
    /// How much time lies between two refreshes at least, whatever the reasons.
    pub refresh_gap_min: Duration,
}

// === impl UpstreamOptions ===

impl UpstreamOptions {
    /// Whether the upstream is a cluster, with the slots distributed over its nodes.
    pub fn is_cluster(&self) -> bool {
        self.heartbeat == Heartbeat::ClusterInfo
    }
}
