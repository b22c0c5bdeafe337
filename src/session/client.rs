//! CLIENT: what a client says of itself, and what it is told of itself.

use bytes::Bytes;

use super::SessionContext;
use super::client_list::ClientLines;
use super::local::{bulk, null, number, ok, printed, text};
use super::state::SessionState;
use crate::clients::ClientFlag;
use crate::clock;
use crate::protocol::resp::request::Request;
use crate::protocol::resp::{encode, parse_integer};
use crate::router::Answer;

/// The name that the client gave itself, or null.
pub(super) fn name(state: &SessionState) -> Bytes {
    let names = state.client.names();
    if names.client.is_empty() {
        return null(state.resp());
    }
    bulk(&names.client)
}

/// What a client says of itself is no longer than this: each of three names is kept for as long as it is
/// connected.
pub(super) const NAME_BYTES_MAX: usize = 1024;

/// What one is told that says more.
pub(super) const TOO_LONG: &str = "ERR nearside: what a client says of itself has 1024 bytes at most";

/// CLIENT SETNAME.
pub(super) fn set_name(name: &[u8], state: &SessionState) -> Bytes {
    if !is_valid_name(name) {
        return encode::error_reply(
            "ERR Client names cannot contain spaces, newlines or special characters.",
        );
    }
    if name.len() > NAME_BYTES_MAX {
        return encode::error_reply(TOO_LONG);
    }
    state.client.names().client = name.to_vec();
    ok()
}

/// CLIENT SETINFO, which client libraries send at connect. In the words of Redis 7.2, which brought it.
pub(super) fn set_info(request: &Request<'_>, state: &SessionState) -> Bytes {
    let (option, value) = (request.arg(2), request.arg(3));
    let mut names = state.client.names();
    let field = if option.eq_ignore_ascii_case(b"lib-name") {
        &mut names.library
    } else if option.eq_ignore_ascii_case(b"lib-ver") {
        &mut names.library_version
    } else {
        let error = [&b"ERR Unrecognized option '"[..], printed(option), b"'"].concat();
        return encode::error_reply(error);
    };
    if !is_valid_name(value) {
        let error =
            [printed(option), &b" cannot contain spaces, newlines or special characters."[..]].concat();
        return encode::error_reply([b"ERR ", &error[..]].concat());
    }
    if value.len() > NAME_BYTES_MAX {
        return encode::error_reply(TOO_LONG);
    }
    *field = value.to_vec();
    ok()
}

/// CLIENT INFO: the line of CLIENT LIST about this client.
pub(super) fn info(state: &SessionState, context: &SessionContext) -> Bytes {
    let mut lines = ClientLines::new(clock::now(), &context.report.server_facts());
    lines.add(&state.client);
    text(lines.finish(), state.resp())
}

/// CLIENT UNBLOCK. Only the node knows whether the other client's wait was over already, so the answer takes
/// a moment, and what the client asks behind it waits for that: it might be what the other one waits for.
pub(super) fn unblock(request: &Request<'_>, state: &SessionState, context: &SessionContext) -> Answer {
    if let Some(reply) = state.own_writes.take_answer() {
        return Answer::Now(reply);
    }
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
    let own_writes = state.own_writes.clone();
    Answer::NotYet(Box::pin(async move {
        own_writes.put_answer(number(i64::from(told.await.unwrap_or(false))));
    }))
}

/// CLIENT CAPA of Valkey: what a client is capable of, as far as it has a name. No client is redirected here.
pub(super) fn capa(request: &Request<'_>, state: &SessionState) -> Bytes {
    if request.args().skip(2).any(|capability| capability.eq_ignore_ascii_case(b"redirect")) {
        state.client.mark(ClientFlag::CanRedirect, true);
    }
    ok()
}

/// CLIENT IMPORT-SOURCE of Valkey: nothing is imported through the daemon.
pub(super) fn import_source(mode: &[u8]) -> Bytes {
    if mode.eq_ignore_ascii_case(b"off") {
        ok()
    } else {
        encode::error_reply("ERR Server is not in import mode")
    }
}

/// CLIENT NO-EVICT and NO-TOUCH, which change nothing here but what CLIENT LIST shows.
pub(super) fn on_or_off(mode: &[u8], mark: ClientFlag, state: &SessionState) -> Bytes {
    let on = mode.eq_ignore_ascii_case(b"on");
    if !on && !mode.eq_ignore_ascii_case(b"off") {
        return encode::error_reply("ERR syntax error");
    }
    state.client.mark(mark, on);
    ok()
}

/// Whether Redis takes this as the name of a client: printable ASCII without spaces.
pub(super) fn is_valid_name(name: &[u8]) -> bool {
    name.iter().all(|byte| (b'!'..=b'~').contains(byte))
}
