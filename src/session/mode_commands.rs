//! What a mode of a session means for a request, and the commands that change the mode.

use bytes::Bytes;

use super::known_command::KnownCommand;
use super::state::SessionState;
use super::step::Step;
use super::{subscriber, transaction};
use crate::commands::SessionContext;
use crate::commands::monitor::{self, Watching};
use crate::commands::tracking::{self, TrackingAnswer};
use crate::net::write_queue::WriteQueue;
use crate::protocol::command::{Class, RequiredState, Spec, TransactionCommand};
use crate::protocol::resp::Resp;
use crate::protocol::resp::reply::ok;
use crate::protocol::resp::request::Request;
use crate::router::{Answer, Caller};

/// The error for a command that a mode of the session does not allow.
pub(super) fn refuse(command: KnownCommand<'_>, state: &SessionState) -> Option<Bytes> {
    let modes = state.modes.as_ref()?;
    let is_limited = state.client.resp() == Resp::Two && state.is_subscribed();
    if is_limited && !command.is_for_subscribers() {
        return Some(subscriber::refusal(command.name(), command.is_exec()));
    }
    modes.monitor.as_ref().and_then(|_| monitor::refuse(command.flags()))
}

/// What a session in a mode does with a request before it is dispatched; `None` when it is answered as
/// always.
pub(super) fn intercept(
    spec: &'static Spec,
    request: &Request<'_>,
    state: &mut SessionState,
    context: &SessionContext,
) -> Option<Answer> {
    if let Some(refusal) = refuse(KnownCommand::OfTable(spec), state) {
        return Some(Answer::Now(refusal));
    }
    if state.client.resp() == Resp::Two && state.is_subscribed() && subscriber::is_plain_ping(spec, request) {
        return Some(Answer::Now(subscriber::pong(request)));
    }
    transaction::queue(spec, request, state, context)
}

/// Whether a command of this kind begins only when all earlier ones of its session have been answered, and
/// ends before the next one begins: it does not use the mux connection that keeps the others in order, or it
/// changes their meaning.
pub(super) fn is_exclusive(
    kind: RequiredState,
    request: &Request<'_>,
    state: &SessionState,
    context: &SessionContext,
) -> bool {
    match kind {
        RequiredState::Blocking | RequiredState::Monitor | RequiredState::Wait => true,
        // A subscription takes its place among the replies, and PUBSUB counts it.
        RequiredState::PubSub(_) => true,
        RequiredState::Subscribe(_) => subscriber::is_large(false, request, state),
        RequiredState::Unsubscribe(_) => subscriber::is_large(true, request, state),
        RequiredState::Transaction(TransactionCommand::Watch) => true,
        // Keys are watched on a connection of their own.
        RequiredState::Transaction(command) => {
            state.modes.as_ref().is_some_and(|modes| modes.is_watching())
                || transaction::may_overtake(command, state, context)
        }
        RequiredState::Reset | RequiredState::Tracking(_) => false,
    }
}

/// Answers a command that changes the mode of its session, or needs more than a mux connection.
pub(super) fn answer(
    kind: RequiredState,
    spec: &'static Spec,
    request: &Request<'_>,
    state: &mut SessionState,
    context: &SessionContext,
    caller: Caller<'_>,
) -> Answer {
    match kind {
        RequiredState::Transaction(command) => {
            transaction::answer(command, spec, request, state, context, caller)
        }
        RequiredState::Blocking => {
            context.router.blocking.block(spec, request, caller, state.client.entry.wait.begin())
        }
        RequiredState::Wait => {
            context.router.replica_waits.wait(request, caller, state.client.entry.wait.begin())
        }
        RequiredState::Subscribe(kind) => subscriber::subscribe(kind, request, state, context),
        RequiredState::Unsubscribe(kind) => subscriber::unsubscribe(kind, request, state, context),
        RequiredState::Tracking(command) => {
            let tracking = &mut state.modes.get_or_insert_default().tracking;
            match tracking::answer(command, request, tracking, &state.client, context) {
                TrackingAnswer::Now(reply) => {
                    state.drop_ended_modes();
                    Answer::Now(reply)
                }
                TrackingAnswer::Asked(asked, wanted) => state.go_on_after(asked, Step::Track(wanted)),
            }
        }
        RequiredState::PubSub(_) => {
            // Nothing of these is in L1.
            let out = &mut WriteQueue::default();
            context.router.call(spec, Class::Session(kind), request, caller, out)
        }
        RequiredState::Monitor => monitor(state, context),
        RequiredState::Reset => reset(state, context),
    }
}

/// MONITOR. A client that is in MONITOR already gets no reply, as in Redis.
fn monitor(state: &mut SessionState, context: &SessionContext) -> Answer {
    let monitor = &mut state.modes.get_or_insert_default().monitor;
    if monitor.is_some() {
        return Answer::Now(Bytes::new());
    }
    *monitor = Some(Watching::begin(context.server.clone(), state.client.entry.clone()));
    Answer::Now(ok())
}

/// RESET.
fn reset(state: &mut SessionState, context: &SessionContext) -> Answer {
    if let Some(leaving) = subscriber::leave(state) {
        return state.go_on_after(leaving, Step::Reset);
    }
    end_all(state, context)
}

/// RESET, when nothing has to be waited for any more.
fn end_all(state: &mut SessionState, context: &SessionContext) -> Answer {
    state.reset(context.server.asks_password());
    Answer::Now(Bytes::from_static(b"+RESET\r\n"))
}

/// Goes on with the request that has the session for itself.
pub(super) fn go_on(state: &mut SessionState, context: &SessionContext, caller: Caller<'_>) -> Answer {
    match state.modes.as_mut().and_then(|modes| modes.step.take()) {
        Some(Step::Exec(executing)) => transaction::go_on(executing, state, context, caller),
        Some(Step::Reset) => end_all(state, context),
        Some(Step::Track(wanted)) => {
            let tracking = &mut state.modes.get_or_insert_default().tracking;
            Answer::Now(tracking::turn_on(wanted, tracking, &state.client, context))
        }
        None => Answer::Now(Bytes::new()),
    }
}
