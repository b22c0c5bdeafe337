//! HELLO and AUTH: which version of the protocol, and who.
//!
//! The daemon has one user without a password, as a fresh Redis has: the errors are those of Redis in that state.

use bytes::{Bytes, BytesMut};

use super::client::is_valid_name;
use super::info::Report;
use super::local::{ok, printed};
use super::state::State;
use crate::resp::encode;
use crate::resp::request::Request;
use crate::resp::{Resp, parse_integer};

const NAME_REFUSED: &str = "ERR Client names cannot contain spaces, newlines or special characters.";
const WRONG_PASSWORD: &str = "WRONGPASS invalid username-password pair or user is disabled.";
const NO_PASSWORD: &str = "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?";

/// HELLO with its options. But for the name, nothing changes unless all of it is right.
pub(super) fn hello(request: &Request<'_>, state: &mut State, report: &Report) -> Bytes {
    // Redis 7.0 acts on each option when it reads it, whatever is wrong behind it; Valkey does so at the end.
    let at_once = report.server_facts().valkey_version.is_none();
    let mut name = None;
    let read = read_options(request, state.resp(), at_once, &mut name);
    if let Some(name) = name
        && (read.is_ok() || at_once)
    {
        state.client.names().client = name;
    }
    match read {
        Ok(resp) => {
            state.set_resp(resp);
            greeting(state, report)
        }
        Err(error) => encode::error_reply(error),
    }
}

/// AUTH password, and AUTH user password.
pub(super) fn auth(request: &Request<'_>) -> Bytes {
    match request.len() {
        2 => encode::error_reply(NO_PASSWORD),
        3 if request.arg(1) == b"default" => ok(),
        3 => encode::error_reply(WRONG_PASSWORD),
        _ => encode::error_reply("ERR syntax error"),
    }
}

/// The version that is wanted; the name goes to `name`.
fn read_options(
    request: &Request<'_>,
    present: Resp,
    at_once: bool,
    name: &mut Option<Vec<u8>>,
) -> Result<Resp, Vec<u8>> {
    if request.len() == 1 {
        return Ok(present);
    }
    let version =
        parse_integer(request.arg(1)).ok_or("ERR Protocol version is not an integer or out of range")?;
    let resp = match version {
        2 => Resp::Two,
        3 => Resp::Three,
        _ => return Err("NOPROTO unsupported protocol version".into()),
    };
    let mut wrong_user = false;
    let mut at = 2;
    while at < request.len() {
        let option = request.arg(at);
        let following = request.len() - 1 - at;
        if option.eq_ignore_ascii_case(b"auth") && following >= 2 {
            wrong_user = request.arg(at + 1) != b"default";
            if wrong_user && at_once {
                break;
            }
            at += 3;
        } else if option.eq_ignore_ascii_case(b"setname") && following >= 1 {
            let wanted = request.arg(at + 1);
            if !is_valid_name(wanted) {
                return Err(NAME_REFUSED.into());
            }
            *name = Some(wanted.to_vec());
            at += 2;
        } else {
            return Err([&b"ERR Syntax error in HELLO option '"[..], printed(option), b"'"].concat());
        }
    }
    if wrong_user { Err(WRONG_PASSWORD.into()) } else { Ok(resp) }
}

fn greeting(state: &State, report: &Report) -> Bytes {
    let mut out = BytesMut::new();
    let facts = report.server_facts();
    encode::map(&mut out, state.resp(), 7);
    let (server, version) = match (&facts.server_name, &facts.valkey_version) {
        (Some(name), Some(version)) => (&**name, version),
        _ => ("redis", &facts.redis_version),
    };
    for (name, value) in [("server", server), ("version", version)] {
        encode::bulk(&mut out, name.as_bytes());
        encode::bulk(&mut out, value.as_bytes());
    }
    encode::bulk(&mut out, b"proto");
    encode::integer(&mut out, if state.resp() == Resp::Three { 3 } else { 2 });
    encode::bulk(&mut out, b"id");
    encode::integer(&mut out, state.client.id as i64);
    for (name, value) in [("mode", "standalone"), ("role", "master")] {
        encode::bulk(&mut out, name.as_bytes());
        encode::bulk(&mut out, value.as_bytes());
    }
    encode::bulk(&mut out, b"modules");
    encode::array(&mut out, 0);
    out.freeze()
}
