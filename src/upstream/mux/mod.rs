//! The multiplexed connections of one worker: each node has one that all sessions share, and side connections
//! while something large is on that.
//!
//! ```text
//! Connecting --greeted--> Up --lost--> Connecting --failed--> Down --delay--> Connecting
//! ```
//! While `Connecting` commands wait for their deadline; while `Down` they fail at once. A failure of one node
//! touches no other node. When the connection is lost its epoch ends before anything else is done (I4).
//!
//! A connection must never know which node owns a slot or which sessions exist: a redirected command is
//! handed back. Begin with `connection.rs` (its state), `serve.rs` (its loop) and `queue/` (its commands).

pub(super) mod connection;
mod driver;
mod loss;
pub(super) mod node_connections;
pub(super) mod quarantine;
mod queue;
mod receive;
mod send;
mod serve;
pub(super) mod slot_routes;
