//! CLIENT PAUSE and CLIENT UNPAUSE.

use std::time::Duration;

use bytes::Bytes;

use crate::clock;
use crate::commands::server_state::ServerState;
use crate::protocol::resp::encode;
use crate::protocol::resp::parse_integer;
use crate::protocol::resp::reply::{ok, wrong_number};
use crate::protocol::resp::request::Request;

/// CLIENT PAUSE timeout [WRITE|ALL].
pub(in crate::commands) fn begin(request: &Request<'_>, server: &ServerState) -> Bytes {
    if request.len() > 4 {
        return wrong_number(request, "CLIENT");
    }
    let all = match request.arg(3) {
        _ if request.len() == 3 => true,
        mode if mode.eq_ignore_ascii_case(b"all") => true,
        mode if mode.eq_ignore_ascii_case(b"write") => false,
        _ => return encode::error_reply("ERR CLIENT PAUSE mode must be WRITE or ALL"),
    };
    let Some(millis) = parse_integer(request.arg(2)) else {
        return encode::error_reply("ERR timeout is not an integer or out of range");
    };
    let Ok(millis) = u64::try_from(millis) else {
        return encode::error_reply("ERR timeout is negative");
    };
    server.pause(clock::now().saturating_add(clock::nanos(Duration::from_millis(millis))), all);
    ok()
}

/// CLIENT UNPAUSE.
pub(in crate::commands) fn end(server: &ServerState) -> Bytes {
    server.unpause();
    ok()
}
