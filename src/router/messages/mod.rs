//! PUBLISH and PUBSUB: what nodes count of this daemon is replaced by what its clients are.
//!
//! Must never know: how a message reaches a client (`pubsub/`).
//!
//! Begin with `publish.rs`.
//!
//! PUBLISH goes to the owner of the slot of the channel, on the connection of all commands. The node counts
//! this daemon as one subscriber for each active subscription: these are subtracted, and the clients of this
//! daemon are added. While a node is changing a subscription its count is unknown, so PUBLISH and PUBSUB
//! wait.

pub(super) mod publish;
pub(super) mod settled;
pub(super) mod subscriptions;
