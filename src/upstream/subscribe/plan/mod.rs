//! Which subscriptions are wanted, on which node each is to stand and where it stands: decisions without a
//! socket.
//!
//! A subscription stands on the primary that owns the slot of its name; an ordinary one on the next primary
//! while that one is down. One that may match keyspace notifications stands on every primary, because a node
//! tells of its own keys to nobody else. Ordinary messages reach every node of a cluster, so they are taken
//! from one node alone: the source of the subscription.
//!
//! Nothing here may know a socket. Begin with `wanted.rs` (what is wanted where) and `inflight.rs` (what was
//! sent and not answered yet).

mod connection;
mod inflight;
#[cfg(test)]
mod tests;
mod wanted;

pub(super) use connection::SubscribePhase;
pub(super) use inflight::SubscribeCommand;
pub(super) use wanted::{SubscriptionPlan, SubscriptionStatus};
