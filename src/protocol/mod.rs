//! What Redis says and means: the bytes of requests and replies, the table of commands, keys and their slots,
//! patterns.
//!
//! Everything here is about bytes that were handed in. It must never know sockets, clients, the cache or the
//! upstream. Begin with `protocol/resp/scan/` (how a request is found), `protocol/command/table/` (one row
//! for each command) and `protocol/command/class.rs` (what a row means).

pub mod command;
pub mod db;
pub mod glob;
pub mod key;
pub mod resp;
