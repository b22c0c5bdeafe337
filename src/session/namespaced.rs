//! A request of a client in a namespace: it is carried out with the names that the servers have, and its
//! reply gets those of the client.

use std::cell::OnceCell;

use bytes::Bytes;

use super::carried::Carried;
use super::conclude::conclude;
use super::dispatch::carry_out;
use super::exclusive::Waiting;
use super::known_command::KnownCommand;
use super::mode_commands;
use super::naming::{NamesInReply, Naming};
use super::pipeline::Pipeline;
use super::state::SessionState;
use super::transaction;
use crate::clock::Nanos;
use crate::commands::SessionContext;
use crate::namespace::{Outward, Rewriter, Scope};
use crate::net::walk::Flow;
use crate::net::write_queue::WriteQueue;
use crate::protocol::command::{
    Class, CommandError, Database, Keys, Keyspace, Local, ReplyNames, ScriptAction, Spec,
};
use crate::protocol::resp::encode;
use crate::protocol::resp::request::Request;
use crate::router::{Answer, Sha};

/// Answers a read that L1 may answer as [`read`] does, if no request with the names of the servers is needed:
/// its key is its only argument, and L1 has the reply.
#[inline(always)]
pub(super) fn read_at_once(
    scope: &Scope,
    spec: &'static Spec,
    request: &Request<'_>,
    state: &SessionState,
    context: &SessionContext,
    out: &mut WriteQueue,
    now: Nanos,
) -> Option<Answer> {
    let Keys::Range { first: 1, last: 1, .. } = spec.keys else { return None };
    if request.len() != 2 {
        return None;
    }
    scope.look_up(request.arg(1), |name| {
        context.router.read_at_once(spec, request, name, state.caller(None, now), out)
    })
}

/// Answers a read that L1 may answer, of a client in a namespace that is in no mode. Its reply has no names.
#[inline(never)]
pub(super) fn read(
    scope: &Scope,
    spec: &'static Spec,
    request: &Request<'_>,
    state: &SessionState,
    context: &SessionContext,
    out: &mut WriteQueue,
    now: Nanos,
) -> Answer {
    let (mut rewriter, copy) = (context.rewriter.borrow_mut(), OnceCell::new());
    let sent = scope.outward_read(spec, request, &mut rewriter, &copy);
    context.router.call(spec, Class::CacheableRead, &sent, state.caller(None, now), out)
}

/// Answers a request of a client in a namespace, or makes a place for its answer.
#[inline(never)]
pub(super) fn serve(
    carried: Carried<'_>,
    context: &SessionContext,
    state: &mut SessionState,
    pipeline: &mut Pipeline,
    waiting: &mut Option<Waiting>,
    out: &mut WriteQueue,
) -> Flow {
    let Some(scope) = state.client.scope.clone().filter(|_| !state.client.is_locked()) else {
        let mut carried = carried;
        return carry_out(&mut carried, context, state, pipeline, waiting, out);
    };
    if carried.recognised.is_ok_and(begins_alone) && !pipeline.is_empty() {
        state.drains_first = true;
        return Flow::Again;
    }
    let (mut rewriter, copy) = (context.rewriter.borrow_mut(), OnceCell::new());
    // It lives no longer than the rewritten request.
    let mut carried = carried;
    let (outward, script) = outward(&scope, &carried, state, context, &mut rewriter);
    let is_rewritten = !matches!(outward, Outward::Same);
    match outward {
        Outward::Same => {}
        Outward::Rewritten => carried.sent = rewriter.request(&copy),
        Outward::As(spec) => (carried.sent, carried.sent_as) = (rewriter.request(&copy), Ok(spec)),
        Outward::Answered(reply) | Outward::Refused(reply) => {
            transaction::abort(state);
            carried.shown = false;
            carried.called = 0;
            return conclude(&mut carried, Answer::Now(reply), context, state, pipeline, waiting, out);
        }
    }
    carried.naming = Some(Naming::new(scope, names(&carried, script, state, context)));
    let queued = state.is_queueing().then(|| transaction::queued(state));
    let request = carried.request;
    let flow = carry_out(&mut carried, context, state, pipeline, waiting, out);
    if let Some(queued) = queued {
        transaction::remember(state, queued, is_rewritten.then_some(&request));
    }
    flow
}

