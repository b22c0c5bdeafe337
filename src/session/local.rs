//! The commands that the daemon answers itself, because they are about the connection or about the daemon.

use bytes::{Bytes, BytesMut};

use super::state::{Replies, State};
use super::{SessionContext, client, hello, info, spelled};
use crate::command::{Fault, Local, Spec};
use crate::proxy::Answer;
use crate::resp::encode;
use crate::resp::request::Request;
use crate::resp::{Resp, parse_integer};

const OK: &[u8] = b"+OK\r\n";

/// Answers `request`, which is the command `local`.
pub(super) fn answer(
    local: Local,
    spec: &'static Spec,
    request: &Request<'_>,
    state: &mut State,
    context: &SessionContext,
) -> Answer<'static> {
    if matches!(local, Local::Hello | Local::Info)
        && let Some(wait) = context.proxy.wait_for_upstream()
    {
        // Both tell the version of the upstream: the first clients wait for it a moment.
        return wait;
    }
    let reply = match local {
        Local::Ping => ping(request, spec),
        Local::Echo => bulk(request.arg(1)),
        Local::Quit => {
            state.leaving = true;
            ok()
        }
        Local::Reset => {
            state.reset();
            Bytes::from_static(b"+RESET\r\n")
        }
        Local::Select => select(request.arg(1)),
        Local::Hello => hello::hello(request, state, &context.report),
        Local::Auth => hello::auth(request),
        Local::Info => info::info(request, state.resp, &context.report),
        Local::AclWhoAmI => bulk(b"default"),
        Local::Role => Bytes::from_static(b"*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"),
        Local::SlowlogGet => Bytes::from_static(b"*0\r\n"),
        Local::SlowlogLen => Bytes::from_static(b":0\r\n"),
        Local::SlowlogReset | Local::ClientCapa | Local::ClientImportSource => ok(),
        Local::ClientReply => return client_reply(request, state),
        Local::ClientId => number(state.client.id as i64),
        Local::ClientGetName => client::name(state),
        Local::ClientSetName => client::set_name(request.arg(2), state),
        Local::ClientSetInfo => client::set_info(request, state),
        Local::ClientInfo => client::info(state),
        Local::ClientNoEvict | Local::ClientNoTouch => client::on_or_off(request.arg(2)),
        Local::ClientUnblock => return client::unblock(request, context),
        Local::ClientList | Local::ClientKill => {
            encode::error_reply(format!("ERR {} is not supported by nearside yet", spelled(spec)))
        }
    };
    Answer::Now(reply)
}

fn ping(request: &Request<'_>, spec: &Spec) -> Bytes {
    match request.len() {
        1 => Bytes::from_static(b"+PONG\r\n"),
        2 => bulk(request.arg(1)),
        _ => {
            let mut out = BytesMut::new();
            Fault::Arity(spec.name).write(request, &mut out);
            out.freeze()
        }
    }
}

/// Behind the daemon is a cluster, which has one database: a Redis with `databases 1` answers the same.
fn select(index: &[u8]) -> Bytes {
    match parse_integer(index) {
        Some(0) => ok(),
        Some(index) if i32::try_from(index).is_err() => {
            encode::error_reply("ERR value is out of range, value must between -2147483648 and 2147483647")
        }
        Some(_) => encode::error_reply("ERR DB index is out of range"),
        None => encode::error_reply("ERR value is not an integer or out of range"),
    }
}

fn client_reply(request: &Request<'_>, state: &mut State) -> Answer<'static> {
    let mode = request.arg(2);
    if mode.eq_ignore_ascii_case(b"on") {
        state.replies = Replies::On;
        return Answer::Now(ok());
    }
    if mode.eq_ignore_ascii_case(b"off") {
        state.replies = Replies::Off;
    } else if mode.eq_ignore_ascii_case(b"skip") {
        if state.replies != Replies::Off {
            state.replies = Replies::SkipBoth;
        }
    } else {
        return Answer::Now(encode::error_reply("ERR syntax error"));
    }
    Answer::Now(Bytes::new())
}

pub(super) fn ok() -> Bytes {
    Bytes::from_static(OK)
}

pub(super) fn bulk(bytes: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(bytes.len() + 16);
    encode::bulk(&mut out, bytes);
    out.freeze()
}

pub(super) fn number(number: i64) -> Bytes {
    let mut out = BytesMut::new();
    encode::integer(&mut out, number);
    out.freeze()
}

/// A text for people, as INFO gives it: a verbatim string in RESP3.
pub(super) fn text(text: &str, resp: Resp) -> Bytes {
    match resp {
        Resp::Two => bulk(text.as_bytes()),
        Resp::Three => {
            let mut out = BytesMut::with_capacity(text.len() + 24);
            out.extend_from_slice(format!("={}\r\ntxt:", text.len() + 4).as_bytes());
            out.extend_from_slice(text.as_bytes());
            out.extend_from_slice(b"\r\n");
            out.freeze()
        }
    }
}
