//! COMMAND INFO and COMMAND DOCS of very many names: a node is asked for a few names at a time, so that
//! sessions get their turn. The answer about one name does not depend on the others.

use std::rc::Rc;

use bytes::{Bytes, BytesMut};

use crate::protocol::command::{CommandQuery, Spec};
use crate::protocol::resp::Resp;
use crate::protocol::resp::cursor::{self, ReplyHead};
use crate::protocol::resp::encode;
use crate::protocol::resp::request::{OwnedRequest, Request};
use crate::router::answer::Answer;
use crate::router::caller::Caller;
use crate::router::context::RouterContext;
use crate::router::replies::{failure_reply, in_resp2, odd_reply_to, stopped};
use crate::router::reply_bound::ReplyBound;
use crate::upstream::Call;

/// Names that a node is asked for at a time: its answer to one may be thousands of bytes.
const NAMES_AT_ONCE: usize = 64;

/// Where the names begin in a request.
const FIRST_NAME: usize = 2;

/// Whether a request names so much that other sessions have to get their turn meanwhile.
pub fn names_very_many(request: &Request<'_>) -> bool {
    request.len() > FIRST_NAME + NAMES_AT_ONCE
}

/// Answers COMMAND INFO and COMMAND DOCS of very many names.
#[derive(Debug)]
pub struct CommandQueries {
    context: Rc<RouterContext>,
}

// === impl CommandQueries ===

impl CommandQueries {
    /// Asks a node of `context`.
    pub(in crate::router) fn new(context: Rc<RouterContext>) -> Rc<CommandQueries> {
        Rc::new(CommandQueries { context })
    }

    /// Answers such a request; `bound` limits the joined reply.
    pub fn answer(
        self: &Rc<CommandQueries>,
        spec: &'static Spec,
        query: CommandQuery,
        request: &Request<'_>,
        caller: Caller<'_>,
        bound: ReplyBound,
    ) -> Answer {
        caller.inflight.note_sent();
        // All parts go to one node: others may be of another version.
        let Some(node) = self.context.upstream.any_node() else {
            return Answer::Now(failure_reply(&self.context.upstream.no_topology()));
        };
        let (this, resp, request) = (self.clone(), caller.resp, request.to_owned());
        Answer::Later(Box::pin(async move {
            let request = request.as_request();
            let (mut joined, mut count) = (BytesMut::new(), 0);
            for first in (FIRST_NAME..request.len()).step_by(NAMES_AT_ONCE) {
                let names = request.args_from(first).take(NAMES_AT_ONCE);
                let part = OwnedRequest::from_args(request.args().take(FIRST_NAME).chain(names));
                let call = Call::question(part.bytes());
                let outcome = this.context.upstream.send_to(node, call).reply.await.unwrap_or_else(stopped);
                let frame = match outcome {
                    Ok(reply) => reply.frame,
                    Err(failure) => return failure_reply(&failure),
                };
                let Some(elements) = elements_of(query, &frame, part.as_request().len() - FIRST_NAME) else {
                    return odd_reply_to(spec, &frame);
                };
                count += elements;
                let reply = match resp {
                    Resp::Three => frame,
                    Resp::Two => in_resp2(&frame, spec.form, &part).unwrap_or(frame),
                };
                let head = memchr::memchr(b'\n', &reply).map_or(reply.len(), |end| end + 1);
                joined.extend_from_slice(&reply[head..]);
                if joined.len() > bound.bytes {
                    return bound.exceeded();
                }
            }
            whole(query, resp, count, &joined)
        }))
    }
}

/// How many of `asked` names a node describes in `frame`; `None` if that is no reply to such a request. Of a
/// name that is none COMMAND INFO gives null, and COMMAND DOCS nothing.
fn elements_of(query: CommandQuery, frame: &[u8], asked: usize) -> Option<usize> {
    match (query, frame.first(), cursor::head(frame)?) {
        (CommandQuery::Info, Some(b'*'), ReplyHead::Aggregate { count, .. }) if count == asked => Some(count),
        (CommandQuery::Docs, Some(b'%'), ReplyHead::Aggregate { count, .. }) if count <= 2 * asked => {
            Some(count / 2)
        }
        _ => None,
    }
}

fn whole(query: CommandQuery, resp: Resp, count: usize, joined: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(joined.len() + 16);
    match query {
        CommandQuery::Docs => encode::map(&mut out, resp, count),
        CommandQuery::Info => encode::array(&mut out, count),
    }
    out.extend_from_slice(joined);
    out.freeze()
}
