//! A request of a client in a namespace: it is carried out with the names that the servers have, and its reply
//! gets those of the client.

use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;

use super::exclusive::Waiting;
use super::pipeline::Pipeline;
use super::serve::{Asked, carry_out};
use super::state::SessionState;
use super::transaction;
use crate::clock;
use crate::commands::SessionContext;
use crate::namespace::{Outward, Rewriter, Scope};
use crate::net::walk::Flow;
use crate::net::write_queue::WriteQueue;
use crate::protocol::command::{
    Class, CommandError, Database, Keyspace, Local, ReplyNames, ScriptAction, Spec,
};
use crate::protocol::resp::encode;
use crate::router::{Answer, ExclusiveEnd, NamespacedScripts, Sha};

/// How a reply gets the names that the client has.
#[derive(Clone, Debug)]
pub(super) struct Naming {
    scope: Rc<Scope>,
    names: NamesInReply,
}

/// Where names stand in a reply.
#[derive(Clone, Debug)]
enum NamesInReply {
    /// Where its command has them.
    Of(ReplyNames),
    /// In the replies to the commands that EXEC carries out; some may be scripts of these.
    OfExec(Rc<[ReplyNames]>, Arc<NamespacedScripts>),
    /// Where a command on scripts has them, and the script that it brought.
    OfScript(&'static Spec, Option<Sha>, Arc<NamespacedScripts>),
}

/// Answers a request of a client in a namespace, or makes a place for its answer.
#[inline(never)]
pub(super) fn serve(
    context: &SessionContext,
    state: &mut SessionState,
    pipeline: &mut Pipeline,
    waiting: &mut Option<Waiting>,
    asked: Asked<'_>,
    out: &mut WriteQueue,
    now: clock::Nanos,
) -> Flow {
    let Some(scope) = state.client.scope.clone().filter(|_| !state.client.is_locked()) else {
        return carry_out(context, state, pipeline, waiting, asked, out, now);
    };
    if asked.recognised.is_ok_and(begins_alone) && !pipeline.is_empty() {
        state.drains_first = true;
        return Flow::Again;
    }
    let mut rewriter = context.rewriter.borrow_mut();
    let (outward, script) = outward(&scope, &asked, state, context, &mut rewriter);
    let copy = OnceCell::new();
    let mut asked = asked;
    let is_rewritten = !matches!(outward, Outward::Same);
    match outward {
        Outward::Same => {}
        Outward::Rewritten => asked.sent = rewriter.request(&copy),
        Outward::As(spec) => (asked.sent, asked.sent_as) = (rewriter.request(&copy), Ok(spec)),
        Outward::Answered(reply) | Outward::Refused(reply) => {
            transaction::abort(state);
            context.stats.commands.bump();
            if state.client.wants_reply() {
                if pipeline.is_empty() { out.push(&reply) } else { pipeline.push_now(reply) }
            }
            return Flow::Next;
        }
    }
    let naming = Naming { names: names(&asked, script, state, context), scope };
    asked.naming = Some(&naming);
    let queued = state.is_queueing().then(|| transaction::queued(state));
    let flow = carry_out(context, state, pipeline, waiting, asked, out, now);
    if let Some(queued) = queued {
        transaction::remember(state, queued, is_rewritten.then_some(&asked.request));
    }
    flow
}

#[inline]
fn outward(
    scope: &Scope,
    asked: &Asked<'_>,
    state: &SessionState,
    context: &SessionContext,
    rewriter: &mut Rewriter,
) -> (Outward, Option<Sha>) {
    let outward = match asked.recognised {
        Ok(spec) if state.is_queueing() && !can_be_queued(spec) => Outward::Refused(not_in_multi(spec)),
        Ok(spec) if spec.names == ReplyNames::Script => {
            let action = match spec.class {
                Class::Script(action) => Some(action),
                _ => None,
            };
            let scripts = &context.router.namespaced_scripts;
            return scripts.outward(scope, spec, action, &asked.request, rewriter);
        }
        Ok(spec) => scope.outward(spec, &asked.request, rewriter),
        Err(CommandError::Unknown) => match context.router.unknown_commands.known(asked.request.arg(0)) {
            Some(learned) => scope.outward_learned(&learned.name, learned.keys, &asked.request, rewriter),
            None => Outward::Same,
        },
        Err(_) => Outward::Same,
    };
    (outward, None)
}

/// Whether a command begins when all before it have been answered: the errors of what is outstanding quote names
/// of the database that SELECT leaves, and what is about all keys takes several commands of the server.
#[inline]
fn begins_alone(spec: &Spec) -> bool {
    matches!(spec.class, Class::Local(Local::Select) | Class::Keyspace(_))
}

/// Whether a command means in a transaction what it means outside: what is about all keys of the namespace,
/// or about its databases, takes more than one command of the server.
fn can_be_queued(spec: &Spec) -> bool {
    !matches!(
        spec.class,
        Class::Local(Local::Select)
            | Class::Database(Database::Move)
            | Class::Keyspace(Keyspace::Count | Keyspace::Flush | Keyspace::RandomKey)
            | Class::Script(ScriptAction::Flush | ScriptAction::Load)
    ) && spec.name != "script|show"
}

fn not_in_multi(spec: &Spec) -> Bytes {
    encode::error_reply(format!(
        "ERR nearside: {} is not available inside MULTI in a namespace",
        spec.name.to_ascii_uppercase()
    ))
}

#[inline]
fn names(
    asked: &Asked<'_>,
    script: Option<Sha>,
    state: &SessionState,
    context: &SessionContext,
) -> NamesInReply {
    let scripts = || context.router.namespaced_scripts.clone();
    match asked.recognised {
        Ok(spec) if spec.is_exec() => NamesInReply::OfExec(transaction::reply_names(state), scripts()),
        Ok(_) if state.is_queueing() => NamesInReply::Of(ReplyNames::None),
        Ok(spec) if spec.names == ReplyNames::Script => NamesInReply::OfScript(spec, script, scripts()),
        Ok(spec) => NamesInReply::Of(spec.names),
        Err(_) => NamesInReply::Of(ReplyNames::None),
    }
}

// === impl Naming ===

impl Naming {
    /// The names that the client has.
    pub(super) fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The answer with the names that the client has.
    #[inline]
    pub(super) fn renamed(&self, answer: Answer) -> Answer {
        match &self.names {
            NamesInReply::Of(ReplyNames::None) => answer,
            _ => self.clone().rename(answer),
        }
    }

