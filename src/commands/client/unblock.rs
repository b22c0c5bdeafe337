//! CLIENT UNBLOCK: ends the wait of another client.

use crate::commands::client_state::ClientState;
use crate::commands::context::SessionContext;
use crate::protocol::resp::reply::{number, wrong_number};
use crate::protocol::resp::request::Request;
use crate::protocol::resp::{encode, parse_integer};
use crate::router::Answer;

/// CLIENT UNBLOCK. Only the node knows whether the other client's wait was over already, so the answer takes
/// a moment, and what the client asks behind it waits for that: it might be what the other one waits for.
pub(in crate::commands) fn answer(
    request: &Request<'_>,
    me: &ClientState,
    context: &SessionContext,
) -> Answer {
    let answer = |reply: &'static str| Answer::Now(encode::error_reply(reply));
    if request.len() > 4 {
        return Answer::Now(wrong_number(request, "CLIENT"));
    }
    let reason = request.arg(3);
    let error = match request.len() {
        3 => false,
        _ if reason.eq_ignore_ascii_case(b"timeout") => false,
        _ if reason.eq_ignore_ascii_case(b"error") => true,
        _ => return answer("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"),
    };
    let Some(id) = parse_integer(request.arg(2)) else {
        return answer("ERR value is not an integer or out of range");
    };
    let client = u64::try_from(id).ok().and_then(|id| context.clients.get(id));
    let client = client.filter(|client| me.entry.sees(client.endpoints.namespace.as_ref()));
    let Some(ended) = client.and_then(|client| client.wait.unblock(error)) else {
        return Answer::Now(number(0));
    };
    Answer::exclusive(async move { number(i64::from(ended.await.unwrap_or(false))) })
}
