//! A request whose gates are open goes to what answers it.

use std::rc::Rc;

use bytes::Bytes;

use super::bounds::output_bound;
use super::carried::Carried;
use super::conclude::conclude;
use super::exclusive::Waiting;
use super::gates::is_http;
use super::pipeline::Pipeline;
use super::state::SessionState;
use super::tracked_read::TrackedRead;
use super::{mode_commands, module_commands, transaction, unauthenticated};
use crate::clock;
use crate::commands::{self, ExecContext, SessionContext};
use crate::net::walk::Flow;
use crate::net::write_queue::WriteQueue;
use crate::protocol::command::{Class, CommandError, RequiredState, Spec, TransactionCommand};
use crate::protocol::resp::request::Request;
use crate::router::{Answer, Caller, Coverage, names_very_many};

/// Carries out one request whose gates are open.
#[inline(never)]
pub(super) fn carry_out(
    carried: &mut Carried<'_>,
    context: &SessionContext,
    state: &mut SessionState,
    pipeline: &mut Pipeline,
    waiting: &mut Option<Waiting>,
    out: &mut WriteQueue,
) -> Flow {
    let (sent, now) = (carried.sent, carried.now);
    carried.watch = TrackedRead::begin(carried.sent_as, &sent, state, context);
    let coverage = carried.watch.as_ref().map(|watch| watch.coverage().clone());
    let answer = match carried.sent_as {
        Ok(spec) => match intercepted(spec, &sent, state, context) {
            Some(answer) => {
                carried.shown = false;
                carried.called = 0;
                Some(answer)
            }
            None => dispatch(spec, carried, coverage.as_ref(), context, state, pipeline, out),
        },
        Err(fault) => {
            carried.shown = !state.client.is_locked() && fault == CommandError::Unknown;
            unrecognised(fault, &sent, state, pipeline, context, coverage.as_ref(), now)
        }
    };
    match answer {
        Some(answer) => conclude(carried, answer, context, state, pipeline, waiting, out),
        None => Flow::Again,
    }
}

/// Takes a request to what answers it, by the class that the table says; `None` if it has to come behind all
/// that is outstanding.
fn dispatch(
    spec: &'static Spec,
    carried: &mut Carried<'_>,
    coverage: Option<&Rc<Coverage>>,
    context: &SessionContext,
    state: &mut SessionState,
    pipeline: &Pipeline,
    out: &mut WriteQueue,
) -> Option<Answer> {
    let (sent, now) = (carried.sent, carried.now);
    Some(match context.router.class_of(spec, &sent) {
        Class::Local(local) => {
            let was_locked = state.client.is_locked();
            // Some of these wait for others.
            carried.measured = carried.is_measured();
            let answer = commands::answer(local, spec, &sent, &mut state.client, context, ExecContext::None);
            // The next request has other limits.
            state.drains_first |= was_locked != state.client.is_locked();
            answer
        }
        Class::Session(kind)
            if mode_commands::is_exclusive(kind, &sent, state, context) && !pipeline.is_empty() =>
        {
            state.drains_first = true;
            return None;
        }
        Class::Session(kind) => {
            // EXEC is not kept, but its commands are; how long WAIT takes hangs on the replicas.
            carried.measured =
                !matches!(kind, RequiredState::Wait | RequiredState::Transaction(TransactionCommand::Exec));
            carried.blocks = kind == RequiredState::Blocking;
            state.drains_first = mode_commands::is_exclusive(kind, &sent, state, context);
            let inflight = state.client.inflight.clone();
            let caller = Caller { resp: state.client.resp(), inflight: &inflight, now, coverage };
            mode_commands::answer(kind, spec, &sent, state, context, caller)
        }
        class => {
            if !matches!(class, Class::CacheableRead) && context.router.may_overtake(spec, &sent) {
                state.drains_first = true;
                if !pipeline.is_empty() {
                    return None;
                }
            }
            let bound = || output_bound(state, context);
            let caller = state.caller(coverage, now);
            match (class, &carried.naming) {
                (Class::FanOut(join), _) => {
                    context.router.multi_key.answer(spec, join, &sent, caller, bound(), out)
                }
                (Class::Keyspace(keyspace), Some(naming)) => {
                    context.router.namespace_keys.answer(keyspace, spec, &sent, caller, naming.scope())
                }
                (Class::AboutCommands(query), _) if names_very_many(&sent) => {
                    context.router.command_queries.answer(spec, query, &sent, caller, bound())
                }
                (class, _) => context.router.call(spec, class, &sent, caller, out),
            }
        }
    })
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
