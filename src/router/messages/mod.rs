//! PUBLISH and PUBSUB: what nodes count of this daemon is replaced by what its clients are.
//!
//! Must never know: how a message reaches a client (`pubsub/`).
//!
//! Begin with `publish.rs`.

pub(super) mod publish;
pub(super) mod settled;
pub(super) mod subscriptions;
