//! What the upstream knows of commands: those that the table does not know, and COMMAND of very many names.
//!
//! Must never know: L1.
//!
//! Begin with `unknown.rs`.

mod cache;
pub(super) mod unknown;
pub(super) mod very_many_names;
