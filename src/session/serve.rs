//! From one request to its answer, or to its place in the pipeline.

use std::rc::Rc;

use bytes::Bytes;

use super::bounds::{is_held, output_bound};
use super::exclusive::{ExclusiveRequest, Waiting};
use super::gates::is_http;
use super::namespaced::{self, Naming};
use super::pipeline::Pipeline;
use super::state::SessionState;
use super::tracked_read::TrackedRead;
use super::{gates, mode_commands, module_commands, transaction, unauthenticated};
use crate::clock;
use crate::commands::{self, ExecContext, GlobalFlags, LatencyTimer, SessionContext, monitor};
use crate::net::walk::Flow;
use crate::net::write_queue::WriteQueue;
use crate::protocol::command::{self, Class, CommandError, Spec};
use crate::protocol::resp::request::Request;
use crate::router::{Answer, Caller, Coverage, names_very_many};

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
    if state.client.scope.is_some() {
        let asked = Asked::plain(request, recognised);
        return namespaced::serve(context, state, pipeline, waiting, asked, out, now);
    }
    carry_out(context, state, pipeline, waiting, Asked::plain(request, recognised), out, now)
}

/// A request as its client sent it, and as it is carried out.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) request: Request<'a>,
    pub(super) recognised: Result<&'static Spec, CommandError>,
    /// The request with the names that the servers have.
    pub(super) sent: Request<'a>,
    /// Its row, which may be that of another command.
    pub(super) sent_as: Result<&'static Spec, CommandError>,
    /// How its reply gets the names that the client has; `None` outside of namespaces.
    pub(super) naming: Option<&'a Naming>,
}

// === impl Asked ===

impl<'a> Asked<'a> {
    /// A request that is carried out as it came.
    #[inline]
    pub(super) fn plain(request: Request<'a>, recognised: Result<&'static Spec, CommandError>) -> Asked<'a> {
        Asked { request, recognised, sent: request, sent_as: recognised, naming: None }
    }
}

