//! The upstream as one worker uses it: commands go in with a slot or a node, replies come out.
//!
//! This is where a slot becomes a node, and a node one of its connections. Redirects are followed here, in
//! the order of the replies, so that the commands of a session on one slot stay in order (I6). This folder
//! must never know a session or the cache. Begin with `upstream.rs` (what the router holds), `send.rs` (every
//! way to send) and `route.rs` (which connection a command takes).

mod dedicated;
mod isolated;
mod redirects;
mod route;
mod send;
mod upstream;

pub use upstream::{OnSide, Upstream};
