//! SCAN and KEYS: a walk over the keys of all primaries that misses none.
//!
//! Must never know: L1, which plays no part in a walk.
//!
//! Begin with `walk.rs` (the passes of a walk) and `cursors.rs` (what a cursor stands for).

pub(super) mod cursors;
mod page;
mod slot_set;
pub(super) mod walk;
