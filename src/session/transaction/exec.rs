//! EXEC: the daemon makes its own answers, and the server carries out the rest in one piece.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::future::{LocalBoxFuture, join_all};
use tokio::task::yield_now;

use super::carried_out::CarriedOut;
use super::queue::close;
use super::queued::{Executing, QueuedStep};
use crate::commands::kill::{self, KillCount};
use crate::commands::{self, ClientState, ExecContext, GlobalFlags, SessionContext, monitor};
use crate::protocol::command::{Class, Local, Spec, numbered, recognise};
use crate::protocol::db::DbIndex;
use crate::protocol::resp::cursor;
use crate::protocol::resp::encode;
use crate::protocol::resp::request::OwnedRequest;
use crate::router::{Answer, Caller, ExecElement, Hold, TransactionPart};
use crate::session::state::SessionState;
use crate::session::step::Step;

/// EXEC outside of a transaction.
pub(super) const WITHOUT_MULTI: &str = "ERR EXEC without MULTI";

/// The end of the error for an EXEC whose commands would take more memory than there is.
const UNDONE: &str = "nothing of it was executed";

const EXEC_ABORT: &[u8] = b"-EXECABORT Transaction discarded because of previous errors.\r\n";

/// Steps of EXEC that are looked at before others get their turn. Where there are more, the session is
/// held as well while the server carries them out
/// ([`Router::transactions`](crate::router::Router)).
const STEPS_AT_ONCE: usize = 1024;

pub(super) fn execute(state: &mut SessionState, context: &SessionContext, caller: Caller<'_>) -> Answer {
    let watched = state.modes.as_mut().and_then(|modes| modes.watched.take());
    let Some(transaction) = close(state) else { return Answer::Now(encode::error_reply(WITHOUT_MULTI)) };
    if transaction.aborted {
        // What was watched is forgotten with the connection that watched it.
        return Answer::Now(Bytes::from_static(EXEC_ABORT));
    }
    // All of it goes out in one piece, which is there beside what was queued.
    if !context.ceiling.is_small(transaction.bytes) && !context.ceiling.fits(transaction.bytes) {
        context.ceiling.counts.requests_refused.fetch_add(1, Ordering::Relaxed);
        let refusal = context.ceiling.refusal("a transaction", transaction.bytes, UNDONE);
        return Answer::Now(encode::error_reply(refusal));
    }
    let executing = Executing {
        is_settled: !transaction.publishes(),
        knows_databases: !transaction.names_databases(),
        elements: Vec::with_capacity(transaction.steps.len()),
        slots: transaction.slots.all(),
        flags: transaction.flags,
        bytes: transaction.bytes,
        steps: transaction.steps.into_iter(),
        asked: transaction.asked.into_iter(),
        watched,
        selects: Vec::new(),
        carried_out: CarriedOut::default(),
    };
    go_on(executing, state, context, caller)
}

/// Makes the daemon's own answers, [`STEPS_AT_ONCE`] in a turn, and has the rest carried out behind the last.
pub(in crate::session) fn go_on(
    mut executing: Executing,
    state: &mut SessionState,
    context: &SessionContext,
    caller: Caller<'_>,
) -> Answer {
    if let Some(until) = held_up(&mut executing, state, context) {
        return state.go_on_after(until, Step::Exec(executing));
    }
    let monitored = context.server.flags().has(GlobalFlags::MONITORED);
    for step in executing.steps.by_ref().take(STEPS_AT_ONCE) {
        let asked = executing.asked.next().flatten();
        let request = asked.as_ref().map_or_else(|| step.request(), OwnedRequest::as_request);
        let client = &state.client.entry;
        if monitored {
            monitor::show(recognise(&request).ok(), &request, client, &context.server);
        }
        executing.carried_out.add(step.number(), &request, client, &context.server, caller.now);
        if let Some(database) = step.selected() {
            executing.selects.push((executing.elements.len(), database));
            if context.router.queries.has_database(database) {
                // What is shown of the commands behind it. Which database the session is in, the reply says.
                state.client.entry.database.store(database.number(), Ordering::Relaxed);
            }
        }
        executing.elements.push(match step {
            QueuedStep::Part(part, number) => match without_server(&part, number, caller, context) {
                Some(reply) => ExecElement::Made(reply),
                None => ExecElement::Sent(part, state.client.resp()),
            },
            QueuedStep::Own(spec, request) => ExecElement::Made(own(spec, &request, state, context)),
            QueuedStep::Done(_, reply) => {
                kill::leave(&mut state.client);
                ExecElement::Made(reply)
            }
        });
    }
    if executing.steps.len() > 0 {
        return state.go_on_after(Box::pin(yield_now()), Step::Exec(executing));
    }
    state.drop_ended_modes();
    let Executing { elements, slots, watched, selects, carried_out, .. } = executing;
    // In a namespace no SELECT is queued, and the number is not that of the servers.
    if state.client.scope.is_none() {
        state.client.entry.database.store(caller.inflight.database().number(), Ordering::Relaxed);
    }
    let answer = context.router.transactions.execute(elements, slots, watched.as_deref(), caller);
    let answer = carried_out.ends_with(answer, context);
    match answer {
        Answer::Later(reply) if !selects.is_empty() => {
            Answer::Later(select_behind(reply, selects, &state.client))
        }
        answer => answer,
    }
}

