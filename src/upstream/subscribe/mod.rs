//! Subscriptions to channels, on connections that do nothing else, for the whole process.
//!
//! However many clients want a channel, it is subscribed to once. A connection is opened when the first
//! subscription is wanted on its node and closed when none is left. What is lost with a connection is
//! subscribed to again, on the node that it belongs to by then. The folder must never know which clients want
//! a message: a function gets it. Begin with `subscriptions.rs` (what others ask for), `plan.rs`
//! (which node has what, without a socket) and `link.rs` (one connection).
//!
//! A subscription belongs on the primary that owns the slot of its name; an ordinary one on the next primary
//! while that one is down. A subscription that may match keyspace notifications belongs on every primary,
//! because a node publishes notifications of its own keys only. Ordinary messages reach every node of a
//! cluster, so they are taken from one node alone: the source of the subscription.
//!
//! HELLO follows each SUBSCRIBE, because no user can be denied it. An error before its answer is about this
//! command; without an error all of it is active. So confirmations need not be matched to commands, which
//! matters because a server sends `sunsubscribe` on its own when a slot moves. A subscription moves by
//! becoming active on the new node before it is given up on the old one. A server before Redis 7.2 compares
//! each new pattern with all others of the connection: the more patterns there are, the fewer go out at once.

mod inflight;
mod link;
mod message;
mod plan;
#[cfg(test)]
mod plan_tests;
mod planned_connection;
mod run;
mod subscriptions;
mod topic;

pub use link::OnMessage;
pub use subscriptions::{Readiness, SubscriptionGuard, Subscriptions};
pub use topic::Topic;
