//! CONFIG SET.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;

use super::parameters::{self, OWN_PREFIX, Reach};
use crate::cache::SharedCache;
use crate::clients::Clients;
use crate::commands::context::{ExecContext, SessionContext};
use crate::commands::report::ServerReport;
use crate::commands::server_state::ServerState;
use crate::config::{Change, Key};
use crate::invalidation::Invalidation;
use crate::protocol::resp::encode;
use crate::protocol::resp::reply::ok;
use crate::protocol::resp::request::Request;
use crate::router::{Answer, QueryReply};
use crate::stats::WorkerStats;
use crate::telemetry;

/// A parameter with its new value.
struct Pair<'a> {
    /// In lower case.
    name: String,
    value: &'a [u8],
}

/// What is to be changed here.
#[derive(Debug)]
enum OwnChange {
    /// A setting, and the value as it was written.
    Setting(Change, String),
    /// The password of clients.
    Password(Vec<u8>),
}

/// CONFIG SET: all of it or nothing. What is the servers' is set there first: they may refuse.
pub(in crate::commands) fn answer(
    request: &Request<'_>,
    context: &SessionContext,
    exec: ExecContext,
) -> Answer {
    if request.len() % 2 == 1 {
        return Answer::Now(encode::error_reply("ERR syntax error"));
    }
    let reach = Reach::of(context);
    let (of_servers, own): (Vec<Pair<'_>>, Vec<Pair<'_>>) =
        pairs(request).partition(|pair| reach.is_set_upstream(&pair.name));
    if exec == ExecContext::AtOnce && !of_servers.is_empty() {
        return Answer::Now(encode::error_reply(
            "ERR nearside cannot do this inside MULTI: it would have to wait",
        ));
    }
    let changes = match changes(&own, reach, context) {
        Ok(changes) => changes,
        Err(error) => return Answer::Now(error),
    };
    let target = Target::of(context);
    if of_servers.is_empty() {
        changes.into_iter().for_each(|change| target.apply(change));
        return Answer::Now(ok());
    }
    let words = of_servers.iter().flat_map(|pair| [pair.name.as_bytes(), pair.value]);
    let words: Vec<&[u8]> = [&b"CONFIG"[..], b"SET"].into_iter().chain(words).collect();
    let asked = context.router.queries.send_to_primaries(&words, false);
    if changes.is_empty() {
        return Answer::Later(Box::pin(answered(asked)));
    }
    // What the session asks behind it sees all of it.
    Answer::exclusive(async move {
        let reply = answered(asked).await;
        if !reply.starts_with(b"-") {
            changes.into_iter().for_each(|change| target.apply(change));
        }
        reply
    })
}

fn pairs<'a>(request: &Request<'a>) -> impl Iterator<Item = Pair<'a>> {
    (2..request.len()).step_by(2).map(|at| {
        let name = String::from_utf8_lossy(request.arg(at)).to_ascii_lowercase();
        Pair { name, value: request.arg(at + 1) }
    })
}

/// Whether one server carries out all of a CONFIG SET.
pub(crate) fn is_set_by_server(request: &Request<'_>) -> bool {
    request.len().is_multiple_of(2) && pairs(request).all(|pair| Reach::OneServer.is_set_upstream(&pair.name))
}

/// CONFIG RESETSTAT; a single server resets its counts as well. EXEC does not wait for that.
pub(in crate::commands) fn reset_stats(context: &SessionContext, exec: ExecContext) -> Answer {
    context.server.reset_stats(&context.report.stats);
    if context.router.upstream().is_cluster() {
        return Answer::Now(ok());
    }
    let asked = context.router.queries.send_to_primaries(&["CONFIG", "RESETSTAT"], false);
    match exec {
        ExecContext::AtOnce => Answer::Now(ok()),
        ExecContext::None => Answer::Later(Box::pin(async move {
            // A server that refuses keeps its counts; those of nearside are reset.
            drop(join_all(asked).await);
            ok()
        })),
    }
}

/// The reply of the primaries, or the first error: what the others did is not undone.
async fn answered(asked: Vec<QueryReply>) -> Bytes {
    let replies = join_all(asked).await;
    let none = || encode::error_reply("CLUSTERDOWN nearside: no primary is known yet");
    let error = replies.iter().find_map(|reply| reply.as_ref().err()).cloned();
    error.unwrap_or_else(|| replies.into_iter().flatten().next().unwrap_or_else(none))
}

