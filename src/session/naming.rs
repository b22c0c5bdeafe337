//! How a reply gets the names that a client in a namespace has.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;

use crate::namespace::Scope;
use crate::protocol::command::{ReplyNames, Spec};
use crate::router::{Answer, ExclusiveEnd, NamespacedScripts, Sha};

/// How the reply to one request gets the names that its client has.
#[derive(Clone, Debug)]
pub(super) struct Naming {
    scope: Rc<Scope>,
    names: NamesInReply,
}

/// Where names stand in a reply.
#[derive(Clone, Debug)]
pub(super) enum NamesInReply {
    /// Where its command has them.
    Of(ReplyNames),
    /// In the replies to the commands that EXEC carries out; some may be scripts of these.
    OfExec(Rc<[ReplyNames]>, Arc<NamespacedScripts>),
    /// Where a command on scripts has them, and the script that it brought.
    OfScript(&'static Spec, Option<Sha>, Arc<NamespacedScripts>),
}

// === impl Naming ===

impl Naming {
    /// A reply with names there, for a client in `scope`.
    pub(super) fn new(scope: Rc<Scope>, names: NamesInReply) -> Naming {
        Naming { scope, names }
    }

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
