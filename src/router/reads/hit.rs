//! A hit, in the version of the protocol that the client has chosen.

use bytes::BytesMut;

use crate::cache::{Hit, Resp2};
use crate::protocol::command::Spec;
use crate::protocol::resp::Resp;
use crate::protocol::resp::request::Request;
use crate::protocol::resp::resp2;
use crate::router::answer::Answer;

/// Appends a hit in the form that the client has its replies in.
#[inline]
pub(super) fn append(hit: Hit<'_>, spec: &Spec, request: &Request<'_>, resp: Resp) -> Answer {
    if resp == Resp::Two && hit.resp2() != Resp2::Same {
        return append_converted(hit, spec, request);
    }
    hit.append();
    Answer::Appended
}

/// Appends a hit for a client of RESP2, where that differs.
fn append_converted(hit: Hit<'_>, spec: &Spec, request: &Request<'_>) -> Answer {
    let hit = match hit.resp2() {
        Resp2::Head => match hit.append_as_array() {
            Ok(()) => return Answer::Appended,
            Err(hit) => hit,
        },
        Resp2::Same | Resp2::Other => hit,
    };
    let mut converted = BytesMut::new();
    // The reply was converted once when it came.
    if resp2::to_resp2(hit.resp3(), spec.form, request, &mut converted).is_err() {
        converted.extend_from_slice(hit.resp3());
    }
    Answer::Now(converted.freeze())
}
