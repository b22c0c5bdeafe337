//! The upstream (L2): the nodes that own slots, and every connection to them.
//!
//! Commands are bytes with a slot here. The upstream must never know clients or the near cache: what nodes
//! push is handed to functions that the daemon gave. Begin with `worker/` (how one worker sends and gets
//! replies), `mux/` (one multiplexed connection) and `topology/` (the owners of slots); `conn/` has what all
//! connections need.

pub mod bcast;
mod call;
mod conn;
mod context;
mod dedicated;
mod error;
mod mux;
mod options;
mod redirects;
mod rights;
mod shared;
mod status;
mod subscribe;
pub mod topology;
mod truncate;
mod worker;

pub use call::{Call, Outcome, PendingReply, SLOT_IS_MOVING, UpstreamReply, answers_exec, exec_abort};
pub use conn::dns::DnsResolver;
pub use conn::heartbeat::Heartbeat;
pub use conn::limits::Excess;
pub use conn::login::{Credentials, Login};
pub use conn::proxy_chain::ProxyChain;
pub use conn::transfer::TransferLimits;
pub use context::OnInvalidation;
pub use dedicated::Dedicated;
pub use error::UpstreamError;
pub use options::{Deployment, TopologyOptions, UpstreamOptions};
pub use redirects::redirect::Redirect;
pub use rights::{Right, Rights};
pub use shared::{DedicatedCounts, SharedUpstream};
pub use status::{Coherence, NodeStatus, ServerFacts, StatusBoard};
pub use subscribe::{OnMessage, Readiness, SubscriptionGuard, Subscriptions, Topic};
pub use topology::address_map::{AddressMap, AddressPattern};
pub use topology::cluster_nodes::NodeView;
pub use topology::node_numbers::{NodeEntry, NodeIndex};
pub use topology::slots::{Discovery, SlotTable};
pub use worker::{OnSide, Upstream};
