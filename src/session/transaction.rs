//! MULTI and what belongs to it: commands are queued here, and EXEC sends them off together.
//!
//! Redis 7.0 and Valkey say different things of a command that may not stand inside a transaction, and so
//! does the daemon, by what the upstream is.

use std::ops::Range;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use futures_util::future::{LocalBoxFuture, join_all};
use tokio::task::yield_now;

use super::modes::Modes;
use super::state::SessionState;
use crate::commands::kill::{self, KillCount};
use crate::commands::{self, ExecContext, GlobalFlags, SessionContext, monitor};
use crate::protocol::command::{Class, CommandError, Flags, Spec, is_unpaired, recognise};
use crate::protocol::key::Slot;
use crate::protocol::resp::encode;
use crate::protocol::resp::reply::ok;
use crate::protocol::resp::request::{OwnedRequest, Request};
use crate::router::{Answer, Caller, ExecElement, NotAPart, TransactionPart, Watched, without_server};

/// What a client is told at EXEC whose commands would take more than there is.
const UNDONE: &str = "nothing of it was executed";

const QUEUED: &[u8] = b"+QUEUED\r\n";
const EXEC_ABORT: &[u8] = b"-EXECABORT Transaction discarded because of previous errors.\r\n";

/// What a queued command takes beside its bytes: its place in a list that has grown, and its allocations.
const STEP_BYTES: usize = size_of::<QueuedStep>() + 64;

/// So many steps of EXEC are looked at before others get their turn. Where there are more, the session is
/// held as well while the server carries them out
/// ([`Router::transaction`](crate::router::Router::transaction)).
const STEPS_AT_ONCE: usize = 1024;

/// What was queued since MULTI.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    steps: Vec<QueuedStep>,
    /// How many were queued, also when they are not kept because the transaction is aborted.
    queued: usize,
    /// The slot of all keys so far.
    slot: Option<Slot>,
    /// A command of it names no keys.
    keyless: bool,
    /// What they take.
    bytes: usize,
    /// A command was refused, so EXEC will carry out nothing.
    aborted: bool,
}

#[derive(Debug)]
enum QueuedStep {
    /// The daemon answers it, when EXEC comes.
    Own(&'static Spec, OwnedRequest),
    /// The server carries it out; the number of its command.
    Part(TransactionPart, usize),
    /// Its answer is known before the others are carried out.
    Done(OwnedRequest, Bytes),
}

/// What EXEC carries out, as far as the daemon's own answers were made.
#[derive(Debug)]
pub(super) struct Executing {
    steps: std::vec::IntoIter<QueuedStep>,
    elements: Vec<ExecElement>,
    slot: Option<Slot>,
    keyless: bool,
    watched: Option<Rc<Watched>>,
}

// === impl QueuedStep ===

impl QueuedStep {
    fn request(&self) -> Request<'_> {
        match self {
            QueuedStep::Own(_, request) | QueuedStep::Done(request, _) => request.as_request(),
            QueuedStep::Part(part, _) => part.request(),
        }
    }
}

// === impl Transaction ===

impl Transaction {
    /// A command was refused: nothing will be carried out, so nothing is kept.
    pub(super) fn abort(&mut self) {
        self.aborted = true;
        self.steps = Vec::new();
        self.bytes = 0;
    }

    /// The bytes that what was queued takes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether EXEC will publish a message.
    fn publishes(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, QueuedStep::Part(part, _) if part.publishes()))
    }
}

/// A request was not looked at: a transaction that is open carries out nothing.
pub(super) fn abort(state: &mut SessionState) {
    if let Some(transaction) = state.modes.as_mut().and_then(|modes| modes.transaction.as_mut()) {
        transaction.abort();
    }
}

