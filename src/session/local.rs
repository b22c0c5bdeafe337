//! The commands that the daemon answers itself, because they are about the connection or about the daemon.

use bytes::{Bytes, BytesMut};

use super::state::{ReplyMode, SessionState};
use super::{
    SessionContext, acl, client, client_kill, client_list, config, hello, info, latency, lolwut, pause,
};
use super::{nearside, password, slowlog, subscriber};
use crate::clients::ClientFlag;
use crate::protocol::command::{CommandError, Local, Spec};
use crate::protocol::resp::encode;
use crate::protocol::resp::request::Request;
use crate::protocol::resp::{Resp, parse_integer};
use crate::router::Answer;

const OK: &[u8] = b"+OK\r\n";

/// Whether the servers may be asked for a part of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExecContext {
    /// They may.
    None,
    /// The answer is an element of EXEC's, and wanted now.
    AtOnce,
}

/// Answers `request`, which is the command `local`.
pub(super) fn answer(
    local: Local,
    spec: &'static Spec,
    request: &Request<'_>,
    state: &mut SessionState,
    context: &SessionContext,
    haste: ExecContext,
) -> Answer {
    if matches!(
        local,
        Local::ConfigGet | Local::ConfigSet | Local::Hello | Local::Info | Local::NearsideExplain
    ) && let Some(wait) = context.proxy.wait_for_upstream()
    {
        // These tell something of the upstream: the first clients wait for it a moment.
        return wait;
    }
    if let Some(turn) = password::wait_for_turn(local, request, state, &context.desk) {
        return Answer::NotYet(turn);
    }
    if local == Local::Reset
        && let Some(leaving) = subscriber::leave(state)
    {
        return Answer::NotYet(leaving);
    }
    Answer::Now(match local {
        Local::ClientReply => return client_reply(request, state),
        Local::ClientKill => return client_kill::answer(request, state, context),
        Local::ClientUnblock => return client::unblock(request, state, context),
        Local::Info => return info::info(request, state.resp(), context, haste),
        Local::NearsideFlush => return nearside::flush(request, state, context, haste),
        Local::ConfigGet => return config::get(request, state, context, haste),
        Local::ConfigSet => return config::set(request, context),
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
        Local::Hello => hello::hello(request, state, context),
        Local::Auth => hello::auth(request, state, context),
        Local::Role => Bytes::from_static(b"*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"),
        Local::Lolwut => lolwut::lolwut(request, state.resp(), &context.report.server_facts().redis_version),
        Local::AclDryRun | Local::AclGetUser | Local::AclList | Local::AclLog => {
            about_users(local, request, state, context)
        }
        Local::AclUsers | Local::AclWhoAmI => about_users(local, request, state, context),
        Local::ConfigResetStat
        | Local::LatencyDoctor
        | Local::LatencyGraph
        | Local::LatencyHistogram
        | Local::LatencyHistory
        | Local::LatencyLatest
        | Local::LatencyReset
        | Local::NearsideExplain
        | Local::NearsideFresh
        | Local::NearsideHelp
        | Local::SlowlogGet
        | Local::SlowlogLen
        | Local::SlowlogReset => about_daemon(local, request, state, context),
        Local::ClientCapa
        | Local::ClientGetName
        | Local::ClientId
        | Local::ClientImportSource
        | Local::ClientInfo
        | Local::ClientList
        | Local::ClientNoEvict
        | Local::ClientNoTouch
        | Local::ClientPause
        | Local::ClientSetInfo
        | Local::ClientSetName
        | Local::ClientUnpause => about_clients(local, request, state, context),
    })
}

fn about_users(local: Local, request: &Request<'_>, state: &SessionState, context: &SessionContext) -> Bytes {
    match local {
        Local::AclDryRun => acl::dry_run(request, &context.desk.denied),
        Local::AclGetUser => acl::get_user(request.arg(2), context.desk.password(), state.resp()),
        Local::AclList => acl::list(context.desk.password()),
        Local::AclLog => acl::log(request),
        Local::AclUsers => acl::users(),
        _ => acl::who_am_i(),
    }
}

