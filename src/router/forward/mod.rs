//! Forwarding: a command goes to the node of its keys as it is, with all that has to be known of its keys
//! before that, and all that has to happen before its reply leaves.
//!
//! Must never know: which family of commands a request belongs to.
//!
//! Begin with `forwarder.rs` (the two ways in) and `sender.rs` (what happens around one command).

pub(super) mod default_ttl;
pub(super) mod fence;
pub(super) mod forwarder;
mod many_keys;
pub(super) mod multi_exec;
pub(super) mod reply_sizes;
mod sender;
