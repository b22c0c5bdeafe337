//! A request while a transaction is open: it is queued, or refused, which aborts the transaction.

use std::rc::Rc;

use bytes::Bytes;

use super::queued::{QueuedStep, Transaction};
use crate::commands::{SessionContext, is_said_by_server, is_set_by_server};
use crate::protocol::command::{
    Class, CommandError, Flags, Local, ModuleCommand, ReplyNames, RequiredState, Spec, TransactionCommand,
    is_unpaired,
};
use crate::protocol::resp::encode;
use crate::protocol::resp::request::Request;
use crate::router::Answer;
use crate::session::state::SessionState;

/// Aborts a transaction that is open: a request of it was not looked at.
pub(in crate::session) fn abort(state: &mut SessionState) {
    if let Some(transaction) = state.modes.as_mut().and_then(|modes| modes.transaction.as_mut()) {
        transaction.abort();
    }
}

/// How many requests are queued and kept.
pub(in crate::session) fn queued(state: &SessionState) -> usize {
    let transaction = state.modes.as_ref().and_then(|modes| modes.transaction.as_ref());
    transaction.map_or(0, |transaction| transaction.steps.len())
}

/// Remembers `request`, in whose place the latest of `former` requests and one was queued: MONITOR shows what
/// the client sent. `None` if that was queued itself.
pub(in crate::session) fn remember(state: &mut SessionState, former: usize, request: Option<&Request<'_>>) {
    let transaction = state.modes.as_mut().and_then(|modes| modes.transaction.as_mut());
    if let Some(transaction) = transaction.filter(|transaction| transaction.steps.len() == former + 1) {
        transaction.bytes += request.map_or(0, |request| request.raw().len());
        transaction.asked.resize_with(former, || None);
        transaction.asked.push(request.map(Request::to_owned));
    }
}

/// Queues a command while a transaction is open; `None` for those that end it or have their own word on it.
pub(in crate::session) fn queue(
    spec: &'static Spec,
    request: &Request<'_>,
    state: &mut SessionState,
    context: &SessionContext,
) -> Option<Answer> {
    let transaction = state.modes.as_mut()?.transaction.as_mut()?;
    let is_valkey = context.report.is_valkey();
    match spec.class {
        Class::Local(Local::Quit)
        | Class::Session(
            RequiredState::Reset
            | RequiredState::Transaction(TransactionCommand::Exec | TransactionCommand::Discard),
        ) => return None,
        Class::Session(RequiredState::Transaction(TransactionCommand::Multi | TransactionCommand::Watch))
            if !is_valkey =>
        {
            return None;
        }
        _ => {}
    }
    if spec.flags.has(Flags::NO_MULTI) && (is_valkey || spec.class != Class::Local(Local::ClientReply)) {
        transaction.abort();
        return Some(Answer::Now(not_allowed(spec, is_valkey)));
    }
    let class = context.router.class_of(spec, request);
    let is_cluster = context.router.upstream().is_cluster();
    let step = match class {
        // What is refused is refused by its element, as an error of a single command is in Redis.
        Class::Local(local) if is_cluster || !is_of_server(local, request) => {
            Ok(QueuedStep::Own(spec, request.to_owned()))
        }
        Class::Refused(_) => Ok(QueuedStep::Own(spec, request.to_owned())),
        class => {
            let part = context.router.transactions.part(spec, class, request, &mut transaction.slots);
            part.map(|part| QueuedStep::Part(part, spec.number()))
        }
    };
    let flags = context.router.flags_in_pause(spec, request);
    let reply = transaction.push(step, flags, spec.name, request, context);
    state.client.entry.note_queued(Some(transaction.queued));
    Some(Answer::Now(reply))
}

/// Whether one server executes a command inside MULTI that the daemon answers elsewhere.
fn is_of_server(local: Local, request: &Request<'_>) -> bool {
    match local {
        Local::Select => true,
        Local::ConfigGet => is_said_by_server(request),
        Local::ConfigSet => is_set_by_server(request),
        _ => false,
    }
}

/// Takes note of a request that no server would carry out: its answer, if the transaction changes it.
pub(in crate::session) fn queue_unrecognised(
    fault: CommandError,
    request: &Request<'_>,
    state: &mut SessionState,
    context: &SessionContext,
) -> Option<Answer> {
    if fault.is_of_exec() {
        close(state);
        let cause = "wrong number of arguments for 'exec' command";
        let error = format!("EXECABORT Transaction discarded because of: {cause}");
        return Some(Answer::Now(encode::error_reply(error)));
    }
    let transaction = state.modes.as_mut()?.transaction.as_mut()?;
    if matches!(fault, CommandError::Arity(_)) && is_unpaired(request) {
        // Redis finds that when it carries it out, and so its element is the error.
        let step = QueuedStep::Done(request.to_owned(), fault.reply(request));
        let reply = transaction.push(Ok(step), Flags::WRITE, "", request, context);
        state.client.entry.note_queued(Some(transaction.queued));
        return Some(Answer::Now(reply));
    }
    transaction.abort();
    None
}

/// Queues a command of a module while a transaction is open.
pub(in crate::session) fn queue_learned(
    learned: &ModuleCommand,
    request: &Request<'_>,
    state: &mut SessionState,
    context: &SessionContext,
) -> Option<Bytes> {
    let transaction = state.modes.as_mut()?.transaction.as_mut()?;
    let part = context.router.transactions.learned_part(learned, request, &mut transaction.slots);
    let step = part.map(|part| QueuedStep::Part(part, 0));
    let reply = transaction.push(step, learned.flags, &learned.name, request, context);
    state.client.entry.note_queued(Some(transaction.queued));
    Some(reply)
}

/// Where names of keys stand in the replies to what was queued.
pub(in crate::session) fn reply_names(state: &SessionState) -> Rc<[ReplyNames]> {
    let transaction = state.modes.as_ref().and_then(|modes| modes.transaction.as_ref());
    transaction.into_iter().flat_map(|transaction| &transaction.steps).map(QueuedStep::reply_names).collect()
}

/// Ends the transaction, and gives what was queued.
pub(super) fn close(state: &mut SessionState) -> Option<Transaction> {
    let modes = state.modes.as_mut()?;
    let transaction = modes.transaction.take();
    state.client.entry.note_queued(None);
    state.drop_ended_modes();
    transaction
}

fn not_allowed(spec: &Spec, valkey: bool) -> Bytes {
    if valkey {
        encode::error_reply(format!("ERR Command '{}' not allowed inside a transaction", spec.name))
    } else {
        encode::error_reply("ERR Command not allowed inside a transaction")
    }
}
