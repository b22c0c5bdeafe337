//! CLIENT KILL: ends the sessions of clients of this daemon.

use bytes::Bytes;

use super::client_filter::{Asker, Filter};
use super::local::{number, ok};
use super::state::State;
use crate::clients::{Client, Clients};
use crate::clock;
use crate::resp::encode;
use crate::resp::request::Request;

/// CLIENT KILL address, and CLIENT KILL with filters. A client that kills itself gets its reply first.
pub(super) fn kill(request: &Request<'_>, state: &mut State, clients: &Clients) -> Bytes {
    if request.len() == 3 {
        let address = request.arg(2);
        let found = clients.all().into_iter().find(|client| client.endpoints.address.as_bytes() == address);
        let Some(client) = found else { return encode::error_reply("ERR No such client") };
        end(&client, state);
        return ok();
    }
    let filter = match Filter::read(request, Asker::Kill) {
        Ok(filter) => filter,
        Err(error) => return error,
    };
    let now = clock::now();
    let mut count = 0;
    for client in clients.all() {
        if filter.matches(&client, state.client.id, now) {
            end(&client, state);
            count += 1;
        }
    }
    number(count)
}

fn end(client: &Client, state: &mut State) {
    if client.id == state.client.id {
        state.leaving = true;
    } else {
        client.mailbox.end("CLIENT KILL");
    }
}
