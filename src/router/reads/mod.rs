//! Reads of one key that L1 may answer: a hit on the spot, a miss by a fill.
//!
//! Must never know: how a node is reached, and which clients track a key.
//!
//! Begin with `cached_read.rs`, then `cacheability.rs` (what may be kept, and for how long).

pub(super) mod cacheability;
pub(super) mod cached_read;
mod hit;
pub(super) mod ttl_probe;
