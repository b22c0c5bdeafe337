//! LOLWUT: a small picture, and which version this is.

use bytes::Bytes;

use crate::protocol::resp::encode;
use crate::protocol::resp::reply::text;
use crate::protocol::resp::request::Request;
use crate::protocol::resp::{Resp, parse_integer};

const PICTURE: &str = r"
        near                                   far
    .----------.        .  . .:.:.:::::::::::::::::::::.
    | app [##] |)))  . .:.:::                         :::
    '----------'        .  . .:.:.:::::::::::::::::::::'
     a thought            the same thought, remembered
";

/// LOLWUT [VERSION version] and whatever numbers the picture of another server would take.
pub(super) fn lolwut(request: &Request<'_>, resp: Resp, redis_version: &str) -> Bytes {
    let version = request.arg(1).eq_ignore_ascii_case(b"version") && request.len() > 2;
    if version && parse_integer(request.arg(2)).is_none() {
        return encode::error_reply("ERR value is not an integer or out of range");
    }
    let line = format!("nearside ver. {}, before Redis ver. {redis_version}\n", env!("CARGO_PKG_VERSION"));
    text(PICTURE.trim_start_matches('\n').to_owned() + "\n" + &line, resp)
}
