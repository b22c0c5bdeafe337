//! PING, QUIT and SELECT: the connection itself.

use bytes::Bytes;

use super::client_state::ClientState;
use crate::protocol::command::{CommandError, Spec};
use crate::protocol::resp::reply::{bulk, ok};
use crate::protocol::resp::request::Request;
use crate::protocol::resp::{encode, parse_integer};

/// PING, with or without a message.
pub(super) fn ping(request: &Request<'_>, spec: &Spec) -> Bytes {
    match request.len() {
        1 => Bytes::from_static(b"+PONG\r\n"),
        2 => bulk(request.arg(1)),
        _ => CommandError::Arity(spec.name).reply(request),
    }
}

/// QUIT.
pub(super) fn quit(client: &mut ClientState) -> Bytes {
    client.leaving = true;
    ok()
}

/// SELECT. The daemon has one database, as a cluster has: it answers like a Redis with `databases 1`.
pub(super) fn select(index: &[u8]) -> Bytes {
    match parse_integer(index) {
        Some(0) => ok(),
        Some(index) if i32::try_from(index).is_err() => {
            encode::error_reply("ERR value is out of range, value must between -2147483648 and 2147483647")
        }
        Some(_) => encode::error_reply("ERR DB index is out of range"),
        None => encode::error_reply("ERR value is not an integer or out of range"),
    }
}
