//! CONFIG: parameters of the daemon as Redis names them and as its own configuration does, and those of the
//! data.

use std::collections::HashSet;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use futures_util::future::join_all;
use tokio::task::yield_now;

use super::SessionContext;

use super::local::{ExecContext, ok};
use super::parameters::{self, DAEMON, OWN_PREFIX, SET_UPSTREAM};
use super::state::SessionState;
use crate::config::{Change, KEYS, Key};
use crate::invalidation::Invalidation;
use crate::protocol::glob;
use crate::protocol::resp::Resp;
use crate::protocol::resp::cursor::{self, ReplyHead};
use crate::protocol::resp::encode;
use crate::protocol::resp::request::Request;
use crate::router::{Answer, Hold, QueryReply, Router};
use crate::telemetry;

/// With more patterns than these others get their turn after each so many of them, and servers are asked for
/// so many at a time.
const PATTERNS_AT_ONCE: usize = 16;

/// Parameters and their values, each once.
#[derive(Default)]
struct Pairs {
    list: Vec<(Vec<u8>, Vec<u8>)>,
    names: HashSet<Vec<u8>>,
}

/// CONFIG GET with any number of patterns. What is about the data, one server of the upstream is asked for;
/// inside MULTI there is no time for that.
pub(super) fn get(
    request: &Request<'_>,
    state: &SessionState,
    context: &SessionContext,
    haste: ExecContext,
) -> Answer {
    let resp = state.resp();
    let patterns: Vec<Vec<u8>> = request.args().skip(2).map(<[u8]>::to_vec).collect();
    let of_data = |pattern: &Vec<u8>| glob::is_plain(pattern) && may_be_about_data(pattern);
    if haste == ExecContext::AtOnce && patterns.iter().any(of_data) {
        let error = "ERR nearside cannot do this inside MULTI: it would have to ask the upstream";
        return Answer::Now(encode::error_reply(error));
    }
    let (known, mut pairs) = (known(context), Pairs::default());
    if haste == ExecContext::None && patterns.len() > PATTERNS_AT_ONCE {
        // What the session asks behind it may change what there is.
        let hold = Hold::of(&state.own_writes);
        let proxy = context.proxy.clone();
        return Answer::Later(Box::pin(async move {
            for patterns in patterns.chunks(PATTERNS_AT_ONCE) {
                add_own(patterns, &known, &mut pairs);
                yield_now().await;
            }
            for patterns in patterns.chunks(PATTERNS_AT_ONCE) {
                if let Err(error) = add_answers(ask(&proxy, patterns), &mut pairs).await {
                    return error;
                }
                yield_now().await;
            }
            drop(hold);
            map(&pairs, resp)
        }));
    }
    add_own(&patterns, &known, &mut pairs);
    let asked = if haste == ExecContext::None { ask(&context.proxy, &patterns) } else { Vec::new() };
    if asked.is_empty() {
        return Answer::Now(map(&pairs, resp));
    }
    Answer::Later(Box::pin(async move {
        match add_answers(asked, &mut pairs).await {
            Ok(()) => map(&pairs, resp),
            Err(error) => error,
        }
    }))
}

/// Asks a server for what may be about the data.
fn ask(proxy: &Rc<Router>, patterns: &[Vec<u8>]) -> Vec<QueryReply> {
    let patterns = patterns.iter().filter(|pattern| may_be_about_data(pattern));
    patterns.map(|pattern| proxy.ask_any(&[&b"CONFIG"[..], b"GET", pattern])).collect()
}

/// Adds what servers answer. What is known is better than an error, unless nothing is.
async fn add_answers(asked: Vec<QueryReply>, pairs: &mut Pairs) -> Result<(), Bytes> {
    for reply in join_all(asked).await {
        match reply {
            Ok(frame) => add_from_upstream(&frame, pairs),
            Err(error) if pairs.list.is_empty() => return Err(error),
            Err(_) => {}
        }
    }
    Ok(())
}

fn may_be_about_data(pattern: &[u8]) -> bool {
    let name = String::from_utf8_lossy(pattern).to_ascii_lowercase();
    if glob::is_plain(pattern) { parameters::is_about_data(&name) } else { !name.starts_with(OWN_PREFIX) }
}

