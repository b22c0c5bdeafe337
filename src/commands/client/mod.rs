//! CLIENT: what a client says about itself, and what it may see and do of others.
//!
//! Must never know: sockets and sessions. A command finds other clients in the registry, and puts orders to
//! them into their mailboxes. Begin with `about_itself.rs` (the client that asks) and `list.rs` (all others);
//! `tracking/` is client-side caching.

pub(super) mod about_itself;
mod filter;
pub(crate) mod kill;
pub(super) mod list;
pub(super) mod pause;
pub(crate) mod tracking;
pub(super) mod unblock;
