//! Commands that every primary must carry out: sent to all, gathered into one reply.

use std::rc::Rc;

use bytes::Bytes;
use futures_util::future::{LocalBoxFuture, join_all};

use super::gather::{fitting, gathered};
use crate::protocol::command::{Flags, Gather, Spec};
use crate::protocol::resp::Resp;
use crate::protocol::resp::request::Request;
use crate::router::answer::Answer;
use crate::router::caller::Caller;
use crate::router::coherence::inflight::InflightKeys;
use crate::router::context::{PendingReplyOf, RouterContext};
use crate::router::replies::{failure_reply, in_resp2};
use crate::router::scripting::functions::FunctionCalls;
use crate::upstream::{Call, NodeIndex, Outcome};

/// Has commands carried out by every primary.
#[derive(Debug)]
pub(in crate::router) struct AllPrimaries {
    context: Rc<RouterContext>,
    functions: Rc<FunctionCalls>,
}

// === impl AllPrimaries ===

impl AllPrimaries {
    /// Asks the primaries of `context`.
    pub(in crate::router) fn new(
        context: Rc<RouterContext>,
        functions: Rc<FunctionCalls>,
    ) -> Rc<AllPrimaries> {
        Rc::new(AllPrimaries { context, functions })
    }

    /// Asks every primary, and makes one reply of theirs.
    pub(in crate::router) fn ask(
        self: &Rc<AllPrimaries>,
        spec: &'static Spec,
        gather: Gather,
        request: &Request<'_>,
        caller: Caller<'_>,
    ) -> Answer {
        let writes = spec.flags.has(Flags::WRITE);
        if writes {
            self.context.invalidate_all();
            self.functions.forget();
        }
        let write = writes.then(|| self.context.begin_write(InflightKeys::new(), None, caller).of_anything());
        let request = request.to_owned();
        let asked = match gather {
            Gather::AnyOk | Gather::Running => self.ask_every_dedicated(&request.bytes()),
            _ => {
                let reads_only = spec.flags.has(Flags::READ);
                let call = Call::without_keys(request.bytes(), reads_only);
                self.context.ask_every(&call.on(caller.inflight.database()))
            }
        };
        if asked.is_empty() {
            return Answer::Now(failure_reply(&self.context.upstream.no_topology()));
        }
        let (context, resp) = (self.context.clone(), caller.resp);
        Answer::Later(Box::pin(async move {
            let replies = join_all(asked.into_iter().map(|(node, outcome)| {
                let node = context.upstream.node(node);
                async move { (node, outcome.await.map(|reply| fitting(gather, spec, reply.frame))) }
            }));
            let replies = replies.await;
            if writes {
                context.invalidate_all();
            }
            drop(write);
            let reply = gathered(gather, spec, &replies);
            match resp {
                Resp::Three => reply,
                Resp::Two => in_resp2(&reply, spec.form, &request).unwrap_or(reply),
            }
        }))
    }

    /// Asks every primary, past all that it is busy with.
    fn ask_every_dedicated(&self, request: &Bytes) -> Vec<PendingReplyOf> {
        let ask = |node: &NodeIndex| {
            let outcome = self.context.upstream.clone().ask_dedicated(*node, request.clone());
            (*node, Box::pin(outcome) as LocalBoxFuture<'static, Outcome>)
        };
        self.context.upstream.primaries().iter().map(ask).collect()
    }
}