/// Carries out one request whose gates are open.
#[inline(always)]
pub(super) fn carry_out(
    context: &SessionContext,
    state: &mut SessionState,
    pipeline: &mut Pipeline,
    waiting: &mut Option<Waiting>,
    asked: Asked<'_>,
    out: &mut WriteQueue,
    now: clock::Nanos,
) -> Flow {
    let Asked { request, recognised, sent, sent_as, naming } = asked;
    let flags = context.server.flags();
    let command = recognised.map_or(0, Spec::number);
    let is_measured = flags.has(GlobalFlags::MEASURED);
    // The clock that `now` is from was read before the requests that came with this one.
    let begun = if is_measured { clock::now() } else { now };
    let watch = TrackedRead::begin(sent_as, &sent, state, context);
    let coverage = watch.as_ref().map(TrackedRead::coverage);
    // A request that is executed is shown to MONITOR, and one that has to be waited for is measured for
    // SLOWLOG.
    let (mut shown, mut measured) = (true, true);
    // Number 0 counts requests that are not executed, or not now.
    let mut called = command;
    let waited = out.len();
    let answer = match sent_as {
        Ok(spec) => match intercepted(spec, &sent, state, context) {
            Some(answer) => {
                shown = false;
                called = 0;
                answer
            }
            None => match context.router.class_of(spec, &sent) {
                Class::Local(local) => {
                    let was_locked = state.client.is_locked();
                    let client = &mut state.client;
                    // Some of these wait for others.
                    measured = is_measured;
                    let answer = commands::answer(local, spec, &sent, client, context, ExecContext::None);
                    // The next request has other limits.
                    state.drains_first |= was_locked != state.client.is_locked();
                    answer
                }
                Class::Session(kind)
                    if mode_commands::is_exclusive(kind, &sent, state, context) && !pipeline.is_empty() =>
                {
                    state.drains_first = true;
                    return Flow::Again;
                }
                Class::Session(kind) => {
                    measured =
                        !matches!(kind, command::RequiredState::Blocking | command::RequiredState::Wait);
                    state.drains_first = mode_commands::is_exclusive(kind, &sent, state, context);
                    let inflight = state.client.inflight.clone();
                    let caller = Caller { resp: state.client.resp(), inflight: &inflight, now, coverage };
                    mode_commands::answer(kind, spec, &sent, state, context, caller)
                }
                class => {
                    if !matches!(class, Class::CacheableRead) && context.router.may_overtake(spec, &sent) {
                        state.drains_first = true;
                        if !pipeline.is_empty() {
                            return Flow::Again;
                        }
                    }
                    let bound = || output_bound(state, context);
                    let caller = state.caller(coverage, now);
                    match (class, naming) {
                        (Class::FanOut(join), _) => {
                            context.router.multi_key.answer(spec, join, &sent, caller, bound(), out)
                        }
                        (Class::Keyspace(keyspace), Some(naming)) => {
                            let keys = &context.router.namespace_keys;
                            keys.answer(keyspace, spec, &sent, caller, naming.scope())
                        }
                        (Class::AboutCommands(query), _) if names_very_many(&sent) => {
                            context.router.command_queries.answer(spec, query, &sent, caller, bound())
                        }
                        (class, _) => context.router.call(spec, class, &sent, caller, out),
                    }
                }
            },
        },
        Err(fault) => {
            shown = !state.client.is_locked() && fault == CommandError::Unknown;
            match unrecognised(fault, &sent, state, pipeline, context, coverage, now) {
                Some(answer) => answer,
                None => return Flow::Again,
            }
        }
    };
    let answer = match naming {
        Some(naming) => naming.renamed(answer),
        None => answer,
    };
    let answer = match &watch {
        Some(watch) => watch.follow(answer, &sent, state),
        None => answer,
    };
    context.stats.commands.bump();
    context.command_stats.call(called);
    shown &= flags.has(GlobalFlags::MONITORED);
    if let Answer::Exclusive(work) = answer {
        let spec = recognised.ok();
        let start = || LatencyTimer::start(spec, &request, &state.client.entry, &context.server, now);
        *waiting = Some(Waiting::exclusive(ExclusiveRequest {
            spec,
            work,
            measure: measured.then(start).flatten(),
            tracked: watch,
            shown: shown.then(|| request.to_owned()),
            bytes: sent.raw().len(),
        }));
        return Flow::Pause;
    }
    if shown && (recognised.is_ok() || answer.is_later()) {
        monitor::show(recognised.ok(), &request, &state.client.entry, &context.server);
    }
    if is_measured && called > 0 && !answer.is_later() && recognised.is_ok_and(|spec| !spec.is_exec()) {
        measure(recognised.ok(), &request, state, context, begun);
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
            let start =
                || LatencyTimer::start(recognised.ok(), &request, &state.client.entry, &context.server, now);
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

/// Answers a request that the table does not recognise; `None` if it has to come behind all that is
/// outstanding.
#[cold]
fn unrecognised(
    fault: CommandError,
    request: &Request<'_>,
    state: &mut SessionState,
    pipeline: &Pipeline,
    context: &SessionContext,
    coverage: Option<&Rc<Coverage>>,
    now: clock::Nanos,
) -> Option<Answer> {
    if fault == CommandError::Unknown && is_http(request) {
        context.stats.protocol_errors.bump();
        tracing::debug!(client = state.client.entry.endpoints.address, "a client sent HTTP: closed");
        state.client.leaving = true;
        return Some(Answer::Now(Bytes::new()));
    }
    if state.client.is_locked() {
        return Some(unauthenticated::refuse_unrecognised(fault, request, context));
    }
    if fault == CommandError::Unknown {
        return module_commands::answer(request, state, pipeline, context, coverage, now);
    }
    let queued = transaction::queue_unrecognised(fault, request, state, context);
    Some(queued.unwrap_or_else(|| Answer::Now(fault.reply(request))))
}

/// Measures for SLOWLOG a request that was answered at once.
#[cold]
fn measure(
    spec: Option<&'static Spec>,
    request: &Request<'_>,
    state: &SessionState,
    context: &SessionContext,
    begun: clock::Nanos,
) {
    let timer = LatencyTimer::start(spec, request, &state.client.entry, &context.server, begun);
    timer.into_iter().for_each(|timer| timer.stop(clock::now()));
}

#[inline]
fn intercepted(
    spec: &'static Spec,
    request: &Request<'_>,
    state: &mut SessionState,
    context: &SessionContext,
) -> Option<Answer> {
    if state.client.is_locked() {
        return unauthenticated::refuse(spec).map(Answer::Now);
    }
    state.modes.as_ref()?;
    mode_commands::intercept(spec, request, state, context)
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
