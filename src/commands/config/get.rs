//! CONFIG GET.

use std::collections::HashSet;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use futures_util::future::join_all;
use tokio::task::yield_now;

use super::parameters::{DAEMON, OWN_PREFIX, Reach};
use crate::commands::client_state::ClientState;
use crate::commands::context::{ExecContext, SessionContext};
use crate::config::KEYS;
use crate::protocol::glob;
use crate::protocol::resp::Resp;
use crate::protocol::resp::cursor::{self, ReplyHead};
use crate::protocol::resp::encode;
use crate::protocol::resp::request::Request;
use crate::router::{Answer, Hold, QueryReply, Router};

/// Patterns that are looked at, and that servers are asked for, before others get their turn.
const PATTERNS_AT_ONCE: usize = 16;

/// Parameters and their values, each once.
#[derive(Default)]
struct Pairs {
    list: Vec<(Vec<u8>, Vec<u8>)>,
    names: HashSet<Vec<u8>>,
}

/// CONFIG GET with any number of patterns. What is about the data, one server of the upstream is asked for;
/// inside MULTI there is no time for that.
pub(in crate::commands) fn answer(
    request: &Request<'_>,
    client: &ClientState,
    context: &SessionContext,
    exec: ExecContext,
) -> Answer {
    let resp = client.resp();
    let patterns: Vec<Vec<u8>> = request.args().skip(2).map(<[u8]>::to_vec).collect();
    let reach = Reach::of(context);
    let of_data = |pattern: &Vec<u8>| glob::is_plain(pattern) && may_be_of_upstream(pattern, reach);
    if exec == ExecContext::AtOnce && patterns.iter().any(of_data) {
        let error = "ERR nearside cannot do this inside MULTI: it would have to ask the upstream";
        return Answer::Now(encode::error_reply(error));
    }
    let (known, mut pairs) = (known(context), Pairs::default());
    if exec == ExecContext::None && patterns.len() > PATTERNS_AT_ONCE {
        // What the session asks behind it may change what there is.
        let hold = Hold::of(&client.inflight);
        let router = context.router.clone();
        return Answer::Later(Box::pin(async move {
            for patterns in patterns.chunks(PATTERNS_AT_ONCE) {
                add_own(patterns, &known, &mut pairs);
                yield_now().await;
            }
            for patterns in patterns.chunks(PATTERNS_AT_ONCE) {
                if let Err(error) = add_answers(ask(&router, patterns, reach), &mut pairs, reach).await {
                    return error;
                }
                yield_now().await;
            }
            drop(hold);
            map(&pairs, resp)
        }));
    }
    add_own(&patterns, &known, &mut pairs);
    let asked = if exec == ExecContext::None { ask(&context.router, &patterns, reach) } else { Vec::new() };
    if asked.is_empty() {
        return Answer::Now(map(&pairs, resp));
    }
    Answer::Later(Box::pin(async move {
        match add_answers(asked, &mut pairs, reach).await {
            Ok(()) => map(&pairs, resp),
            Err(error) => error,
        }
    }))
}

/// Whether one server says all that a CONFIG GET asks for by name.
pub(crate) fn is_said_by_server(request: &Request<'_>) -> bool {
    request.args().skip(2).all(|name| glob::is_plain(name) && may_be_of_upstream(name, Reach::OneServer))
}

/// Asks a server for what may be its own to say.
fn ask(router: &Rc<Router>, patterns: &[Vec<u8>], reach: Reach) -> Vec<QueryReply> {
    let patterns = patterns.iter().filter(|pattern| may_be_of_upstream(pattern, reach));
    patterns.map(|pattern| router.queries.ask_any(&[&b"CONFIG"[..], b"GET", pattern])).collect()
}

/// Adds what servers answer. What is known is better than an error, unless nothing is.
async fn add_answers(asked: Vec<QueryReply>, pairs: &mut Pairs, reach: Reach) -> Result<(), Bytes> {
    for reply in join_all(asked).await {
        match reply {
            Ok(frame) => add_from_upstream(&frame, pairs, reach),
            Err(error) if pairs.list.is_empty() => return Err(error),
            Err(_) => {}
        }
    }
    Ok(())
}

fn may_be_of_upstream(pattern: &[u8], reach: Reach) -> bool {
    let name = String::from_utf8_lossy(pattern).to_ascii_lowercase();
    match glob::is_plain(pattern) {
        true => reach.is_of_upstream(&name),
        false => !name.starts_with(OWN_PREFIX),
    }
}

/// All that the daemon knows itself; a key that has no value is empty, as in Redis.
fn known(context: &SessionContext) -> Vec<(String, String)> {
    let typed = context.server.typed().clone();
    let typed = KEYS.iter().map(|key| {
        let text = typed.get(key.name).cloned().unwrap_or_default();
        (format!("{OWN_PREFIX}{}", key.flag()), text)
    });
    let reach = Reach::of(context);
    let own = DAEMON.iter().filter(|(name, _)| reach.is_of_daemon(name));
    own.map(|(name, value)| ((*name).to_owned(), value(context))).chain(typed).collect()
}

/// Adds what is `known` of `patterns`. A name is returned as the client wrote it; a pattern returns the names
/// of the parameters.
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

fn add_from_upstream(frame: &Bytes, pairs: &mut Pairs, reach: Reach) {
    let mut fields =
        cursor::elements(frame).into_iter().flatten().flatten().map(|element| match cursor::head(element) {
            Some(ReplyHead::Blob { body, .. }) => body,
            _ => &[][..],
        });
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        if reach.is_of_upstream(&String::from_utf8_lossy(name).to_ascii_lowercase()) {
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
