//! MULTI and what belongs to it: commands are queued here, and EXEC sends them together.
//!
//! Redis 7.0 and Valkey answer differently to a command that is not allowed in a transaction. The daemon
//! answers as the upstream would.
//!
//! Must never know: which node can execute a command; the router says that. Begin with `queue.rs` (between
//! MULTI and EXEC) and `exec.rs` (EXEC).

mod carried_out;
mod command;
mod exec;
mod queue;
mod queued;

pub(super) use command::{answer, may_overtake};
pub(super) use exec::go_on;
pub(super) use queue::{abort, queue, queue_learned, queue_unrecognised, queued, remember, reply_names};
pub(super) use queued::{Executing, Transaction};
