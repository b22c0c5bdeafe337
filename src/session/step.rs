//! How the session itself continues an exclusive request.

use super::transaction::Executing;
use crate::commands::tracking::TrackingRequest;

/// What is left to do of a request.
#[derive(Debug)]
pub(super) enum Step {
    /// EXEC: the rest of the transaction.
    Exec(Executing),
    /// RESET, when its subscriptions have ended.
    Reset,
    /// CLIENT TRACKING ON, when the upstream was asked for BCAST tracking.
    Track(TrackingRequest),
}
