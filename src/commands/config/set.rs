//! CONFIG SET.

use bytes::Bytes;
use futures_util::future::join_all;

use super::parameters::{self, OWN_PREFIX, SET_UPSTREAM};
use crate::cache::SharedCache;
use crate::commands::context::{ExecContext, SessionContext};
use crate::config::{Change, Key};
use crate::invalidation::Invalidation;
use crate::protocol::resp::encode;
use crate::protocol::resp::reply::ok;
use crate::protocol::resp::request::Request;
use crate::router::Answer;
use crate::telemetry;

/// CONFIG SET: all of it or nothing.
pub(in crate::commands) fn answer(request: &Request<'_>, context: &SessionContext) -> Answer {
    if request.len() % 2 == 1 {
        return Answer::Now(encode::error_reply("ERR syntax error"));
    }
    let args: Vec<String> =
        request.args().skip(2).map(|argument| String::from_utf8_lossy(argument).into_owned()).collect();
    let pairs: Vec<(String, &str)> =
        args.chunks_exact(2).map(|pair| (pair[0].to_ascii_lowercase(), &*pair[1])).collect();
    let is_cluster = context.router.upstream().is_cluster();
    let is_passed_on = match &pairs[..] {
        [(name, _)] if name == SET_UPSTREAM => true,
        pairs => !is_cluster && pairs.iter().all(|(name, _)| parameters::is_of_upstream(name, false)),
    };
    if is_passed_on {
        return set_on_every_primary(request, context);
    }
    Answer::Now(match changes(&pairs, context) {
        Ok(changes) => {
            for (change, text) in changes {
                apply(change, text, context);
            }
            ok()
        }
        Err(error) => error,
    })
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

/// Sets a parameter on every primary, or gives an error: what the others did is not undone.
fn set_on_every_primary(request: &Request<'_>, context: &SessionContext) -> Answer {
    let asked = context.router.queries.send_to_primaries(&request.args().collect::<Vec<_>>(), false);
    Answer::Later(Box::pin(async move {
        let replies = join_all(asked).await;
        let none = || encode::error_reply("CLUSTERDOWN nearside: no primary is known yet");
        let error = replies.iter().find_map(|reply| reply.as_ref().err()).cloned();
        error.unwrap_or_else(|| replies.into_iter().flatten().next().unwrap_or_else(none))
    }))
}

/// What is to be changed, if all of it may be.
fn changes<'a>(
    pairs: &[(String, &'a str)],
    context: &SessionContext,
) -> Result<Vec<(Change, &'a str)>, Bytes> {
    let is_cluster = context.router.upstream().is_cluster();
    for (name, _) in pairs {
        let own = name.strip_prefix(OWN_PREFIX).map(|key| key.replace('-', "_"));
        let is_own = own.is_some_and(|key| Key::named(&key).is_some());
        // One server knows more, and says so where all is set there.
        let is_known = parameters::is_of_daemon(name, is_cluster)
            || parameters::is_of_upstream(name, true)
            || (!is_cluster && parameters::is_of_operator(name));
        if !(is_own || is_known) {
            let error = format!("ERR Unknown option or number of arguments for CONFIG SET - '{name}'");
            return Err(encode::error_reply(error));
        }
    }
    let mut changes = Vec::new();
    for (index, (name, text)) in pairs.iter().enumerate() {
        let fail = |why: &str| {
            let error = format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}");
            Err(encode::error_reply(error))
        };
        if pairs[..index].iter().any(|(before, _)| before == name) {
            return fail("duplicate parameter");
        }
        if parameters::is_of_operator(name) {
            return fail("files, modules and credentials of the server are left to its operator");
        }
        if !is_cluster && parameters::is_of_upstream(name, false) {
            return fail("it is set at the server: set it apart from what is set at nearside");
        }
        if name == SET_UPSTREAM {
            return fail("it is set on every primary of the upstream: set it alone");
        }
        if parameters::is_of_upstream(name, is_cluster) {
            return fail(
                "it is a parameter of the upstream's servers, which nearside leaves to their operator",
            );
        }
        match parameters::read(name, text) {
            None => return fail("can't set immutable config"),
            Some(Err(why)) => return fail(&why),
            Some(Ok(change)) => match broken_rule(&change, context) {
                Some(why) => return fail(&why),
                None => changes.push((change, *text)),
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

fn apply(change: Change, text: &str, context: &SessionContext) {
    let settings = &context.server.settings;
    let key = change.key();
    let mut text = text.to_owned();
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
            context.clients.all().iter().for_each(|client| client.mailbox.wake());
        }
        Change::L1Ttl(ttl) => keep_for(context, |cache| cache.keep_for(Some(ttl), None)),
        Change::NegativeTtl(ttl) => keep_for(context, |cache| cache.keep_for(None, Some(ttl))),
        Change::LogLevel(filter) => {
            telemetry::set_filter(&filter);
            text = filter;
        }
        Change::MaxClients(count) => settings.max_clients.set_size(count),
        Change::SlowlogLogSlowerThan(micros) => {
            settings.slowlog_log_slower_than.set(micros);
            context.server.note_slowlog();
        }
        Change::SlowlogMaxLen(count) => settings.slowlog_max_len.set_size(count),
        Change::TrackingKeysMax(count) => settings.tracking_keys_max.set_size(count),
    }
    tracing::info!(key, value = text, "changed by CONFIG SET");
    context.server.typed().insert(key, text);
}

/// Changes how long entries are kept, and drops those there are: they were to be kept for another time.
fn keep_for(context: &SessionContext, change: impl FnOnce(&SharedCache)) {
    if let Some(cache) = &context.report.cache {
        change(cache);
        cache.invalidate(&Invalidation::All, &context.stats);
    }
}
