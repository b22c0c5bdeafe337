//! CLIENT: what a client says of itself, and what it is told of itself.

use bytes::{Bytes, BytesMut};

use super::SessionContext;
use super::local::{bulk, number, ok, text};
use super::state::State;
use crate::clock;
use crate::proxy::Answer;
use crate::resp::request::Request;
use crate::resp::{encode, parse_integer};

/// The name that the client gave itself, or null.
pub(super) fn name(state: &State) -> Bytes {
    if state.name.is_empty() {
        let mut out = BytesMut::new();
        encode::null(&mut out, state.resp);
        return out.freeze();
    }
    bulk(&state.name)
}

/// CLIENT SETNAME.
pub(super) fn set_name(name: &[u8], state: &mut State) -> Bytes {
    if !is_valid_name(name) {
        return encode::error_reply(
            "ERR Client names cannot contain spaces, newlines or special characters.",
        );
    }
    state.name = name.to_vec();
    ok()
}

/// CLIENT SETINFO, which client libraries send at connect. In the words of Redis 7.2, which brought it.
pub(super) fn set_info(request: &Request<'_>, state: &mut State) -> Bytes {
    let (option, value) = (request.arg(2), request.arg(3));
    let field = if option.eq_ignore_ascii_case(b"lib-name") {
        &mut state.library_name
    } else if option.eq_ignore_ascii_case(b"lib-ver") {
        &mut state.library_version
    } else {
        let error = [&b"ERR Unrecognized option '"[..], option, b"'"].concat();
        return encode::error_reply(error);
    };
    if !is_valid_name(value) {
        let error = [option, &b" cannot contain spaces, newlines or special characters."[..]].concat();
        return encode::error_reply([b"ERR ", &error[..]].concat());
    }
    *field = value.to_vec();
    ok()
}

/// CLIENT INFO: the fields that Redis gives and that mean something here.
pub(super) fn info(state: &State) -> Bytes {
    let age = clock::now().saturating_sub(state.connected_at) / 1_000_000_000;
    let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let line = format!(
        "id={} addr={} laddr={} name={} age={age} db=0 resp={} lib-name={} lib-ver={} user=default\n",
        state.client.id,
        state.address,
        state.local_address,
        shown(&state.name),
        if state.resp == crate::resp::Resp::Three { 3 } else { 2 },
        shown(&state.library_name),
        shown(&state.library_version),
    );
    text(&line, state.resp)
}

/// CLIENT UNBLOCK. Only the node knows whether the other client's wait was over already, so the answer takes a moment.
pub(super) fn unblock(request: &Request<'_>, context: &SessionContext) -> Answer<'static> {
    let answer = |reply: &'static str| Answer::Now(encode::error_reply(reply));
    if request.len() > 4 {
        let name = request.arg(1);
        let error =
            [b"ERR unknown subcommand or wrong number of arguments for '", name, b"'. Try CLIENT HELP."];
        return Answer::Now(encode::error_reply(error.concat()));
    }
    let reason = request.arg(3);
    let error = match request.len() {
        3 => false,
        _ if reason.eq_ignore_ascii_case(b"timeout") => false,
        _ if reason.eq_ignore_ascii_case(b"error") => true,
        _ => return answer("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"),
    };
    let Some(id) = parse_integer(request.arg(2)) else {
        return answer("ERR value is not an integer or out of range");
    };
    let client = u64::try_from(id).ok().and_then(|id| context.clients.get(id));
    let Some(told) = client.and_then(|client| client.wait.unblock(error)) else {
        return Answer::Now(number(0));
    };
    Answer::Later(Box::pin(async move { number(i64::from(told.await.unwrap_or(false))) }))
}

/// CLIENT NO-EVICT and NO-TOUCH, which change nothing here.
pub(super) fn on_or_off(mode: &[u8]) -> Bytes {
    let known = mode.eq_ignore_ascii_case(b"on") || mode.eq_ignore_ascii_case(b"off");
    if known { ok() } else { encode::error_reply("ERR syntax error") }
}

/// Whether Redis takes this as the name of a client: printable ASCII without spaces.
pub(super) fn is_valid_name(name: &[u8]) -> bool {
    name.iter().all(|byte| (b'!'..=b'~').contains(byte))
}
