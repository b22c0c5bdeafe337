//! Dedicated connections: one socket to one node for one session, for what a shared connection cannot carry.
//!
//! They are not tracked: what is read on one is never kept in L1. Nothing is sent again on them: a command
//! whose reply did not come fails, and its session decides what that means. Only a connection that owes
//! nothing is handed on to the next session; in any doubt it is closed. The folder must never know what a
//! session needs the connection for. Begin with `connection.rs`; `idle.rs` keeps those that wait for the next
//! session.

mod connection;
mod idle;
mod link;

pub use connection::Dedicated;
pub(super) use idle::Idle;
pub(super) use link::DedicatedLink;
