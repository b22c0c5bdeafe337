//! The clients of the daemon, whichever worker serves them: who is connected, what waits for whom, who caches
//! which keys.
//!
//! It must never know the cache, the upstream or the router. The hub of pub/sub, the tracker, MONITOR and
//! CLIENT KILL put something into a client's mailbox, and its session takes it out. Begin with `registry.rs`
//! (all clients), `mailbox.rs` (what waits for one) and `clients/tracker/` (CLIENT TRACKING).
//!
//! A session notes what others may know of it with each request, with two relaxed stores. An order to a
//! client, such as CLIENT KILL, goes into its mailbox; the asker is answered when the client has left, and
//! waits nowhere.

pub mod block_state;
pub mod mailbox;
mod registry;
pub mod tracker;

pub use registry::{Client, ClientFlag, ClientGuard, ClientNames, Clients, Endpoints};
