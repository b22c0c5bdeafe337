//! What keeps L1 from serving anything that is not so any more, beside the cache's own rules: writes in
//! flight, samples of hits that are compared with the server, and a canary that measures how soon an
//! invalidation arrives.
//!
//! Begin with `inflight.rs` (I6: a session sees its own writes).

pub mod canary;
pub(in crate::router) mod inflight;
pub(in crate::router) mod shadow;
