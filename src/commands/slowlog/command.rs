//! SLOWLOG GET, LEN and RESET.

use bytes::{Bytes, BytesMut};

use crate::commands::server_state::ServerState;
use crate::protocol::resp::reply::{number, ok, wrong_number};
use crate::protocol::resp::request::Request;
use crate::protocol::resp::{encode, parse_integer};

/// Entries that SLOWLOG GET gives when the request does not say how many.
const SHOWN: usize = 10;

/// SLOWLOG GET [count], the newest first; -1 is all.
pub(in crate::commands) fn get(request: &Request<'_>, server: &ServerState) -> Bytes {
    let count = match request.len() {
        2 => Some(SHOWN),
        3 => match parse_integer(request.arg(2)) {
            Some(-1) => Some(usize::MAX),
            count => count.and_then(|count| usize::try_from(count).ok()),
        },
        _ => {
            return wrong_number(request, "SLOWLOG");
        }
    };
    let Some(count) = count else {
        return encode::error_reply("ERR count should be greater than or equal to -1");
    };
    let log = server.slowlog.lock();
    let mut out = BytesMut::new();
    encode::array(&mut out, count.min(log.entries.len()));
    for entry in log.entries.iter().take(count) {
        entry.write(&mut out);
    }
    out.freeze()
}

/// SLOWLOG LEN.
pub(in crate::commands) fn len(server: &ServerState) -> Bytes {
    number(server.slowlog.lock().entries.len() as i64)
}

/// SLOWLOG RESET.
pub(in crate::commands) fn reset(server: &ServerState) -> Bytes {
    server.slowlog.lock().clear();
    ok()
}
