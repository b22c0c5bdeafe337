//! Commands on many keys: split by slot, sent together, joined in the order of the keys.
//!
//! Must never know: which node owns a slot.
//!
//! Begin with `commands.rs` (at once or in slices), `by_slot.rs` (one part a slot) and `mget.rs` (L1 first).

mod by_slot;
pub(super) mod commands;
mod mget;
mod slices;
mod slot_fetch;
mod slot_parts;
