//! PING, QUIT and SELECT: the connection itself.

use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::client_state::ClientState;
use super::context::SessionContext;
use crate::protocol::command::{CommandError, Spec};
use crate::protocol::db::DbIndex;
use crate::protocol::resp::reply::{bulk, ok};
use crate::protocol::resp::request::Request;
use crate::protocol::resp::{encode, parse_integer};
use crate::router::Answer;

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

/// SELECT. A cluster has database 0 alone; one server is asked for a database that no client has selected
/// yet.
pub(super) fn select(request: &Request<'_>, client: &ClientState, context: &SessionContext) -> Answer {
    let index = request.arg(1);
    let is_cluster = context.router.upstream().is_cluster();
    let Some(database) = DbIndex::read(index).filter(|database| !is_cluster || database.number() == 0) else {
        return Answer::Now(encode::error_reply(match parse_integer(index) {
            Some(index) if i32::try_from(index).is_err() => {
                "ERR value is out of range, value must between -2147483648 and 2147483647"
            }
            Some(_) => "ERR DB index is out of range",
            None => "ERR value is not an integer or out of range",
        }));
    };
    let (inflight, entry) = (client.inflight.clone(), client.entry.clone());
    let select = move || {
        inflight.select(database);
        entry.database.store(database.number(), Ordering::Relaxed);
        ok()
    };
    if is_cluster || context.router.queries.has_database(database) {
        return Answer::Now(select());
    }
    let (router, asked) = (context.router.clone(), context.router.queries.ask_in(database));
    Answer::exclusive(async move {
        match asked.await {
            Ok(_) => {
                router.queries.note_database(database);
                select()
            }
            Err(error) => error,
        }
    })
}
