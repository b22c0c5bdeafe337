//! The network edge: sockets, the buffers for reading and writing, and the listeners.
//!
//! It must never know what a command does. Begin with `connection.rs` (one client's bytes in and out),
//! `write_queue.rs` (what waits to be written) and `net/listener/` (which clients may connect).

pub mod connection;
pub mod listener;
pub mod socket;
pub mod unread;
pub mod walk;
pub mod write_queue;
