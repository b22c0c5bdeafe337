//! SLOWLOG: commands that took long, from when this daemon read them until it had their reply.
//!
//! What the daemon answers at once is not measured. Must never know: which command a request is, or how it
//! was answered. Begin with `timer.rs`, which goes with a request until its reply is there, then `log.rs`.

mod command;
mod log;
mod timer;

pub(super) use command::{get, len, reset};
pub(super) use log::Slowlog;
pub(crate) use timer::LatencyTimer;
