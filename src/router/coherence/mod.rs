//! What keeps L1 from serving stale data, beside the cache's own rules: the order in which an invalidation is
//! applied, the commands of a session that are in flight, samples of hits that are compared with the server,
//! what a server says of swapped databases, and a canary that measures how soon an invalidation arrives.
//!
//! Must never know how a request reached the router, nor more of a command than its flags.
//!
//! Begin with `invalidator.rs` (the order of an invalidation) and `inflight.rs` (I6: a session sees its own
//! writes).

pub mod canary;
pub(in crate::router) mod inflight;
pub mod invalidator;
pub(in crate::router) mod shadow;
pub(in crate::router) mod swap_count;
mod written_slots;
