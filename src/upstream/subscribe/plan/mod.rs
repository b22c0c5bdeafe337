//! Which subscriptions are wanted, on which node each belongs and where it is active: decisions without a
//! socket.
//!
//! A subscription belongs on the primary that owns the slot of its name; an ordinary one on the next primary
//! while that one is down. A subscription that may match keyspace notifications belongs on every primary,
//! because a node publishes notifications of its own keys only. Ordinary messages reach every node of a
//! cluster, so they are taken from one node alone: the source of the subscription.
//!
//! The plan must never know a socket. Begin with `wanted.rs` (what is wanted where) and `inflight.rs` (what
//! was sent and not answered yet).

mod connection;
mod inflight;
#[cfg(test)]
mod tests;
mod wanted;

pub(super) use connection::SubscribePhase;
pub(super) use inflight::SubscribeCommand;
pub(super) use wanted::{SubscriptionPlan, SubscriptionStatus};
