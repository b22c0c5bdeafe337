//! The clients of the daemon on all workers: which are connected, what waits for each, and which keys each
//! caches.
//!
//! It must never know the cache, the upstream or the router. The hub of pub/sub, the tracker, MONITOR and
//! CLIENT KILL put something into a client's mailbox, and its session takes it out. Begin with `registry.rs`
//! (all clients), `mailbox.rs` (what waits for one) and `clients/tracker/` (CLIENT TRACKING).
//!
//! A session publishes its last command and its time with each request, with two relaxed stores. An order to
//! a client, such as CLIENT KILL, goes into its mailbox; the reply to CLIENT KILL comes when the client has
//! left, and no thread waits for it.

pub mod block_state;
pub mod mailbox;
pub mod pause;
mod registry;
pub mod tracker;

pub use registry::{Client, ClientFlag, ClientGuard, ClientNames, Clients, Endpoints};