/// Lasts until EXEC is answered: then the client is in the last database that it has selected. What it asks
/// next is held back until this is known.
fn select_behind(
    reply: LocalBoxFuture<'static, Bytes>,
    selects: Vec<(usize, DbIndex)>,
    client: &ClientState,
) -> LocalBoxFuture<'static, Bytes> {
    let (hold, entry) = (Hold::of(&client.inflight), client.entry.clone());
    Box::pin(async move {
        let reply = reply.await;
        let replies: Vec<&[u8]> = cursor::elements(&reply).into_iter().flatten().flatten().collect();
        let is_done =
            |(at, _): &&(usize, DbIndex)| replies.get(*at).is_some_and(|reply| *reply == b"+OK\r\n");
        if let Some((_, database)) = selects.iter().rev().find(is_done) {
            hold.session().select(*database);
            entry.database.store(database.number(), Ordering::Relaxed);
        }
        reply
    })
}

/// Lasts until EXEC may go on: until it is known which subscriptions its messages go to, a pause is over, and
/// the clients are gone that it kills.
fn held_up(
    executing: &mut Executing,
    state: &mut SessionState,
    context: &SessionContext,
) -> Option<LocalBoxFuture<'static, ()>> {
    if !std::mem::replace(&mut executing.is_settled, true)
        && let Some(settled) = context.router.wait_for_subscriptions()
    {
        return Some(settled);
    }
    if !std::mem::replace(&mut executing.knows_databases, true)
        && let Some(asked) = ask_for_databases(executing, context)
    {
        return Some(asked);
    }
    context.server.hold(executing.flags).or_else(|| kill_first(executing, state, context))
}

/// The answer to a command that names a database, if the upstream is a cluster with one database.
fn without_server(
    part: &TransactionPart,
    number: usize,
    caller: Caller<'_>,
    context: &SessionContext,
) -> Option<Bytes> {
    let Class::Database(command) = numbered(number)?.class else { return None };
    let router = &context.router;
    let database = caller.inflight.database();
    let answer = || router.queries.without_database(command, &part.request(), database);
    router.upstream().is_cluster().then(answer).flatten()
}

/// Asks the server for the databases of the transaction that no client has selected yet: MONITOR and
/// CLIENT INFO show in which one a command is.
fn ask_for_databases(executing: &Executing, context: &SessionContext) -> Option<LocalBoxFuture<'static, ()>> {
    let mut unknown: Vec<DbIndex> =
        executing.steps.as_slice().iter().filter_map(QueuedStep::database).collect();
    unknown.retain(|database| !context.router.queries.has_database(*database));
    unknown.sort_unstable_by_key(|database| database.number());
    unknown.dedup();
    if unknown.is_empty() {
        return None;
    }
    let router = context.router.clone();
    Some(Box::pin(async move {
        for database in unknown {
            // A server has all databases up to its last one.
            if router.queries.ask_in(database).await.is_err() {
                break;
            }
            router.queries.note_database(database);
        }
    }))
}

/// Executes every CLIENT KILL of the transaction. The other commands go to the server only after these
/// clients have left. Ends when they have.
fn kill_first(
    executing: &mut Executing,
    state: &mut SessionState,
    context: &SessionContext,
) -> Option<LocalBoxFuture<'static, ()>> {
    let mut gone = Vec::new();
    for step in executing.steps.as_mut_slice() {
        if let QueuedStep::Own(spec, request) = step
            && spec.class == Class::Local(Local::ClientKill)
        {
            let KillCount { reply, over } = kill::kill(&request.as_request(), &mut state.client, context);
            gone.extend(over);
            *step = QueuedStep::Done(request.clone(), reply);
        }
    }
    (!gone.is_empty())
        .then(|| -> LocalBoxFuture<'static, ()> { Box::pin(async move { drop(join_all(gone).await) }) })
}

/// The daemon's own answer to a command that it queued.
fn own(
    spec: &'static Spec,
    request: &OwnedRequest,
    state: &mut SessionState,
    context: &SessionContext,
) -> Bytes {
    let request = request.as_request();
    match context.router.class_of(spec, &request) {
        Class::Local(local) => {
            match commands::answer(local, spec, &request, &mut state.client, context, ExecContext::AtOnce) {
                Answer::Now(reply) => reply,
                // What is the daemon's own and takes time is about other clients, whom a transaction must not
                // wait for.
                _ => encode::error_reply("ERR nearside cannot do this inside MULTI: it would have to wait"),
            }
        }
        Class::Refused(refusal) => refusal.reply(spec),
        _ => Bytes::new(),
    }
}
