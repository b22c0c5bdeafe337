//! Transactions: what a client queued goes to one node in one write, MULTI and EXEC around it.
//!
//! Must never know: how a session queues commands.
//!
//! Begin with `execute.rs` (one transaction) and `watch.rs` (the keys that it depends on).

mod assembled;
mod exec_reply;
pub(super) mod execute;
pub(super) mod part;
pub(super) mod watch;