fn about_daemon(
    local: Local,
    request: &Request<'_>,
    state: &SessionState,
    context: &SessionContext,
) -> Bytes {
    match local {
        Local::LatencyDoctor => latency::doctor(state.resp()),
        Local::LatencyGraph => latency::graph(request.arg(2)),
        Local::LatencyHistogram => latency::histogram(state.resp()),
        Local::LatencyReset => latency::reset(),
        Local::NearsideExplain => nearside::explain(request, state.resp(), context),
        Local::NearsideFresh => nearside::fresh(request, state),
        Local::NearsideHelp => nearside::help(),
        Local::SlowlogGet => slowlog::get(request, &context.desk),
        Local::SlowlogLen => slowlog::len(&context.desk),
        Local::SlowlogReset => slowlog::reset(&context.desk),
        Local::ConfigResetStat => {
            info::reset_stats(&context.report, &context.desk);
            ok()
        }
        _ => latency::no_events(),
    }
}

fn about_clients(
    local: Local,
    request: &Request<'_>,
    state: &mut SessionState,
    context: &SessionContext,
) -> Bytes {
    match local {
        Local::ClientId => number(state.client.id as i64),
        Local::ClientGetName => client::name(state),
        Local::ClientSetName => client::set_name(request.arg(2), state),
        Local::ClientSetInfo => client::set_info(request, state),
        Local::ClientInfo => client::info(state, context),
        Local::ClientList => client_list::list(request, state, context),
        Local::ClientNoEvict => client::on_or_off(request.arg(2), ClientFlag::NoEvict, state),
        Local::ClientNoTouch => client::on_or_off(request.arg(2), ClientFlag::NoTouch, state),
        Local::ClientPause => pause::begin(request, &context.desk),
        Local::ClientUnpause => pause::end(&context.desk),
        Local::ClientCapa => client::capa(request, state),
        _ => client::import_source(request.arg(2)),
    }
}

fn ping(request: &Request<'_>, spec: &Spec) -> Bytes {
    match request.len() {
        1 => Bytes::from_static(b"+PONG\r\n"),
        2 => bulk(request.arg(1)),
        _ => {
            let mut out = BytesMut::new();
            CommandError::Arity(spec.name).write(request, &mut out);
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

fn client_reply(request: &Request<'_>, state: &mut SessionState) -> Answer {
    let mode = request.arg(2);
    if mode.eq_ignore_ascii_case(b"on") {
        state.replies = ReplyMode::On;
        return Answer::Now(ok());
    }
    if mode.eq_ignore_ascii_case(b"off") {
        state.replies = ReplyMode::Off;
    } else if mode.eq_ignore_ascii_case(b"skip") {
        if state.replies != ReplyMode::Off {
            state.replies = ReplyMode::SkipBoth;
        }
    } else {
        return Answer::Now(encode::error_reply("ERR syntax error"));
    }
    Answer::Now(Bytes::new())
}

pub(super) fn ok() -> Bytes {
    Bytes::from_static(OK)
}

/// What C's `%s` prints of `text`: nothing from a zero byte on. Redis makes many of its errors with it.
pub(super) fn printed(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or_default()
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

/// What Redis says of a subcommand that takes fewer arguments than it was given, where its arity alone does
/// not tell.
pub(super) fn wrong_number(request: &Request<'_>, command: &str) -> Bytes {
    let begin = b"ERR unknown subcommand or wrong number of arguments for '";
    encode::error_reply([begin, request.arg(1), b"'. Try ", command.as_bytes(), b" HELP."].concat())
}

/// The null of a bulk string.
pub(super) fn null(resp: Resp) -> Bytes {
    Bytes::from_static(encode::null_reply(resp))
}

/// A text for people, as INFO gives it: a verbatim string in RESP3.
pub(super) fn text(text: impl AsRef<[u8]>, resp: Resp) -> Bytes {
    let text = text.as_ref();
    match resp {
        Resp::Two => bulk(text),
        Resp::Three => {
            let mut out = BytesMut::with_capacity(text.len() + 24);
            out.extend_from_slice(format!("={}\r\ntxt:", text.len() + 4).as_bytes());
            out.extend_from_slice(text);
            out.extend_from_slice(b"\r\n");
            out.freeze()
        }
    }
}
