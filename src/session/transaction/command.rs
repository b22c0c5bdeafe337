//! MULTI, EXEC, DISCARD, WATCH and UNWATCH.

use std::rc::Rc;

use super::exec::{WITHOUT_MULTI, execute};
use super::queue::close;
use super::queued::Transaction;
use crate::commands::SessionContext;
use crate::protocol::command::{Spec, TransactionCommand};
use crate::protocol::resp::encode;
use crate::protocol::resp::reply::ok;
use crate::protocol::resp::request::Request;
use crate::router::{Answer, Caller, QueuedSlots, Watched};
use crate::session::modes::Modes;
use crate::session::state::SessionState;

/// Whether EXEC has to begin when all earlier requests of its session have been answered, and to be answered
/// before others begin: nothing else keeps it in its place.
pub(in crate::session) fn may_overtake(
    command: TransactionCommand,
    state: &SessionState,
    context: &SessionContext,
) -> bool {
    let Some(modes) = state.modes.as_ref().filter(|_| command == TransactionCommand::Exec) else {
        return false;
    };
    let placeless = modes.transaction.as_ref().and_then(Transaction::placeless);
    placeless.is_some_and(|bytes| context.router.upstream().is_split(bytes))
}

/// MULTI, EXEC, DISCARD, WATCH, UNWATCH.
pub(in crate::session) fn answer(
    command: TransactionCommand,
    spec: &'static Spec,
    request: &Request<'_>,
    state: &mut SessionState,
    context: &SessionContext,
    caller: Caller<'_>,
) -> Answer {
    let open = state.modes.as_ref().is_some_and(|modes| modes.transaction.is_some());
    match command {
        TransactionCommand::Multi if open => error("ERR MULTI calls can not be nested"),
        TransactionCommand::Multi => {
            let modes = state.modes.get_or_insert_with(Box::<Modes>::default);
            // What is watched is watched on one node, and that is where the transaction will go.
            let watched = modes.watched.as_ref().map(|watched| watched.slots()).unwrap_or_default();
            let slots = QueuedSlots::watching(watched);
            modes.transaction = Some(Transaction { slots, ..Transaction::default() });
            state.client.entry.note_queued(Some(0));
            Answer::Now(ok())
        }
        TransactionCommand::Exec if open => execute(state, context, caller),
        TransactionCommand::Exec => error(WITHOUT_MULTI),
        TransactionCommand::Discard if !open => error("ERR DISCARD without MULTI"),
        TransactionCommand::Watch if open => error("ERR WATCH inside MULTI is not allowed"),
        TransactionCommand::Watch => {
            let modes = state.modes.get_or_insert_with(Box::<Modes>::default);
            let watched = modes
                .watched
                .get_or_insert_with(|| Rc::new(Watched::new(state.client.entry.watched.clone())));
            context.router.watches.watch(spec, request, watched, caller)
        }
        TransactionCommand::Discard | TransactionCommand::Unwatch => {
            let watched = state.modes.as_mut().and_then(|modes| modes.watched.take());
            close(state);
            watched.map_or_else(|| Answer::Now(ok()), |watched| context.router.watches.unwatch(&watched))
        }
    }
}

fn error(text: &'static str) -> Answer {
    Answer::Now(encode::error_reply(text))
}
