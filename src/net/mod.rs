//! The network edge: sockets, what was read from them, what waits to be written to them, and who listens.
//!
//! It must never know what a command does. Begin with `connection.rs` (one client's bytes in and out),
//! `write_queue.rs` (what waits to be written) and `net/listener/` (who may connect).

pub mod connection;
pub mod listener;
pub mod socket;
pub mod unread;
pub mod walk;
pub mod write_queue;
