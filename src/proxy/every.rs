//! Commands about the whole keyspace, or about what every primary must know: sent to all, gathered into one reply.

use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use futures_util::future::join_all;

use super::{Answer, Caller, Proxy, failure_reply, in_resp2, stopped};
use crate::command::{Flags, Gather, Spec};
use crate::resp::Resp;
use crate::resp::cursor;
use crate::resp::encode;
use crate::resp::request::Request;
use crate::upstream::Call;

// === impl Proxy ===

impl Proxy {
    pub(super) fn every<'a>(
        self: &'a Rc<Proxy>,
        spec: &'static Spec,
        gather: Gather,
        request: &Request<'_>,
        caller: Caller<'_>,
    ) -> Answer<'a> {
        let writes = spec.flags.has(Flags::WRITE);
        if writes {
            self.invalidate_all();
        }
        let write = writes.then(|| self.begin_write(Vec::new(), caller).of_anything());
        let request = request.to_owned();
        let call = Call { bytes: request.bytes(), slot: None, reads_only: spec.flags.has(Flags::READ) };
        let sent = self.upstream.send_every(&call);
        if sent.is_empty() {
            let failure = self.upstream.no_topology();
            return Answer::Now(failure_reply(&failure));
        }
        let (proxy, resp) = (self.clone(), caller.resp);
        Answer::Later(Box::pin(async move {
            let outcomes = join_all(sent.into_iter().map(|sent| sent.reply)).await;
            if writes {
                proxy.invalidate_all();
            }
            drop(write);
            let mut frames = Vec::with_capacity(outcomes.len());
            for outcome in outcomes {
                match outcome.unwrap_or_else(stopped) {
                    Ok(reply) => frames.push(reply.frame),
                    // What the others did stands.
                    Err(failure) => return failure_reply(&failure),
                }
            }
            let reply = gathered(gather, &frames);
            match resp {
                Resp::Three => reply,
                Resp::Two => in_resp2(&reply, spec.form, &request).unwrap_or(reply),
            }
        }))
    }
}

fn is_null(frame: &[u8]) -> bool {
    matches!(cursor::head(frame), Some(cursor::Head::Null { .. }))
}

/// One reply from those of all primaries.
fn gathered(gather: Gather, frames: &[Bytes]) -> Bytes {
    let is_error = |frame: &&Bytes| frame.starts_with(b"-");
    let first_error = frames.iter().find(is_error).cloned();
    let first = || frames.first().cloned().unwrap_or_default();
    match gather {
        Gather::AnyOk => frames.iter().find(|frame| !is_error(frame)).cloned().unwrap_or_else(first),
        _ if first_error.is_some() => first_error.unwrap_or_default(),
        Gather::AllOk | Gather::First => first(),
        Gather::Any => {
            let keys: Vec<&Bytes> = frames.iter().filter(|frame| !is_null(frame)).collect();
            fastrand::choice(keys).cloned().unwrap_or_else(first)
        }
        Gather::Sum => {
            let mut out = BytesMut::new();
            encode::integer(&mut out, frames.iter().filter_map(|frame| cursor::integer(frame)).sum());
            out.freeze()
        }
        Gather::Concat => concatenated(frames),
        Gather::AllBits => all_bits(frames),
    }
}

fn concatenated(frames: &[Bytes]) -> Bytes {
    let elements: Vec<&[u8]> =
        frames.iter().filter_map(|frame| cursor::elements(frame)).flatten().flatten().collect();
    let mut out = BytesMut::with_capacity(frames.iter().map(Bytes::len).sum::<usize>() + 16);
    encode::array(&mut out, elements.len());
    for element in elements {
        out.extend_from_slice(element);
    }
    out.freeze()
}

fn all_bits(frames: &[Bytes]) -> Bytes {
    let mut all: Vec<i64> = Vec::new();
    for frame in frames {
        let bits = cursor::elements(frame).into_iter().flatten().flatten().filter_map(cursor::integer);
        for (index, bit) in bits.enumerate() {
            match all.get_mut(index) {
                Some(so_far) => *so_far = (*so_far).min(bit),
                None => all.push(bit),
            }
        }
    }
    let mut out = BytesMut::new();
    encode::array(&mut out, all.len());
    for bit in all {
        encode::integer(&mut out, bit);
    }
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_of_all_primaries_become_one() {
        let frames = |frames: &[&'static [u8]]| {
            frames.iter().map(|frame| Bytes::from_static(frame)).collect::<Vec<_>>()
        };
        let cases: [(Gather, &[&'static [u8]], &[u8]); 11] = [
            (Gather::AllOk, &[b"+OK\r\n", b"+OK\r\n"], b"+OK\r\n"),
            (Gather::AllOk, &[b"+OK\r\n", b"-ERR no\r\n"], b"-ERR no\r\n"),
            (Gather::AnyOk, &[b"-NOTBUSY no\r\n", b"+OK\r\n"], b"+OK\r\n"),
            (Gather::AnyOk, &[b"-NOTBUSY no\r\n"], b"-NOTBUSY no\r\n"),
            (Gather::Sum, &[b":1\r\n", b":41\r\n"], b":42\r\n"),
            (
                Gather::Concat,
                &[b"*1\r\n$1\r\na\r\n", b"*0\r\n", b"*1\r\n$1\r\nb\r\n"],
                b"*2\r\n$1\r\na\r\n$1\r\nb\r\n",
            ),
            (Gather::AllBits, &[b"*2\r\n:1\r\n:0\r\n", b"*2\r\n:1\r\n:1\r\n"], b"*2\r\n:1\r\n:0\r\n"),
            (Gather::Any, &[b"_\r\n", b"$1\r\na\r\n", b"_\r\n"], b"$1\r\na\r\n"),
            (Gather::Any, &[b"_\r\n", b"$0\r\n\r\n"], b"$0\r\n\r\n"),
            (Gather::Any, &[b"_\r\n", b"_\r\n"], b"_\r\n"),
            (Gather::First, &[b"$1\r\na\r\n", b"$1\r\na\r\n"], b"$1\r\na\r\n"),
        ];
        for (gather, replies, expected) in cases {
            assert_eq!(gathered(gather, &frames(replies)), expected, "{gather:?}");
        }
    }
}
