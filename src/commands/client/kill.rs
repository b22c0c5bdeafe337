//! CLIENT KILL: ends the sessions of clients of this daemon.
//!
//! CLIENT KILL is answered when these sessions have ended and none of their commands waits upstream any more,
//! and later requests wait for that: an element that is pushed then goes to no client that has left.

use bytes::Bytes;
use futures_util::future::{LocalBoxFuture, join_all};

use super::filter::{Filter, FilterUser};
use crate::clients::Client;
use crate::clock;
use crate::commands::client_state::ClientState;
use crate::commands::context::SessionContext;
use crate::protocol::resp::encode;
use crate::protocol::resp::reply::{number, ok};
use crate::protocol::resp::request::Request;
use crate::router::Answer;

/// What CLIENT KILL did.
pub(crate) struct KillCount {
    /// What is answered.
    pub(crate) reply: Bytes,
    /// Lasts until the killed clients are gone, if there were any.
    pub(crate) over: Option<LocalBoxFuture<'static, ()>>,
}

/// CLIENT KILL address, and CLIENT KILL with filters.
pub(in crate::commands) fn answer(
    request: &Request<'_>,
    me: &mut ClientState,
    context: &SessionContext,
) -> Answer {
    let KillCount { reply, over } = kill(request, me, context);
    leave(me);
    match over {
        Some(over) => Answer::exclusive(async move {
            over.await;
            reply
        }),
        None => Answer::Now(reply),
    }
}

/// A client that has killed itself goes with the reply.
pub(crate) fn leave(me: &mut ClientState) {
    me.leaving |= me.killed_itself;
}

/// Ends the clients that the request names, but for the client itself.
pub(crate) fn kill(request: &Request<'_>, me: &mut ClientState, context: &SessionContext) -> KillCount {
    let refused = |reply| KillCount { reply, over: None };
    let mut clients = context.clients.all();
    clients.retain(|client| me.entry.sees(client.endpoints.namespace.as_ref()));
    if request.len() == 3 {
        let address = request.arg(2);
        let found = clients.iter().find(|client| client.endpoints.address.as_bytes() == address);
        let Some(client) = found else { return refused(encode::error_reply("ERR No such client")) };
        return KillCount { reply: ok(), over: end([client], me) };
    }
    let filter = match Filter::read(request, FilterUser::Kill) {
        Ok(filter) => filter,
        Err(error) => return refused(error),
    };
    let now = clock::now();
    let named: Vec<_> = clients.iter().filter(|client| filter.matches(client, me.entry.id, now)).collect();
    KillCount { reply: number(named.len() as i64), over: end(named, me) }
}

/// Ends each of them; lasts until all others are gone.
fn end<'a>(
    named: impl IntoIterator<Item = &'a std::sync::Arc<Client>>,
    me: &mut ClientState,
) -> Option<LocalBoxFuture<'static, ()>> {
    let mut gone = Vec::new();
    for client in named {
        if client.id == me.entry.id {
            me.killed_itself = true;
        } else {
            client.mailbox.end("CLIENT KILL");
            gone.push(client.wait.over());
        }
    }
    (!gone.is_empty())
        .then(|| -> LocalBoxFuture<'static, ()> { Box::pin(async move { drop(join_all(gone).await) }) })
}