fn outward(
    scope: &Scope,
    carried: &Carried<'_>,
    state: &SessionState,
    context: &SessionContext,
    rewriter: &mut Rewriter,
) -> (Outward, Option<Sha>) {
    let learned = match carried.recognised {
        Err(CommandError::Unknown) => context.router.unknown_commands.known(carried.request.arg(0)),
        _ => None,
    };
    let known = carried.recognised.map(KnownCommand::OfTable).ok();
    let known = known.or_else(|| learned.as_ref().map(KnownCommand::OfModule));
    // A mode of the session refuses a command whatever its arguments are.
    if let Some(refusal) = known.and_then(|known| mode_commands::refuse(known, state)) {
        return (Outward::Refused(refusal), None);
    }
    let outward = match carried.recognised {
        Ok(spec) if state.is_queueing() && !can_be_queued(spec) => Outward::Refused(not_in_multi(spec)),
        Ok(spec) if spec.names == ReplyNames::Script => {
            let action = match spec.class {
                Class::Script(action) => Some(action),
                _ => None,
            };
            let scripts = &context.router.namespaced_scripts;
            return scripts.outward(scope, spec, action, &carried.request, rewriter);
        }
        Ok(spec) => scope.outward(spec, &carried.request, rewriter),
        Err(_) => match &learned {
            Some(learned) => scope.outward_learned(&learned.name, learned.keys, &carried.request, rewriter),
            None => Outward::Same,
        },
    };
    (outward, None)
}

/// Whether a command begins when all before it have been answered: the errors of what is outstanding quote
/// names of the database that SELECT leaves, and what is about all keys takes several commands of the server.
#[inline]
fn begins_alone(spec: &Spec) -> bool {
    matches!(spec.class, Class::Local(Local::Select) | Class::Keyspace(_))
}

/// Whether a command means in a transaction what it means outside: what is about all keys of the namespace,
/// or about its databases, takes more than one command of the server.
fn can_be_queued(spec: &Spec) -> bool {
    // SCRIPT SHOW is answered by any node, which has another body.
    let shows_script = spec.names == ReplyNames::Script && matches!(spec.class, Class::AnyNode);
    let takes_several = matches!(
        spec.class,
        Class::Local(Local::Select)
            | Class::Database(Database::Move)
            | Class::Keyspace(Keyspace::Count | Keyspace::Flush | Keyspace::RandomKey)
            | Class::Script(ScriptAction::Flush | ScriptAction::Load)
    );
    !shows_script && !takes_several
}

fn not_in_multi(spec: &Spec) -> Bytes {
    encode::error_reply(format!(
        "ERR nearside: {} is not available inside MULTI in a namespace",
        spec.name.to_ascii_uppercase()
    ))
}

#[inline]
fn names(
    carried: &Carried<'_>,
    script: Option<Sha>,
    state: &SessionState,
    context: &SessionContext,
) -> NamesInReply {
    let scripts = || context.router.namespaced_scripts.clone();
    match carried.recognised {
        Ok(spec) if spec.is_exec() => NamesInReply::OfExec(transaction::reply_names(state), scripts()),
        Ok(_) if state.is_queueing() => NamesInReply::Of(ReplyNames::None),
        Ok(spec) if spec.names == ReplyNames::Script => NamesInReply::OfScript(spec, script, scripts()),
        Ok(spec) => NamesInReply::Of(spec.names),
        Err(_) => NamesInReply::Of(ReplyNames::None),
    }
}
