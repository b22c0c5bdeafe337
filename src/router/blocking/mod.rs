//! Commands that wait on a node: each on a dedicated connection, until there is an answer or the wait is
//! ended early.
//!
//! Must never know: sessions, beside the guard of a client's wait (`clients/block_state.rs`).
//!
//! Begin with `waits.rs` (BLPOP and its kin) and `replicas.rs` (WAIT).
//!
//! The node judges the request and keeps the time. A reply that sends the client elsewhere (MOVED, ASK, a
//! node that became a replica) proves that nothing was taken: the wait continues there with the remaining
//! time. To end a wait early, CLIENT UNBLOCK is sent over the node's shared connection, and the reply of the
//! dedicated one decides: an element that the node gave at that instant still reaches its client.
//!
//! WAIT asks every node that the session wrote to, behind a write without effect: a node counts as of the
//! last write of the connection that asks, and the writes of the session used the shared connections.

mod block_timeout;
mod blocked_call;
pub(super) mod replicas;
pub(super) mod waits;
