//! PING, QUIT and SELECT: the connection itself.

use std::rc::Rc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::client_state::ClientState;
use super::context::SessionContext;
use crate::namespace::{DATABASES, Scope};
use crate::protocol::command::{CommandError, Spec};
use crate::protocol::db::DbIndex;
use crate::protocol::resp::encode;
use crate::protocol::resp::reply::{bulk, ok};
use crate::protocol::resp::request::Request;
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

/// SELECT. A namespace has databases of its own, a cluster has database 0 and those that are namespaces; one
/// server is asked for a database that no client has selected yet.
pub(super) fn select(request: &Request<'_>, client: &mut ClientState, context: &SessionContext) -> Answer {
    let number = match DbIndex::number_in(request.arg(1)) {
        Ok(number) => u32::try_from(number).ok().map(DbIndex::new),
        Err(error) => return Answer::Now(encode::error_reply(error)),
    };
    let out_of_range = || Answer::Now(encode::error_reply("ERR DB index is out of range"));
    let Some(database) = number else { return out_of_range() };
    if let Some(home) = client.home().cloned() {
        if database.number() >= DATABASES {
            return out_of_range();
        }
        let scope = Scope::new(home, database).on_servers(context.database);
        client.enter(Some(Rc::new(scope)), database);
        return Answer::Now(ok());
    }
    if let Some(namespace) = context.namespaces.of_database(database) {
        let scope = Scope::numbered(namespace.clone(), database).on_servers(context.database);
        client.enter(Some(Rc::new(scope)), database);
        return Answer::Now(ok());
    }
    let is_cluster = context.router.upstream().is_cluster();
    if is_cluster && database.number() > 0 {
        return out_of_range();
    }
    if is_cluster {
        client.enter(None, database);
    }
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
