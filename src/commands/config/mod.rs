//! CONFIG: parameters under the names that Redis gives them, and settings of nearside under their own names.
//!
//! Must never know: how a setting is read from a file or checked when the daemon starts (`config/`). Begin
//! with `parameters.rs` (what each parameter is about), then `get.rs` and `set.rs`.

pub(in crate::commands) mod get;
mod parameters;
pub(super) mod set;
