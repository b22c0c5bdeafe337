//! What follows the answer to a request: it is counted, shown to MONITOR and measured, and it takes its place
//! in the output or in the pipeline.

use super::bounds::is_held;
use super::carried::Carried;
use super::exclusive::{ExclusiveRequest, Waiting};
use super::pipeline::Pipeline;
use super::state::SessionState;
use crate::clock::{self, Nanos};
use crate::commands::{GlobalFlags, LatencyTimer, SessionContext, monitor};
use crate::net::walk::Flow;
use crate::net::write_queue::WriteQueue;
use crate::protocol::command::{self, CommandError, Spec};
use crate::protocol::resp::request::Request;
use crate::router::Answer;

/// Does what follows the answer to a request.
#[inline(never)]
pub(super) fn conclude(
    carried: &mut Carried<'_>,
    answer: Answer,
    context: &SessionContext,
    state: &mut SessionState,
    pipeline: &mut Pipeline,
    waiting: &mut Option<Waiting>,
    out: &mut WriteQueue,
) -> Flow {
    let Carried { request, recognised, sent, called, waited, measured, blocks, now, .. } = *carried;
    let command = carried.command();
    let answer = match &carried.naming {
        Some(naming) => naming.renamed(answer),
        None => answer,
    };
    let answer = match &carried.watch {
        Some(watch) => watch.follow(answer, &sent, state),
        None => answer,
    };
    context.stats.commands.bump();
    context.command_stats.call(called);
    let shown = carried.shown && carried.flags.has(GlobalFlags::MONITORED);
    let spec = recognised.ok();
    if let Answer::Exclusive(work) = answer {
        let start = || timer(spec, blocks, &request, state, context, now);
        *waiting = Some(Waiting::exclusive(ExclusiveRequest {
            spec,
            work,
            measure: measured.then(start).flatten(),
            tracked: carried.watch.take(),
            shown: shown.then(|| request.to_owned()),
            bytes: sent.raw().len(),
        }));
        return Flow::Pause;
    }
    if shown && (recognised.is_ok() || answer.is_later()) {
        monitor::show(spec, &request, &state.client.entry, &context.server);
    }
    if carried.is_measured() && called > 0 && !answer.is_later() && spec.is_some_and(|spec| !spec.is_exec()) {
        measure(carried, state, context);
    }
    let wanted = state.client.wants_reply();
    let mailed = matches!(answer, Answer::Mailed);
    let mut held = false;
    match answer {
        Answer::Confirmation(reply) => pipeline.push_confirmation(command, reply),
        Answer::Mailed => {}
        _ if !wanted => {
            drop(out.take_back(waited));
            if let Answer::Later(reply) = answer {
                pipeline.push_unwanted(reply, sent.raw().len());
            }
            held = is_held(state, pipeline, context);
        }
        // The reply is where it belongs, or has to wait for others.
        Answer::Appended if pipeline.is_empty() => {}
        Answer::Appended => pipeline.push_now(out.take_back(waited)),
        Answer::Now(reply) => {
            if reply.first() == Some(&b'-') {
                refused(recognised, called == 0, &reply, context);
            }
            if pipeline.is_empty() { out.push(&reply) } else { pipeline.push_now(reply) }
        }
        Answer::Later(reply) => {
            let start = || timer(spec, blocks, &request, state, context, now);
            pipeline.push_later(command, reply, measured.then(start).flatten(), sent.raw().len());
            held = is_held(state, pipeline, context);
        }
        // The session waits for it already.
        Answer::Exclusive(_) => {}
    }
    let full = pipeline.len() >= context.limits.pipeline_depth_max;
    if state.client.leaving || full || state.drains_first || mailed || held {
        Flow::Pause
    } else {
        Flow::Next
    }
}

/// What measures for SLOWLOG a request that has to be waited for.
fn timer(
    spec: Option<&'static Spec>,
    blocks: bool,
    request: &Request<'_>,
    state: &SessionState,
    context: &SessionContext,
    now: Nanos,
) -> Option<LatencyTimer> {
    let timer = LatencyTimer::start(spec, request, &state.client.entry, &context.server, now)?;
    Some(if blocks { timer.blocking() } else { timer })
}

/// Measures for SLOWLOG a request that was answered at once.
#[cold]
fn measure(carried: &Carried<'_>, state: &SessionState, context: &SessionContext) {
    let (spec, request, client) = (carried.recognised.ok(), &carried.request, &state.client.entry);
    let timer = LatencyTimer::start(spec, request, client, &context.server, carried.begun);
    timer.into_iter().for_each(|timer| timer.stop(clock::now(), &[]));
}

/// Counts an error that was answered at once, `rejected` or not, for its command.
#[cold]
fn refused(
    recognised: Result<&'static Spec, CommandError>,
    rejected: bool,
    reply: &[u8],
    context: &SessionContext,
) {
    let command = match recognised {
        Ok(spec) => spec.number(),
        Err(CommandError::Arity(name) | CommandError::Denied(Some(name))) => command::number_of(name),
        Err(_) => 0,
    };
    context.server.command_stats.failed(&context.command_stats, command, rejected, reply);
}
