//! Commands that wait on a node: each on a dedicated connection, until there is an answer or the wait is ended
//! early.
//!
//! Must never know: sessions, beside the guard of a client's wait (`clients/block_state.rs`).
//!
//! Begin with `waits.rs` (BLPOP and its kin) and `replicas.rs` (WAIT).

mod block_timeout;
mod blocked_call;
pub(super) mod replicas;
pub(super) mod waits;
