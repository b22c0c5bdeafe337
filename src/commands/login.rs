//! Tries to authenticate: whose turn it is to try, and what came of it.

use futures_util::future::LocalBoxFuture;

use super::client_state::ClientState;
use super::context::SessionContext;
use super::server_state::ServerState;
use crate::clock;
use crate::protocol::command::{Class, Local, Spec};
use crate::protocol::resp::request::Request;

/// What must be waited for before the password in `request` is looked at: where some were wrong,
/// clients of one address take turns. A client that has authenticated has nothing to guess.
pub(crate) fn wait_for_turn(
    spec: &Spec,
    request: &Request<'_>,
    client: &mut ClientState,
    server: &ServerState,
) -> Option<LocalBoxFuture<'static, ()>> {
    let says_one = match spec.class {
        Class::Local(Local::Auth) => true,
        Class::Local(Local::Hello) => {
            request.args().skip(2).any(|option| option.eq_ignore_ascii_case(b"auth"))
        }
        _ => false,
    };
    if !client.is_locked() || !says_one || std::mem::take(&mut client.has_turn) {
        return None;
    }
    let wait = server.auth_throttle.delay(&client.entry.endpoints, client.was_wrong, clock::now())?;
    client.has_turn = true;
    Some(Box::pin(tokio::time::sleep(wait)))
}

/// Notes whether the password was right; `None` when none was looked at.
pub(super) fn note(right: Option<bool>, client: &mut ClientState, context: &SessionContext) {
    if !context.server.asks_password() {
        return;
    }
    if right == Some(false) {
        client.was_wrong = true;
        context.stats.auth_failures.bump();
        context.server.auth_throttle.note_wrong(&client.entry.endpoints, clock::now());
    } else {
        context.server.auth_throttle.note_right(&client.entry.endpoints);
    }
}