/// Queues a command while a transaction is open; `None` for those that end it or have their own word on it.
pub(super) fn queue(
    spec: &'static Spec,
    request: &Request<'_>,
    state: &mut SessionState,
    context: &SessionContext,
) -> Option<Answer> {
    let transaction = state.modes.as_mut()?.transaction.as_mut()?;
    match spec.name {
        "exec" | "discard" | "quit" | "reset" => return None,
        "multi" | "watch" if !context.report.is_valkey() => return None,
        _ => {}
    }
    if spec.flags.has(Flags::NO_MULTI) && (spec.name != "client|reply" || context.report.is_valkey()) {
        transaction.abort();
        return Some(Answer::Now(not_allowed(spec, context.report.is_valkey())));
    }
    let class = spec.class_of(request);
    let step = match class {
        // What is refused is refused by its element, as an error of a single command is in Redis.
        Class::Local(_) | Class::Refused(_) => Ok(QueuedStep::Own(spec, request.to_owned())),
        Class::Database(database) if without_server(database, request).is_some() => {
            Ok(QueuedStep::Own(spec, request.to_owned()))
        }
        class => {
            if let Some(wait) = context.proxy.wait_for_upstream() {
                return Some(wait);
            }
            let part = context.proxy.part(spec, class, request, &mut transaction.slot);
            part.map(|part| QueuedStep::Part(part, spec.number()))
        }
    };
    let reply = transaction.push(step, spec.name, request, context);
    state.client.entry.note_queued(Some(transaction.queued));
    Some(Answer::Now(reply))
}

/// Queues a command that the table does not have, or takes note of a request that no server would carry out.
pub(super) fn queue_unrecognised(
    fault: CommandError,
    request: &Request<'_>,
    state: &mut SessionState,
    context: &SessionContext,
    now: crate::clock::Nanos,
) -> Option<Answer> {
    if fault == CommandError::Arity("exec") {
        close(state);
        let cause = "wrong number of arguments for 'exec' command";
        let error = format!("EXECABORT Transaction discarded because of: {cause}");
        return Some(Answer::Now(encode::error_reply(error)));
    }
    let transaction = state.modes.as_mut()?.transaction.as_mut()?;
    if matches!(fault, CommandError::Arity(_)) && is_unpaired(request) {
        // Redis finds that when it carries it out, and so its element is the error.
        let mut error = BytesMut::new();
        fault.write(request, &mut error);
        let step = QueuedStep::Done(request.to_owned(), error.freeze());
        let reply = transaction.push(Ok(step), "", request, context);
        state.client.entry.note_queued(Some(transaction.queued));
        return Some(Answer::Now(reply));
    }
    if fault != CommandError::Unknown {
        transaction.abort();
        return None;
    }
    if let Some(wait) = context.proxy.wait_for_upstream() {
        return Some(wait);
    }
    match context.proxy.learned(request, now) {
        Ok(learned) => {
            let part = context.proxy.learned_part(&learned, request, &mut transaction.slot);
            Some(Answer::Now(transaction.push(
                part.map(|part| QueuedStep::Part(part, 0)),
                "",
                request,
                context,
            )))
        }
        Err(Answer::NotYet(wait)) => Some(Answer::NotYet(wait)),
        Err(refusal) => {
            transaction.abort();
            Some(refusal)
        }
    }
}

// === impl Transaction ===

