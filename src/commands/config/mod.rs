//! CONFIG: parameters of the daemon as Redis names them and as its own configuration does, and those of the
//! data.
//!
//! Begin with `parameters.rs`, which says what each is about.

pub(super) mod get;
mod parameters;
pub(super) mod set;
