//! SLOWLOG: commands that took long, from when this daemon read them until it had their reply. What it
//! answers on the spot is not measured.
//!
//! Begin with `timer.rs`, which goes with a request until its reply is there.

mod command;
mod log;
mod timer;

pub(super) use command::{get, len, reset};
pub(super) use log::Slowlog;
pub(crate) use timer::LatencyTimer;
