//! CLIENT KILL: ends the sessions of clients of this daemon.
//!
//! It is answered when they are over and nothing waits for them upstream any more, and what is asked behind
//! it waits for that: an element that is pushed then is given to nobody who is gone.

use bytes::Bytes;
use futures_util::future::{LocalBoxFuture, join_all};

use super::SessionContext;
use super::client_filter::{Filter, FilterUser};
use super::local::{number, ok};
use super::state::SessionState;
use crate::clients::Client;
use crate::clock;
use crate::protocol::resp::encode;
use crate::protocol::resp::request::Request;
use crate::router::Answer;

/// What CLIENT KILL did.
pub(super) struct KillCount {
    /// What is answered.
    pub(super) reply: Bytes,
    /// Lasts until those who were killed are gone, if there were any.
    pub(super) over: Option<LocalBoxFuture<'static, ()>>,
}

/// CLIENT KILL address, and CLIENT KILL with filters.
pub(super) fn answer(request: &Request<'_>, state: &mut SessionState, context: &SessionContext) -> Answer {
    if let Some(reply) = state.own_writes.take_answer() {
        leave(state);
        return Answer::Now(reply);
    }
    let KillCount { reply, over } = kill(request, state, context);
    match over {
        Some(over) => {
            let own_writes = state.own_writes.clone();
            Answer::NotYet(Box::pin(async move {
                over.await;
                own_writes.put_answer(reply);
            }))
        }
        None => {
            leave(state);
            Answer::Now(reply)
        }
    }
}

/// A client that has killed itself goes with the reply.
pub(super) fn leave(state: &mut SessionState) {
    state.leaving |= state.killed_itself;
}

/// Ends those whom the request names, but for the client itself.
pub(super) fn kill(request: &Request<'_>, state: &mut SessionState, context: &SessionContext) -> KillCount {
    let refused = |reply| KillCount { reply, over: None };
    let clients = context.clients.all();
    if request.len() == 3 {
        let address = request.arg(2);
        let found = clients.iter().find(|client| client.endpoints.address.as_bytes() == address);
        let Some(client) = found else { return refused(encode::error_reply("ERR No such client")) };
        return KillCount { reply: ok(), over: end([client], state) };
    }
    let filter = match Filter::read(request, FilterUser::Kill) {
        Ok(filter) => filter,
        Err(error) => return refused(error),
    };
    let now = clock::now();
    let named: Vec<_> =
        clients.iter().filter(|client| filter.matches(client, state.client.id, now)).collect();
    KillCount { reply: number(named.len() as i64), over: end(named, state) }
}

/// Ends each of them; lasts until all others are gone.
fn end<'a>(
    named: impl IntoIterator<Item = &'a std::sync::Arc<Client>>,
    state: &mut SessionState,
) -> Option<LocalBoxFuture<'static, ()>> {
    let mut gone = Vec::new();
    for client in named {
        if client.id == state.client.id {
            state.killed_itself = true;
        } else {
            client.mailbox.end("CLIENT KILL");
            gone.push(client.wait.over());
        }
    }
    (!gone.is_empty())
        .then(|| -> LocalBoxFuture<'static, ()> { Box::pin(async move { drop(join_all(gone).await) }) })
}
