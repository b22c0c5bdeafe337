//! MOVED and ASK: which redirects are believed, and where a redirected command goes.
//!
//! A script, a function or a command of a module can answer with any text. So a redirect counts only in front
//! of a cluster, only for the slot of its command, and only to a node that the topology names: no text
//! decides where a password is sent. Errors inside a transaction come before anything has run, so they are
//! the node's own.
//!
//! Must never know: a socket. Begin with `redirect.rs` (the error reply as a value) and `unconfirmed.rs`
//! (redirects that are checked before they are followed).

pub(super) mod redirect;
pub(super) mod unconfirmed;
