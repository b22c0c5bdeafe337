//! Joins the replies of all primaries to one.

use bytes::{Bytes, BytesMut};

use crate::node::NodeId;
use crate::protocol::command::{Gather, Spec};
use crate::protocol::resp::cursor::{self, ReplyHead};
use crate::protocol::resp::encode;
use crate::router::replies::{failure_reply, name_for_clients, odd_reply_to};
use crate::upstream::UpstreamError;

/// A node, and its reply or why there is none.
pub(in crate::router) type NodeReply = (NodeId, Result<Bytes, UpstreamError>);

/// The reply of a node, if it can be a reply to such a command; an error in its place otherwise.
pub(in crate::router) fn fitting(gather: Gather, spec: &Spec, frame: Bytes) -> Bytes {
    let fits = match gather {
        Gather::AllOk | Gather::AnyOk => &frame[..] == b"+OK\r\n",
        Gather::First => cursor::text(&frame).is_some(),
        Gather::Sum => cursor::integer(&frame).is_some(),
        Gather::Running => cursor::field(&frame, b"running_script").is_some(),
    };
    if fits { frame } else { odd_reply_to(spec, &frame) }
}

/// Joins the replies of all primaries, of which there is at least one.
pub(in crate::router) fn gathered(gather: Gather, spec: &Spec, replies: &[NodeReply]) -> Bytes {
    match gather {
        Gather::AllOk | Gather::First => match replies.iter().find(|(_, outcome)| !is_done(outcome)) {
            None => first(replies),
            Some(_) => not_by_all(spec, replies),
        },
        Gather::AnyOk => stopped_by_any(replies),
        Gather::Sum => match replies.iter().find(|(_, outcome)| !is_number(outcome)) {
            None => sum(replies),
            Some((_, outcome)) => reply(outcome),
        },
        Gather::Running => {
            let runs = |frame: &&Bytes| {
                cursor::field(frame, b"running_script").is_some_and(|script| !is_null(script))
            };
            let mut frames = replies.iter().filter_map(|(_, outcome)| outcome.as_ref().ok());
            let running = frames.clone().find(runs);
            let any = frames.find(|frame| !frame.starts_with(b"-"));
            running.or(any).cloned().unwrap_or_else(|| first(replies))
        }
    }
}

fn first(replies: &[NodeReply]) -> Bytes {
    replies.first().map(|(_, outcome)| reply(outcome)).unwrap_or_default()
}

/// The reply for the client, from the outcome of one node.
fn reply(outcome: &Result<Bytes, UpstreamError>) -> Bytes {
    match outcome {
        Ok(frame) => frame.clone(),
        Err(failure) => failure_reply(failure),
    }
}

fn is_done(outcome: &Result<Bytes, UpstreamError>) -> bool {
    outcome.as_ref().is_ok_and(|frame| !frame.starts_with(b"-"))
}

fn is_number(outcome: &Result<Bytes, UpstreamError>) -> bool {
    outcome.as_ref().is_ok_and(|frame| cursor::integer(frame).is_some())
}

pub(in crate::router) fn is_null(frame: &[u8]) -> bool {
    matches!(cursor::head(frame), Some(ReplyHead::Null { .. }))
}

fn sum(replies: &[NodeReply]) -> Bytes {
    let numbers = replies.iter().filter_map(|(_, outcome)| cursor::integer(outcome.as_ref().ok()?));
    let mut out = BytesMut::new();
    encode::integer(&mut out, numbers.fold(0, i64::saturating_add));
    out.freeze()
}

