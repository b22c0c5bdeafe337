//! SLOWLOG: commands that took long, from when this daemon read them until it had their reply.
//!
//! What the daemon answers at once is not measured. Must never know: which command a request is, or how it
//! was answered. Begin with `timer.rs`, which goes with a request until its reply is there, then `log.rs`.

mod log;
mod timer;

pub(super) use log::Slowlog;
pub(crate) use timer::LatencyTimer;

use bytes::{Bytes, BytesMut};

use crate::clients::Client;
use crate::commands::server_state::ServerState;
use crate::protocol::resp::reply::{number, ok, wrong_number};
use crate::protocol::resp::request::Request;
use crate::protocol::resp::{encode, parse_integer};

/// Entries that SLOWLOG GET gives when the request does not say how many.
const SHOWN: usize = 10;

/// SLOWLOG GET [count], the newest first; -1 is all.
pub(super) fn get(request: &Request<'_>, client: &Client, server: &ServerState) -> Bytes {
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
    encode::array(&mut out, log.seen_by(client).take(count).count());
    for entry in log.seen_by(client).take(count) {
        entry.write(&mut out);
    }
    out.freeze()
}

/// SLOWLOG LEN.
pub(super) fn len(client: &Client, server: &ServerState) -> Bytes {
    number(server.slowlog.lock().seen_by(client).count() as i64)
}

/// SLOWLOG RESET.
pub(super) fn reset(client: &Client, server: &ServerState) -> Bytes {
    server.slowlog.lock().clear(client);
    ok()
}
