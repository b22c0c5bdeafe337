//! CLIENT: what a client says of itself, and what it may see and do of others.
//!
//! Begin with `about_itself.rs` and `list.rs`; `tracking/` is client-side caching.

pub(super) mod about_itself;
mod filter;
pub(crate) mod kill;
pub(super) mod list;
pub(crate) mod pause;
pub(crate) mod tracking;
pub(super) mod unblock;