impl Transaction {
    fn push(
        &mut self,
        step: Result<QueuedStep, NotAPart>,
        name: &str,
        request: &Request<'_>,
        context: &SessionContext,
    ) -> Bytes {
        let bytes_max = context.limits.transaction_bytes_max;
        let bytes = self.bytes + request.raw().len() + request.len() * size_of::<Range<usize>>() + STEP_BYTES;
        let refusal = match step {
            // As in Redis, what comes behind a refusal is no longer queued, and told that it was.
            Ok(_) if self.aborted => return Bytes::from_static(QUEUED),
            Ok(_) if bytes > bytes_max => format!(
                "ERR nearside: the transaction takes more than {bytes_max} bytes (transaction_bytes_max); \
                 nothing of it will be executed"
            ),
            Ok(_) if !context.ceiling.fits(bytes - self.bytes) => {
                context.ceiling.counts.requests_refused.fetch_add(1, Ordering::Relaxed);
                context.ceiling.refusal("a transaction", bytes, "nothing of it will be executed")
            }
            Ok(step) => {
                self.bytes = bytes;
                self.queued += 1;
                self.keyless |= matches!(&step, QueuedStep::Part(part, _) if part.names_no_keys());
                self.steps.push(step);
                return Bytes::from_static(QUEUED);
            }
            Err(NotAPart::CrossSlot) => "CROSSSLOT Keys in request don't hash to the same slot".to_owned(),
            Err(NotAPart::NotOneNode) => format!(
                "ERR {} is not available inside MULTI through nearside: a transaction is carried out by the server \
                 of its keys, and this is not about keys alone",
                name.to_ascii_uppercase().replace('|', " ")
            ),
        };
        self.abort();
        encode::error_reply(refusal)
    }
}

/// Whether EXEC has to begin when all earlier requests of its session have been answered, and to be answered
/// before others begin: nothing else keeps a command of it in its place that names no keys.
pub(super) fn may_overtake(spec: &Spec, state: &SessionState, context: &SessionContext) -> bool {
    let Some(modes) = state.modes.as_ref().filter(|_| spec.name == "exec") else { return false };
    let is_keyless = modes.transaction.as_ref().is_some_and(|transaction| transaction.keyless)
        || modes.executing.as_ref().is_some_and(|executing| executing.keyless);
    is_keyless && context.proxy.upstream().is_split()
}

/// MULTI, EXEC, DISCARD, WATCH, UNWATCH.
pub(super) fn answer(
    spec: &'static Spec,
    request: &Request<'_>,
    state: &mut SessionState,
    context: &SessionContext,
    caller: Caller<'_>,
) -> Answer {
    let open = state.modes.as_ref().is_some_and(|modes| modes.transaction.is_some());
    match spec.name {
        "multi" if open => error("ERR MULTI calls can not be nested"),
        "multi" => {
            let modes = state.modes.get_or_insert_with(Box::<Modes>::default);
            // What is watched is watched on one node, and that is where the transaction will go.
            let slot = modes.watched.as_ref().and_then(|watched| watched.slot());
            modes.transaction = Some(Transaction { slot, ..Transaction::default() });
            state.client.entry.note_queued(Some(0));
            Answer::Now(ok())
        }
        "exec" => match state.modes.as_mut().and_then(|modes| modes.executing.take()) {
            Some(executing) => go_on(executing, state, context, caller),
            None if open => execute(state, context, caller),
            None => error("ERR EXEC without MULTI"),
        },
        "discard" if !open => error("ERR DISCARD without MULTI"),
        "watch" if open => error("ERR WATCH inside MULTI is not allowed"),
        "watch" => {
            let modes = state.modes.get_or_insert_with(Box::<Modes>::default);
            let watched = modes
                .watched
                .get_or_insert_with(|| Rc::new(Watched::new(state.client.entry.watched.clone())));
            context.proxy.watch(spec, request, watched, caller)
        }
        // DISCARD and UNWATCH.
        _ => {
            let watched = state.modes.as_mut().and_then(|modes| modes.watched.take());
            close(state);
            watched.map_or_else(|| Answer::Now(ok()), |watched| context.proxy.unwatch(&watched))
        }
    }
}

fn execute(state: &mut SessionState, context: &SessionContext, caller: Caller<'_>) -> Answer {
    let transaction = state.modes.as_ref().and_then(|modes| modes.transaction.as_ref());
    if transaction.is_some_and(Transaction::publishes)
        && let Some(wait) = context.proxy.wait_for_subscriptions(None, caller)
    {
        return wait;
    }
    if let Some(over) = kill_first(state, context) {
        return Answer::NotYet(over);
    }
    let watched = state.modes.as_mut().and_then(|modes| modes.watched.take());
    let Some(transaction) = close(state) else { return error("ERR EXEC without MULTI") };
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
    let elements = Vec::with_capacity(transaction.steps.len());
    let steps = transaction.steps.into_iter();
    let (slot, keyless) = (transaction.slot, transaction.keyless);
    go_on(Executing { steps, elements, slot, keyless, watched }, state, context, caller)
}

