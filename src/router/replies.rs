//! What a client gets for what came from upstream, and for what did not come.

use bytes::{Bytes, BytesMut};

use crate::protocol::command::Spec;
use crate::protocol::resp::Resp;
use crate::protocol::resp::encode;
use crate::protocol::resp::request::OwnedRequest;
use crate::protocol::resp::resp2::{self, Form};
use crate::upstream::{Outcome, UpstreamError};

/// What a client gets for what came from upstream.
pub(super) fn render(outcome: Outcome, form: Form, request: &OwnedRequest, resp: Resp) -> Bytes {
    match outcome {
        Ok(reply) => match resp {
            Resp::Three => reply.frame,
            Resp::Two => in_resp2(&reply.frame, form, request).unwrap_or(reply.frame),
        },
        Err(failure) => failure_reply(&failure),
    }
}

/// The reply in RESP2, when that differs.
pub(super) fn in_resp2(frame: &Bytes, form: Form, request: &OwnedRequest) -> Option<Bytes> {
    if !resp2::needs_conversion(frame, form) {
        return None;
    }
    let mut out = BytesMut::with_capacity(frame.len());
    resp2::to_resp2(frame, form, &request.as_request(), &mut out).ok()?;
    Some(out.freeze())
}

/// The error reply for a command that has no reply from upstream.
pub(super) fn failure_reply(failure: &UpstreamError) -> Bytes {
    encode::error_reply(failure.to_string())
}

/// The error that replaces an unexpected reply of a node to `command`: the node's own error, or one that says
/// that the reply does not fit. Joined with other replies, such a frame would make a wrong or a broken reply.
pub(super) fn odd_reply(command: &str, frame: &Bytes) -> Bytes {
    match frame.first() {
        Some(b'-') => frame.clone(),
        _ => encode::error_reply(format!(
            "ERR nearside: a node answered {command} with something that is no reply to it; it may or may not have been executed"
        )),
    }
}

/// As [`odd_reply`], for a command of the table.
pub(super) fn odd_reply_to(spec: &Spec, frame: &Bytes) -> Bytes {
    odd_reply(&name_for_clients(spec), frame)
}

/// The error reply for a command that does not work where it was sent.
pub(super) fn out_of_place(spec: &Spec) -> Bytes {
    let name = name_for_clients(spec);
    encode::error_reply(format!(
        "ERR {name} is not available here through nearside: it needs state that outlives the request"
    ))
}

/// The name of a command in capitals, with its container, as in `CONFIG GET`.
pub(super) fn name_for_clients(spec: &Spec) -> String {
    spec.name.to_ascii_uppercase().replace('|', " ")
}

/// The outcome of a command whose connection ended before it was answered.
pub(super) fn stopped<T>(_: T) -> Outcome {
    Err(UpstreamError::Stopped)
}
