//! From the table's word for a command ([`Local`]) to what answers it.

use bytes::Bytes;

use super::client::{about_itself, kill, list, pause, unblock};
use super::client_state::ClientState;
use super::config::{get, set};
use super::context::{ExecContext, SessionContext};
use super::{acl, connection, hello, info, latency, lolwut, nearside, slowlog};
use crate::clients::ClientFlag;
use crate::protocol::command::{Local, Spec};
use crate::protocol::resp::reply::{bulk, number};
use crate::protocol::resp::request::Request;
use crate::router::Answer;

/// Answers `request`, which is the command `local`, for `client`.
pub(crate) fn answer(
    local: Local,
    spec: &'static Spec,
    request: &Request<'_>,
    client: &mut ClientState,
    context: &SessionContext,
    exec: ExecContext,
) -> Answer {
    let (server, resp) = (&context.server, client.resp());
    Answer::Now(match local {
        Local::AclDryRun => acl::dry_run(request, &server.denied),
        Local::AclGetUser => acl::get_user(request.arg(2), server.password(), resp),
        Local::AclList => acl::list(server.password()),
        Local::AclLog => acl::log(request),
        Local::AclUsers => Bytes::from_static(b"*1\r\n$7\r\ndefault\r\n"),
        Local::AclWhoAmI => bulk(b"default"),
        Local::Auth => hello::auth(request, client, context),
        Local::ClientCapa => about_itself::capa(request, client),
        Local::ClientGetName => about_itself::name(client),
        Local::ClientId => number(client.entry.id as i64),
        Local::ClientImportSource => about_itself::import_source(request.arg(2)),
        Local::ClientInfo => list::info(client, context),
        Local::ClientKill => return kill::answer(request, client, context),
        Local::ClientList => list::list(request, client, context),
        Local::ClientNoEvict => about_itself::on_or_off(request.arg(2), ClientFlag::NoEvict, client),
        Local::ClientNoTouch => about_itself::on_or_off(request.arg(2), ClientFlag::NoTouch, client),
        Local::ClientPause => pause::begin(request, server),
        Local::ClientReply => about_itself::reply(request, client),
        Local::ClientSetInfo => about_itself::set_info(request, client),
        Local::ClientSetName => about_itself::set_name(request.arg(2), client),
        Local::ClientUnblock => return unblock::answer(request, client, context),
        Local::ClientUnpause => pause::end(server),
        Local::ConfigGet => return get::answer(request, client, context, exec),
        Local::ConfigResetStat => return set::reset_stats(context, exec),
        Local::ConfigSet => return set::answer(request, context, exec),
        Local::Echo => bulk(request.arg(1)),
        Local::Hello => hello::hello(request, client, context),
        Local::Info => return info::answer(request, client, context, exec),
        Local::LatencyDoctor => latency::doctor(resp),
        Local::LatencyGraph => latency::graph(request.arg(2)),
        Local::LatencyHistogram => latency::histogram(resp),
        Local::LatencyHistory | Local::LatencyLatest => Bytes::from_static(b"*0\r\n"),
        Local::LatencyReset => number(0),
        Local::Lolwut => lolwut::lolwut(request, resp, &context.report.server_facts().redis_version),
        Local::NearsideExplain => nearside::explain(request, client, context),
        Local::NearsideFlush => return nearside::flush(request, context, exec),
        Local::NearsideFresh => nearside::fresh(request, client),
        Local::NearsideHelp => nearside::help(),
        Local::Ping => connection::ping(request, spec),
        Local::Quit => connection::quit(client),
        Local::Role => Bytes::from_static(b"*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"),
        Local::Select => return connection::select(request, client, context, exec),
        Local::SlowlogGet => slowlog::get(request, &client.entry, server),
        Local::SlowlogLen => slowlog::len(&client.entry, server),
        Local::SlowlogReset => slowlog::reset(&client.entry, server),
    })
}