/// Makes the daemon's own answers, so many in a turn, and has the rest carried out behind the last.
fn go_on(
    mut executing: Executing,
    state: &mut SessionState,
    context: &SessionContext,
    caller: Caller<'_>,
) -> Answer {
    let monitored = context.desk.attention().has(GlobalFlags::MONITORED);
    for step in executing.steps.by_ref().take(STEPS_AT_ONCE) {
        if monitored {
            let request = step.request();
            monitor::show(recognise(&request).ok(), &request, &state.client.entry, &context.desk);
        }
        context.tally.call(match &step {
            QueuedStep::Part(_, number) => *number,
            step => recognise(&step.request()).map_or(0, Spec::number),
        });
        executing.elements.push(match step {
            QueuedStep::Part(part, _) => ExecElement::Sent(part, state.client.resp()),
            QueuedStep::Own(spec, request) => ExecElement::Made(own(spec, &request, state, context)),
            QueuedStep::Done(_, reply) => {
                kill::leave(&mut state.client);
                ExecElement::Made(reply)
            }
        });
    }
    if executing.steps.len() > 0 {
        // The session shows EXEC again, and takes nothing else meanwhile.
        state.modes.get_or_insert_default().executing = Some(executing);
        return Answer::NotYet(Box::pin(yield_now()));
    }
    state.settle();
    let Executing { elements, slot, watched, .. } = executing;
    context.proxy.transaction(elements, slot, watched.as_deref(), caller)
}

/// Carries out every CLIENT KILL of the transaction: nothing of it goes to the server before those who are
/// killed are gone. Lasts until they are.
fn kill_first(state: &mut SessionState, context: &SessionContext) -> Option<LocalBoxFuture<'static, ()>> {
    let mut transaction = state.modes.as_mut()?.transaction.take()?;
    let mut gone = Vec::new();
    if !transaction.aborted {
        for step in &mut transaction.steps {
            if let QueuedStep::Own(spec, request) = step
                && spec.name == "client|kill"
            {
                let KillCount { reply, over } = kill::kill(&request.as_request(), &mut state.client, context);
                gone.extend(over);
                *step = QueuedStep::Done(request.clone(), reply);
            }
        }
    }
    state.modes.as_mut()?.transaction = Some(transaction);
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
    match spec.class_of(&request) {
        Class::Local(local) => {
            match commands::answer(local, spec, &request, &mut state.client, context, ExecContext::AtOnce) {
                Answer::Now(reply) => reply,
                // What is the daemon's own and takes time is about other clients, whom a transaction must not
                // wait for.
                _ => encode::error_reply("ERR nearside cannot do this inside MULTI: it would have to wait"),
            }
        }
        Class::Refused(refusal) => {
            let mut out = BytesMut::new();
            refusal.write(spec, &mut out);
            out.freeze()
        }
        Class::Database(database) => without_server(database, &request).unwrap_or_default(),
        _ => Bytes::new(),
    }
}

/// Ends the transaction, and gives what was queued.
fn close(state: &mut SessionState) -> Option<Transaction> {
    let modes = state.modes.as_mut()?;
    let transaction = modes.transaction.take();
    state.client.entry.note_queued(None);
    state.settle();
    transaction
}

fn error(text: &'static str) -> Answer {
    Answer::Now(encode::error_reply(text))
}

fn not_allowed(spec: &Spec, valkey: bool) -> Bytes {
    if valkey {
        encode::error_reply(format!("ERR Command '{}' not allowed inside a transaction", spec.name))
    } else {
        encode::error_reply("ERR Command not allowed inside a transaction")
    }
}