    #[inline(never)]
    fn rename(self, answer: Answer) -> Answer {
        match answer {
            Answer::Now(reply) => Answer::Now(self.reply(reply)),
            Answer::Later(reply) => Answer::Later(self.later(reply)),
            Answer::Exclusive(work) => Answer::Exclusive(Box::pin(async move {
                match work.await {
                    ExclusiveEnd::Reply(reply) => ExclusiveEnd::Reply(self.reply(reply)),
                    ExclusiveEnd::Sent(reply) => ExclusiveEnd::Sent(self.later(reply)),
                    ExclusiveEnd::Step => ExclusiveEnd::Step,
                }
            })),
            // Nothing that L1 answers has names, and the rest has none of keys.
            answer @ (Answer::Appended | Answer::Confirmation(_) | Answer::Mailed) => answer,
        }
    }

    fn later(self, reply: LocalBoxFuture<'static, Bytes>) -> LocalBoxFuture<'static, Bytes> {
        Box::pin(async move { self.reply(reply.await) })
    }

    fn reply(&self, reply: Bytes) -> Bytes {
        match &self.names {
            NamesInReply::Of(names) => self.scope.inward(*names, reply),
            NamesInReply::OfExec(names, scripts) => {
                scripts.inward_of_exec(self.scope.inward_of_exec(names, reply))
            }
            NamesInReply::OfScript(spec, script, scripts) => {
                let reply = self.scope.inward(spec.names, reply);
                scripts.inward(&self.scope, spec, *script, reply)
            }
        }
    }
}
