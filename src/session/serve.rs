//! From one request to its answer, or to its place in the pipeline.

use super::carried::Carried;
use super::conclude::conclude;
use super::dispatch::carry_out;
use super::exclusive::Waiting;
use super::pipeline::Pipeline;
use super::state::SessionState;
use super::{gates, namespaced};
use crate::clock;
use crate::commands::SessionContext;
use crate::net::walk::Flow;
use crate::net::write_queue::WriteQueue;
use crate::protocol::command::{Class, Spec};
use crate::protocol::resp::request::Request;
use crate::router::Answer;

/// Answers one request, or makes a place for its answer.
#[inline(always)]
pub(super) fn serve(
    context: &SessionContext,
    state: &mut SessionState,
    pipeline: &mut Pipeline,
    waiting: &mut Option<Waiting>,
    request: Request<'_>,
    out: &mut WriteQueue,
    now: clock::Nanos,
) -> Flow {
    let flags = context.server.flags();
    let recognised = state.recogniser.recognise(&request);
    state.client.entry.note(recognised.map_or(0, Spec::number), now);
    // Nearly always all gates are open, and this check is skipped.
    if (flags.is_any() || recognised.is_err() || state.client.is_locked())
        && let Some(gate) = gates::closed(recognised, &request, state, context, flags, now)
    {
        *waiting = Some(Waiting::Gate(gate));
        return Flow::Again;
    }
    if let Ok(spec) = recognised
        && matches!(spec.class, Class::CacheableRead)
        && state.is_plain()
    {
        // Nothing else of the daemon looks at such a read, so a hit takes the shortest way.
        let mut carried = Carried::begin(request, recognised, out, flags, now);
        let answer = match &state.client.scope {
            None => context.router.call(spec, spec.class, &request, state.caller(None, now), out),
            Some(scope) => {
                let found = namespaced::read_at_once(scope, spec, &request, state, context, out, now);
                found.unwrap_or_else(|| namespaced::read(scope, spec, &request, state, context, out, now))
            }
        };
        if matches!(answer, Answer::Appended)
            && pipeline.is_empty()
            && !flags.is_any()
            && state.client.wants_all_replies()
        {
            context.stats.commands.bump();
            context.command_stats.call(spec.number());
            return Flow::Next;
        }
        return conclude(&mut carried, answer, context, state, pipeline, waiting, out);
    }
    let mut carried = Carried::begin(request, recognised, out, flags, now);
    match state.client.scope.is_none() {
        true => carry_out(&mut carried, context, state, pipeline, waiting, out),
        false => namespaced::serve(carried, context, state, pipeline, waiting, out),
    }
}
