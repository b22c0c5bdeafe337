//! PING, QUIT and SELECT: the connection itself.

use std::rc::Rc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::client_state::ClientState;
use super::context::{ExecContext, SessionContext};
use crate::namespace::{DATABASES, Scope};
use crate::protocol::command::{CommandError, Spec};
use crate::protocol::db::DbIndex;
use crate::protocol::resp::encode;
use crate::protocol::resp::reply::{bulk, ok};
use crate::protocol::resp::request::Request;
use crate::router::{Answer, is_of_missing_database};

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

/// The error for a database that a cluster does not have.
const MISSING_IN_CLUSTER: &str = "ERR DB index is out of range (nearside: the cluster does not have this database; \
    with databases = N, each database above 0 is a namespace)";

/// The error for SELECT in a transaction whose parts may lie on several nodes.
const NOT_IN_MULTI: &str =
    "ERR nearside: in front of a cluster no other database can be selected inside MULTI";

/// SELECT. A namespace has databases of its own. A cluster has those that are namespaces or, without any,
/// those of its nodes. Servers are asked for a database that no client has selected yet.
pub(super) fn select(
    request: &Request<'_>,
    client: &mut ClientState,
    context: &SessionContext,
    exec: ExecContext,
) -> Answer {
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
    let is_first = database == DbIndex::default();
    if is_cluster {
        if !is_first && !context.namespaces.databases.is_empty() {
            return out_of_range();
        }
        if exec == ExecContext::AtOnce && database != client.inflight.database() {
            let is_known = is_first || context.router.queries.has_database(database);
            return Answer::Now(encode::error_reply(if is_known {
                NOT_IN_MULTI
            } else {
                MISSING_IN_CLUSTER
            }));
        }
        if is_first {
            client.enter(None, database);
        }
    }
    let (inflight, entry) = (client.inflight.clone(), client.entry.clone());
    let select = move || {
        inflight.select(database);
        entry.database.store(database.number(), Ordering::Relaxed);
        ok()
    };
    if (is_cluster && is_first) || context.router.queries.has_database(database) {
        return Answer::Now(select());
    }
    let router = context.router.clone();
    Answer::exclusive(async move {
        if let Some(settled) = router.wait_for_topology() {
            settled.await;
        }
        match router.queries.ask_in(database).await {
            Ok(_) => {
                router.queries.note_database(database);
                select()
            }
            Err(error) if is_cluster && is_of_missing_database(&error) => {
                encode::error_reply(MISSING_IN_CLUSTER)
            }
            Err(error) => error,
        }
    })
}
