//! Transactions: what a client queued goes to one node in one write, MULTI and EXEC around it.
//!
//! Must never know: how a session queues commands.
//!
//! Begin with `execute.rs` (one transaction) and `watch.rs` (the keys that it depends on).
//!
//! MULTI, the commands and EXEC are one call with several replies, written in one piece. MOVED at any of its
//! commands means that the node aborted all of it, so the whole goes to the owner of the slot. ASK cannot be
//! followed. Where the setting allows keys of several slots, each slot's part is such a call (`per_slot.rs`).
//! The answers of the daemon itself (PING, CLIENT) are put between those of the server at the end.

mod assembled;
mod exec_reply;
pub(super) mod execute;
pub(super) mod part;
mod part_outcome;
mod per_slot;
mod slot_parts;
pub(super) mod slots;
pub(super) mod watch;
