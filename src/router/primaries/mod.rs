//! Commands that every primary must carry out, whose replies become one.
//!
//! Must never know: L1, beside that a write to all nodes empties it.
//!
//! Begin with `all_primaries.rs` (asking) and `gather.rs` (one reply of many).

pub(super) mod all_primaries;
mod gather;
pub(super) mod random_key;
