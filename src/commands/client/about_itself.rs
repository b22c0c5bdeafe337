//! Commands by which a client describes itself: its names, its capabilities, and the replies that it wants.

use bytes::Bytes;

use crate::clients::ClientFlag;
use crate::commands::client_state::{ClientState, ReplyMode};
use crate::protocol::resp::encode;
use crate::protocol::resp::reply::{bulk, null, ok, printed};
use crate::protocol::resp::request::Request;

/// The name that the client gave itself, or null.
pub(in crate::commands) fn name(client: &ClientState) -> Bytes {
    let names = client.entry.names();
    if names.client.is_empty() {
        return null(client.resp());
    }
    bulk(&names.client)
}

/// The longest name of a client: each of three names is kept for as long as it is connected.
pub(in crate::commands) const NAME_BYTES_MAX: usize = 1024;

/// The error for a client that says more.
pub(in crate::commands) const TOO_LONG: &str =
    "ERR nearside: what a client says of itself has 1024 bytes at most";

/// CLIENT SETNAME.
pub(in crate::commands) fn set_name(name: &[u8], client: &ClientState) -> Bytes {
    if !is_valid_name(name) {
        return encode::error_reply(
            "ERR Client names cannot contain spaces, newlines or special characters.",
        );
    }
    if name.len() > NAME_BYTES_MAX {
        return encode::error_reply(TOO_LONG);
    }
    client.entry.names().client = name.to_vec();
    ok()
}

/// CLIENT SETINFO, which client libraries send at connect. In the words of Redis 7.2, which brought it.
pub(in crate::commands) fn set_info(request: &Request<'_>, client: &ClientState) -> Bytes {
    let (option, value) = (request.arg(2), request.arg(3));
    let mut names = client.entry.names();
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

/// CLIENT CAPA of Valkey: what a client is capable of, as far as it has a name. No client is redirected here.
pub(in crate::commands) fn capa(request: &Request<'_>, client: &ClientState) -> Bytes {
    if request.args().skip(2).any(|capability| capability.eq_ignore_ascii_case(b"redirect")) {
        client.entry.mark(ClientFlag::CanRedirect, true);
    }
    ok()
}

/// CLIENT IMPORT-SOURCE of Valkey: nothing is imported through the daemon.
pub(in crate::commands) fn import_source(mode: &[u8]) -> Bytes {
    if mode.eq_ignore_ascii_case(b"off") {
        ok()
    } else {
        encode::error_reply("ERR Server is not in import mode")
    }
}

/// CLIENT NO-EVICT and NO-TOUCH, which change nothing here but what CLIENT LIST shows.
pub(in crate::commands) fn on_or_off(mode: &[u8], mark: ClientFlag, client: &ClientState) -> Bytes {
    let on = mode.eq_ignore_ascii_case(b"on");
    if !on && !mode.eq_ignore_ascii_case(b"off") {
        return encode::error_reply("ERR syntax error");
    }
    client.entry.mark(mark, on);
    ok()
}

/// Whether Redis takes this as the name of a client: printable ASCII without spaces.
pub(in crate::commands) fn is_valid_name(name: &[u8]) -> bool {
    name.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

/// CLIENT REPLY: which replies the client wants from here on.
pub(in crate::commands) fn reply(request: &Request<'_>, client: &mut ClientState) -> Bytes {
    let mode = request.arg(2);
    if mode.eq_ignore_ascii_case(b"on") {
        client.replies = ReplyMode::On;
        return ok();
    }
    if mode.eq_ignore_ascii_case(b"off") {
        client.replies = ReplyMode::Off;
    } else if mode.eq_ignore_ascii_case(b"skip") {
        if client.replies != ReplyMode::Off {
            client.replies = ReplyMode::SkipBoth;
        }
    } else {
        return encode::error_reply("ERR syntax error");
    }
    Bytes::new()
}
