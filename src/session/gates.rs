//! The gates in front of a request: what has to be over before anything of it is done.
//!
//! The session asks for them at one place (`serve.rs`), waits while one is closed, and then looks at the
//! request again: nothing was noted of it.

use futures_util::future::LocalBoxFuture;

use super::known_command::KnownCommand;
use super::state::SessionState;
use super::{mode_commands, unauthenticated};
use crate::clock::Nanos;
use crate::commands::{GlobalFlags, SessionContext, wait_for_turn};
use crate::protocol::command::{Class, CommandError, RequiredState, Spec, TransactionCommand};
use crate::protocol::resp::request::Request;

/// A future that ends when the gate opens.
pub(super) type Gate = LocalBoxFuture<'static, ()>;

/// The first gate that is closed in front of `request`. A request that is refused has none.
#[cold]
pub(super) fn closed(
    recognised: Result<&'static Spec, CommandError>,
    request: &Request<'_>,
    state: &mut SessionState,
    context: &SessionContext,
    flags: GlobalFlags,
    now: Nanos,
) -> Option<Gate> {
    if state.client.is_locked() && !context.server.asks_password() {
        // The password was taken away meanwhile. The next request has other limits.
        state.client.unlock();
        state.drains_first = true;
    }
    let is_locked = state.client.is_locked();
    if is_locked && recognised.is_ok_and(|spec| unauthenticated::refuse(spec).is_some()) {
        return None;
    }
    if flags.has(GlobalFlags::UNDISCOVERED) {
        match context.router.wait_for_topology() {
            None => context.server.note_discovered(),
            Some(wait) if needs_topology(recognised, request, is_locked, context) => return Some(wait),
            Some(_) => {}
        }
    }
    match recognised {
        Ok(spec) if is_locked => wait_for_turn(spec, request, &mut state.client, &context.server),
        Ok(spec) => pause(KnownCommand::OfTable(spec), request, state, context),
        // For a client that has not authenticated, no server is asked whether a module knows its command.
        Err(CommandError::Unknown) if !is_locked && !is_http(request) => {
            let commands = &context.router.unknown_commands;
            commands.ask_about(request.arg(0), now).or_else(|| {
                let learned = commands.known(request.arg(0))?;
                pause(KnownCommand::OfModule(&learned), request, state, context)
            })
        }
        Err(_) => None,
    }
}

/// Whether an answer depends on the topology, or on what the servers are: the first clients wait until it is
/// discovered, and meet no error.
fn needs_topology(
    recognised: Result<&'static Spec, CommandError>,
    request: &Request<'_>,
    is_locked: bool,
    context: &SessionContext,
) -> bool {
    match recognised.map(|spec| context.router.class_of(spec, request)) {
        Ok(Class::Local(local)) => local.needs_upstream_facts(),
        Ok(Class::Session(state)) => match state {
            RequiredState::Blocking
            | RequiredState::PubSub(_)
            | RequiredState::Subscribe(_)
            | RequiredState::Transaction(TransactionCommand::Watch)
            | RequiredState::Wait => true,
            RequiredState::Monitor
            | RequiredState::Reset
            | RequiredState::Tracking(_)
            | RequiredState::Transaction(_)
            | RequiredState::Unsubscribe(_) => false,
        },
        Ok(_) => true,
        // Redis and Valkey have different errors for a client that has not authenticated.
        Err(fault) => (is_locked || fault == CommandError::Unknown) && !is_http(request),
    }
}

/// CLIENT PAUSE. What is refused is refused at once, and a client in MONITOR is not paused, as in Redis.
fn pause(
    command: KnownCommand<'_>,
    request: &Request<'_>,
    state: &SessionState,
    context: &SessionContext,
) -> Option<Gate> {
    if !context.server.flags().has(GlobalFlags::PAUSED) {
        return None;
    }
    if state.is_monitoring() || mode_commands::refuse(command, state).is_some() {
        return None;
    }
    context.server.hold(command.flags_in_pause(request, state, context))
}

/// Whether a browser was made to send this: its body could hold commands. Redis closes such a connection as
/// well.
pub(super) fn is_http(request: &Request<'_>) -> bool {
    let name = request.arg(0);
    name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:")
}
