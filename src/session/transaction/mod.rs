//! MULTI and what belongs to it: commands are queued here, and EXEC sends them off together.
//!
//! Redis 7.0 and Valkey say different things of a command that may not stand inside a transaction, and so
//! does the daemon, by what the upstream is. Which node can carry a command out is the router's to say.
//! Begin with `queue.rs` and `exec.rs`.

mod command;
mod exec;
mod queue;
mod queued;

pub(super) use command::{answer, may_overtake};
pub(super) use queue::{abort, queue, queue_unrecognised};
pub(super) use queued::{Executing, Transaction};
