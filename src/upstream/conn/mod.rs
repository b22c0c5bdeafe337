//! A connection to one server: dial, greet, read frames, heartbeat, and try again after a loss.
//!
//! Everything here knows a socket and the server behind it. It must never know which commands sessions send,
//! which node owns a slot, or what a reply is kept for. Begin with `transport.rs` (the socket),
//! `handshake.rs` (the first requests on it) and `supervisor.rs` (how a connection is kept up).

pub(super) mod attempts;
pub(super) mod backoff;
pub(super) mod chain;
mod connect;
pub(super) mod dns;
pub(super) mod expected;
pub(super) mod handshake;
pub(super) mod heartbeat;
pub(super) mod identity;
pub(super) mod inbox;
pub(super) mod limits;
pub(super) mod login;
mod non_redis;
pub(super) mod pace;
pub(super) mod push;
pub(super) mod supervisor;
pub(super) mod tracking;
pub(super) mod transport;
pub(super) mod turn;