/// The error of a command that some primaries did not execute. If all answer with one error, that is the
/// reply; otherwise the client must know which of them did.
fn not_by_all(spec: &Spec, replies: &[NodeReply]) -> Bytes {
    let done = replies.iter().filter(|(_, outcome)| is_done(outcome)).count();
    let words = first(replies);
    if done == 0 && replies.iter().all(|(_, outcome)| outcome.is_ok() && reply(outcome) == words)
        || replies.len() == 1
    {
        return words;
    }
    let mut text = format!(
        "ERR nearside: {} was carried out by {done} of {} primaries.",
        name_for_clients(spec),
        replies.len()
    )
    .into_bytes();
    for (node, outcome) in replies.iter().filter(|(_, outcome)| !is_done(outcome)) {
        text.extend_from_slice(format!(" {node}: ").as_bytes());
        let words = reply(outcome);
        text.extend_from_slice(words.trim_ascii_end().strip_prefix(b"-").unwrap_or(&words));
    }
    encode::error_reply(text)
}

/// `OK` if any stopped what it ran; else the error of one that runs something, else of one that could not be
/// asked.
fn stopped_by_any(replies: &[NodeReply]) -> Bytes {
    let rank = |outcome: &Result<Bytes, UpstreamError>| match outcome {
        Ok(frame) if !frame.starts_with(b"-") => 0,
        Ok(frame) if !frame.starts_with(b"-NOTBUSY") => 1,
        Err(_) => 2,
        Ok(_) => 3,
    };
    replies
        .iter()
        .min_by_key(|(_, outcome)| rank(outcome))
        .map(|(_, outcome)| reply(outcome))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::command::recognise;
    use crate::protocol::resp::request::OwnedRequest;

    #[test]
    fn replies_of_all_primaries_become_one() {
        let spec = recognise(&OwnedRequest::from_args(["FLUSHALL"]).as_request()).unwrap();
        let running: &[u8] = b"%1\r\n$14\r\nrunning_script\r\n%0\r\n";
        let idle: &[u8] = b"%1\r\n$14\r\nrunning_script\r\n_\r\n";
        let some: &[u8] =
            b"-ERR nearside: FLUSHALL was carried out by 1 of 2 primaries. node1: MISCONF no\r\n";
        let cases: [(Gather, &[&[u8]], &[u8]); 13] = [
            (Gather::AllOk, &[b"+OK\r\n", b"+OK\r\n"], b"+OK\r\n"),
            (Gather::AllOk, &[b"-ERR syntax error\r\n", b"-ERR syntax error\r\n"], b"-ERR syntax error\r\n"),
            (Gather::AllOk, &[b"+OK\r\n", b"-MISCONF no\r\n"], some),
            (Gather::AllOk, &[b"-MISCONF no\r\n"], b"-MISCONF no\r\n"),
            (Gather::AnyOk, &[b"-NOTBUSY no\r\n", b"+OK\r\n"], b"+OK\r\n"),
            (Gather::AnyOk, &[b"-NOTBUSY no\r\n", b"-UNKILLABLE no\r\n"], b"-UNKILLABLE no\r\n"),
            (Gather::AnyOk, &[b"-NOTBUSY no\r\n"], b"-NOTBUSY no\r\n"),
            (Gather::Sum, &[b":1\r\n", b":41\r\n"], b":42\r\n"),
            (Gather::Sum, &[b":1\r\n", b"-LOADING\r\n"], b"-LOADING\r\n"),
            (Gather::Sum, &[b":9223372036854775807\r\n", b":1\r\n"], b":9223372036854775807\r\n"),
            (Gather::First, &[b"$1\r\na\r\n", b"$1\r\na\r\n"], b"$1\r\na\r\n"),
            (Gather::Running, &[idle, running], running),
            (Gather::Running, &[b"-BUSY\r\n", idle], idle),
        ];
        for (gather, replies, expected) in cases {
            let replies = replies.iter().enumerate();
            let replies: Vec<NodeReply> = replies
                .map(|(number, frame)| {
                    (NodeId::new(format!("node{number}")), Ok(Bytes::copy_from_slice(frame)))
                })
                .collect();
            assert_eq!(gathered(gather, spec, &replies), expected, "{gather:?} {replies:?}");
        }
    }
}
