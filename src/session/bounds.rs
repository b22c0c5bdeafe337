//! How much may be outstanding for one client.

use super::pipeline::Pipeline;
use super::state::SessionState;
use crate::commands::SessionContext;
use crate::router::ReplyBound;

/// Requests that are sent upstream in one batch of a turn at most; while memory is scarce, the most of one
/// client that may be outstanding.
const SENT_AT_ONCE: usize = 64;

/// How many bytes may wait for the client.
#[inline]
pub(super) fn output_bound(state: &SessionState, context: &SessionContext) -> ReplyBound {
    if state.modes.is_some() && state.is_subscribed() {
        ReplyBound { bytes: context.limits.subscribed_output_bytes_max, name: "pubsub_output_max" }
    } else {
        ReplyBound { bytes: context.server.settings.client_output_max.size(), name: "client_output_max" }
    }
}

/// Whether memory is scarce and too many answers are outstanding for that.
#[inline]
pub(super) fn waits_for_too_many(pipeline: &Pipeline, context: &SessionContext) -> bool {
    pipeline.len() >= SENT_AT_ONCE && context.ceiling.is_scarce()
}

/// Whether the next request has to wait: for the answer to the last one or to earlier ones, or because other
/// sessions have to get their turn.
pub(super) fn is_held(state: &SessionState, pipeline: &Pipeline, context: &SessionContext) -> bool {
    let full = pipeline.in_flight_bytes() >= context.limits.in_flight_bytes_max;
    if full {
        context.stats.client_in_flight_waits.bump();
    }
    // A request that is sent upstream takes as long as many hits.
    full || state.client.inflight.is_held() || pipeline.len().is_multiple_of(SENT_AT_ONCE)
}
