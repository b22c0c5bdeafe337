//! The reply to EXEC, made of what the server answered and of what was answered here.

use bytes::{BufMut, Bytes, BytesMut};

use super::part::ExecElement;
use crate::protocol::resp::cursor::{self, ReplyHead};
use crate::protocol::resp::{Resp, encode};
use crate::router::replies::{failure_reply, in_resp2, odd_reply};
use crate::router::turns::give_turn;
use crate::upstream::{Outcome, UpstreamReply, answers_exec};

/// What EXEC answers that has nothing to carry out.
pub(super) fn nothing() -> UpstreamReply {
    UpstreamReply { frame: Bytes::from_static(b"*0\r\n"), rerouted: false, tracked: false, by: None }
}

/// The answer to EXEC when a watched key has changed, or may have.
pub(super) fn changed() -> UpstreamReply {
    UpstreamReply { frame: Bytes::from_static(b"_\r\n"), rerouted: false, tracked: false, by: None }
}

/// The reply to EXEC.
pub(super) fn executed(outcome: Outcome, elements: &[ExecElement], resp: Resp) -> Bytes {
    let frame = match outcome {
        Ok(reply) => reply.frame,
        Err(failure) => return failure_reply(&failure),
    };
    match replies_in(&frame, sent(elements), resp) {
        Ok(replies) => joined(replies, elements),
        Err(reply) => reply,
    }
}

/// The reply to EXEC where there are very many elements: they are dropped one by one.
pub(super) async fn executed_in_turns(outcome: Outcome, elements: Vec<ExecElement>, resp: Resp) -> Bytes {
    let frame = match outcome {
        Ok(reply) => reply.frame,
        Err(failure) => return failure_reply(&failure),
    };
    let mut replies = match replies_in(&frame, sent(&elements), resp) {
        Ok(replies) => replies,
        Err(reply) => return reply,
    };
    let mut out = BytesMut::new();
    encode::array(&mut out, elements.len());
    for (index, element) in elements.into_iter().enumerate() {
        join(&mut out, &mut replies, &element);
        give_turn(index).await;
    }
    out.freeze()
}

/// The server's replies to the `count` commands that were executed; otherwise the reply to EXEC.
pub(super) fn replies_in(
    frame: &Bytes,
    count: usize,
    resp: Resp,
) -> Result<impl Iterator<Item = Bytes>, Bytes> {
    match (cursor::head(frame), cursor::elements(frame)) {
        (Some(ReplyHead::Null { .. }), _) if resp == Resp::Two => Err(Bytes::from_static(b"*-1\r\n")),
        (Some(ReplyHead::Null { .. }), _) => Err(Bytes::from_static(b"_\r\n")),
        (_, Some(replies)) if answers_exec(frame, count) => {
            Ok(replies.flatten().map(|reply| frame.slice_ref(reply)))
        }
        _ => Err(odd_reply("EXEC", frame)),
    }
}

/// How many of them the server carries out.
fn sent(elements: &[ExecElement]) -> usize {
    elements.iter().filter(|element| matches!(element, ExecElement::Sent(..))).count()
}

/// The daemon's answers and the server's, each at its place.
pub(super) fn joined(mut replies: impl Iterator<Item = Bytes>, elements: &[ExecElement]) -> Bytes {
    let mut out = BytesMut::new();
    encode::array(&mut out, elements.len());
    elements.iter().for_each(|element| join(&mut out, &mut replies, element));
    out.freeze()
}

pub(super) fn join(out: &mut BytesMut, replies: &mut impl Iterator<Item = Bytes>, element: &ExecElement) {
    match element {
        ExecElement::Made(reply) => out.put_slice(reply),
        ExecElement::Sent(part, resp) => {
            let reply = replies.next().unwrap_or_default();
            match resp {
                Resp::Three => out.put_slice(&reply),
                Resp::Two => {
                    out.put_slice(&in_resp2(&reply, part.route.form, &part.request).unwrap_or(reply));
                }
            }
        }
    }
}