/// What is to be changed here, if all of it may be.
fn changes(own: &[Pair<'_>], reach: Reach, context: &SessionContext) -> Result<Vec<OwnChange>, Bytes> {
    for Pair { name, .. } in own {
        let key = name.strip_prefix(OWN_PREFIX).map(|key| key.replace('-', "_"));
        let is_own = key.is_some_and(|key| Key::named(&key).is_some());
        let is_known = reach.is_of_daemon(name)
            || reach.is_of_upstream(name)
            || (reach != Reach::Cluster && parameters::is_of_operator(name));
        if !(is_own || is_known) {
            let error = format!("ERR Unknown option or number of arguments for CONFIG SET - '{name}'");
            return Err(encode::error_reply(error));
        }
    }
    let mut changes = Vec::new();
    for (index, Pair { name, value }) in own.iter().enumerate() {
        let fail = |why: &str| {
            let error = format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}");
            Err(encode::error_reply(error))
        };
        if own[..index].iter().any(|before| before.name == *name) {
            return fail("duplicate parameter");
        }
        if name == "requirepass" {
            changes.push(OwnChange::Password(value.to_vec()));
            continue;
        }
        if parameters::is_of_operator(name) {
            return fail("files, modules and credentials of the server are left to its operator");
        }
        if reach.is_of_upstream(name) {
            return fail(
                "it is a parameter of the upstream's servers, which nearside leaves to their operator (server_config)",
            );
        }
        let text = String::from_utf8_lossy(value).into_owned();
        match parameters::read(name, &text) {
            None => return fail("can't set immutable config"),
            Some(Err(why)) => return fail(&why),
            Some(Ok(change)) => match broken_rule(&change, context) {
                Some(why) => return fail(&why),
                None => changes.push(OwnChange::Setting(change, text)),
            },
        }
    }
    Ok(changes)
}

/// Why a value that is right in itself cannot be, beside the others.
fn broken_rule(change: &Change, context: &SessionContext) -> Option<String> {
    let interval = context.report.topology_refresh_interval;
    match change {
        Change::L1Ttl(_) | Change::NegativeTtl(_) if context.report.cache.is_none() => {
            Some("there is no near cache: l1_size is 0".to_owned())
        }
        Change::NegativeTtl(ttl) if *ttl < interval => {
            Some(format!("must be at least topology_refresh_interval = {} ms", interval.as_millis()))
        }
        Change::MaxClients(count) if *count > context.server.settings.clients_possible => Some(format!(
            "The operating system is not able to handle the specified number of clients, try with {}",
            context.server.settings.clients_possible
        )),
        _ => None,
    }
}

/// What changes reach.
struct Target {
    server: Arc<ServerState>,
    clients: Arc<Clients>,
    report: Arc<ServerReport>,
    stats: Arc<WorkerStats>,
}

// === impl Target ===

impl Target {
    fn of(context: &SessionContext) -> Target {
        Target {
            server: context.server.clone(),
            clients: context.clients.clone(),
            report: context.report.clone(),
            stats: context.stats.clone(),
        }
    }

    fn apply(&self, change: OwnChange) {
        match change {
            OwnChange::Setting(change, text) => self.set(change, text),
            OwnChange::Password(password) => {
                self.server.require_password(&password, self.report.allow_remote);
                tracing::info!(
                    is_needed = !password.is_empty(),
                    "the password of clients was changed by CONFIG SET"
                );
            }
        }
    }

    fn set(&self, change: Change, mut text: String) {
        let settings = &self.server.settings;
        let key = change.key();
        match change {
            Change::ClientOutputMax(bytes) => settings.client_output_max.set_size(bytes),
            Change::ClientStallTimeout(time) => {
                settings.client_stall_timeout.set_duration(time);
            }
            Change::ClientIdleTimeout(time) => {
                settings.client_idle_timeout.set_duration(time);
                // Redis counts it in seconds.
                if text.bytes().all(|byte| byte.is_ascii_digit()) {
                    text.push('s');
                }
                // Those that ask nothing would not look at it.
                self.clients.all().iter().for_each(|client| client.mailbox.wake());
            }
            Change::L1Ttl(ttl) => self.keep_for(|cache| cache.keep_for(Some(ttl), None)),
            Change::NegativeTtl(ttl) => self.keep_for(|cache| cache.keep_for(None, Some(ttl))),
            Change::LogLevel(filter) => {
                telemetry::set_filter(&filter);
                text = filter;
            }
            Change::MaxClients(count) => settings.max_clients.set_size(count),
            Change::SlowlogLogSlowerThan(micros) => {
                settings.slowlog_log_slower_than.set(micros);
                self.server.note_slowlog();
            }
            Change::SlowlogMaxLen(count) => settings.slowlog_max_len.set_size(count),
            Change::TrackingKeysMax(count) => settings.tracking_keys_max.set_size(count),
        }
        tracing::info!(key, value = text, "changed by CONFIG SET");
        self.server.typed().insert(key, text);
    }

    /// Changes how long entries are kept, and drops those there are: they were to be kept for another time.
    fn keep_for(&self, change: impl FnOnce(&SharedCache)) {
        if let Some(cache) = &self.report.cache {
            change(cache);
            cache.invalidate(&Invalidation::All, &self.stats);
        }
    }
}