/// All that the daemon knows itself; a key that has no value is empty, as in Redis.
fn known(context: &SessionContext) -> Vec<(String, String)> {
    let typed = context.desk.typed().clone();
    let typed = KEYS.iter().map(|key| {
        let text = typed.get(key.name).cloned().unwrap_or_default();
        (format!("{OWN_PREFIX}{}", key.flag()), text)
    });
    DAEMON.iter().map(|(name, value)| ((*name).to_owned(), value(context))).chain(typed).collect()
}

/// Adds what is `known` of `patterns`. A name is given back as it was written, a pattern gives the names as
/// they are.
fn add_own(patterns: &[Vec<u8>], known: &[(String, String)], pairs: &mut Pairs) {
    for pattern in patterns {
        let lower = pattern.to_ascii_lowercase();
        for (name, value) in known {
            if glob::matches(&lower, name.as_bytes()) {
                let shown = if glob::is_plain(pattern) { &pattern[..] } else { name.as_bytes() };
                pairs.add(shown, value.as_bytes());
            }
        }
    }
}

// === impl Pairs ===

impl Pairs {
    /// Adds a parameter, unless it is there already.
    fn add(&mut self, name: &[u8], value: &[u8]) {
        if !self.names.contains(name) {
            self.names.insert(name.to_vec());
            self.list.push((name.to_vec(), value.to_vec()));
        }
    }
}

fn add_from_upstream(frame: &Bytes, pairs: &mut Pairs) {
    let mut fields =
        cursor::elements(frame).into_iter().flatten().flatten().map(|element| match cursor::head(element) {
            Some(ReplyHead::Blob { body, .. }) => body,
            _ => &[][..],
        });
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        if parameters::is_about_data(&String::from_utf8_lossy(name).to_ascii_lowercase()) {
            pairs.add(name, value);
        }
    }
}

fn map(pairs: &Pairs, resp: Resp) -> Bytes {
    let mut out = BytesMut::new();
    encode::map(&mut out, resp, pairs.list.len());
    for (name, value) in &pairs.list {
        encode::bulk(&mut out, name);
        encode::bulk(&mut out, value);
    }
    out.freeze()
}

/// CONFIG SET: all of it or nothing.
pub(super) fn set(request: &Request<'_>, context: &SessionContext) -> Answer {
    if request.len() % 2 == 1 {
        return Answer::Now(encode::error_reply("ERR syntax error"));
    }
    let args: Vec<String> =
        request.args().skip(2).map(|argument| String::from_utf8_lossy(argument).into_owned()).collect();
    let pairs: Vec<(String, &str)> =
        args.chunks_exact(2).map(|pair| (pair[0].to_ascii_lowercase(), &*pair[1])).collect();
    if let [(name, _)] = &pairs[..]
        && name == SET_UPSTREAM
    {
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

/// Every primary or an error: what the others did stands.
fn set_on_every_primary(request: &Request<'_>, context: &SessionContext) -> Answer {
    let asked = context.proxy.tell_every(&request.args().collect::<Vec<_>>(), false);
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
    for (name, _) in pairs {
        let own = name.strip_prefix(OWN_PREFIX).map(|key| key.replace('-', "_"));
        let is_own = own.is_some_and(|key| Key::named(&key).is_some());
        let is_daemon = DAEMON.iter().any(|(known, _)| known == name);
        if !(is_own || is_daemon || parameters::is_about_data(name)) {
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
        if name == SET_UPSTREAM {
            return fail("it is set on every primary of the upstream: set it alone");
        }
        if parameters::is_about_data(name) {
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
        Change::MaxClients(count) if *count > context.desk.settings.clients_possible => Some(format!(
            "The operating system is not able to handle the specified number of clients, try with {}",
            context.desk.settings.clients_possible
        )),
        _ => None,
    }
}

fn apply(change: Change, text: &str, context: &SessionContext) {
    let settings = &context.desk.settings;
    let key = change.key();
    let mut text = text.to_owned();
    match change {
        Change::ClientOutputMax(bytes) => settings.client_output_max.set_size(bytes),
        Change::ClientStallTimeout(time) => {
            settings.client_stall_timeout.set_duration(time);
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
        }
        Change::SlowlogMaxLen(count) => settings.slowlog_max_len.set_size(count),
    }
    tracing::info!(key, value = text, "changed by CONFIG SET");
    context.desk.typed().insert(key, text);
}

/// Changes how long entries are kept, and drops those there are: they were to be kept for another time.
fn keep_for(context: &SessionContext, change: impl FnOnce(&crate::cache::SharedCache)) {
    if let Some(cache) = &context.report.cache {
        change(cache);
        cache.invalidate(&Invalidation::All, &context.stats);
    }
}
