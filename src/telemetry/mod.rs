//! The log: what the program traces, as lines for people or as JSON, to standard error.
//!
//! Knows the form and the filter of the log. Must never know an event that is logged, nor wait for a reader
//! of the log. Begin with `log.rs`, then `line_queue.rs`, which keeps a slow reader from holding up anybody.

mod line_queue;
mod log;

pub use log::{LogOptions, dropped, finish, init, set_filter};
