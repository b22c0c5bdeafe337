//! Scripts and functions: what a client made known once runs on every node, also on one that joined later or
//! was restarted.
//!
//! Must never know: sessions, beside their commands in flight.
//!
//! Begin with `eval.rs` (the commands on scripts), `functions.rs` (FCALL) and `namespaced.rs` (the scripts of
//! namespaces).

pub(super) mod eval;
pub(super) mod functions;
pub(super) mod namespaced;
pub(super) mod script_cache;
