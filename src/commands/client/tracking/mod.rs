//! CLIENT TRACKING, CACHING, TRACKINGINFO and GETREDIR: a client that caches what it reads.
//!
//! Must never know: what a read of such a client has to register, which `session/tracked_read.rs` does. Begin
//! with `state.rs` (what is on) and `command.rs` (the commands).

mod arguments;
mod command;
mod state;

pub(crate) use arguments::TrackingRequest;
pub(crate) use command::{TrackingAnswer, answer, turn_on};
pub(crate) use state::ClientTracking;
