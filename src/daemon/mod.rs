//! The daemon: puts the parts together from the configuration, runs them on their threads, and ends them.
//!
//! Knows every part and in which order the parts begin and end. Must never know a request of a client or
//! its reply: the workers' sessions do. (`warm.rs` alone makes requests of its own, those of the warm-up.)
//!
//! Begin with `lifecycle.rs`, the start and the end, then `shared.rs`, what all workers share, and
//! `worker.rs`, what each of them has for itself. `options.rs` is where the parts get their settings.

mod bound;
mod descriptors;
mod error;
mod first_database;
mod lifecycle;
mod memory;
mod options;
mod panics;
mod reload;
mod relogin;
mod secret_files;
pub mod shared;
mod signals;
pub mod systemd;
mod warm;
pub mod worker;

pub use error::DaemonError;
pub use lifecycle::Daemon;
pub use panics::end_on_panic;
