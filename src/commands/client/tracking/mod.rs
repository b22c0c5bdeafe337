//! CLIENT TRACKING, CACHING, TRACKINGINFO and GETREDIR: a client that caches what it reads.
//!
//! Begin with `state.rs` (what is on) and `command.rs`. What each read of such a client means is the
//! session's part.

mod arguments;
mod command;
mod state;

pub(crate) use command::answer;
pub(crate) use state::ClientTracking;
