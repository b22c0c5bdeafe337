//! CLIENT LIST and CLIENT INFO: a line a client, with the fields and in the order of Redis.

use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;

use super::filter::{Filter, FilterUser};
use crate::clients::{Client, ClientFlag};
use crate::clock::{self, Nanos};
use crate::commands::client_state::ClientState;
use crate::commands::context::SessionContext;
use crate::protocol::command;
use crate::protocol::resp::reply::text;
use crate::protocol::resp::request::Request;
use crate::upstream::ServerFacts;

/// Lines about clients.
#[derive(Debug)]
struct ClientLines {
    now: Nanos,
    /// Fields that not all servers have: these are shown in front of those that do.
    capa: bool,
    watch: bool,
    out: Vec<u8>,
}

/// CLIENT LIST with its filters.
pub(in crate::commands) fn list(request: &Request<'_>, me: &ClientState, context: &SessionContext) -> Bytes {
    let filter = match Filter::read(request, FilterUser::List) {
        Ok(filter) => filter,
        Err(error) => return error,
    };
    let now = clock::now();
    let mut lines = ClientLines::new(now, &context.report.server_facts());
    for client in context.clients.all() {
        if me.entry.sees(client.endpoints.namespace.as_ref()) && filter.matches(&client, me.entry.id, now) {
            lines.add(&client);
        }
    }
    text(lines.finish(), me.resp())
}

/// CLIENT INFO: the line of CLIENT LIST about this client.
pub(in crate::commands) fn info(me: &ClientState, context: &SessionContext) -> Bytes {
    let mut lines = ClientLines::new(clock::now(), &context.report.server_facts());
    lines.add(&me.entry);
    text(lines.finish(), me.resp())
}

// === impl ClientLines ===

impl ClientLines {
    fn new(now: Nanos, server: &ServerFacts) -> ClientLines {
        let capa = server.valkey_version.is_some() && server.is_since((7, 4), (8, 1));
        let watch = server.is_since((7, 4), (8, 0));
        ClientLines { now, capa, watch, out: Vec::new() }
    }

    /// Adds the line of `client`. What a client holds of this daemon's memory is not counted, but for the
    /// replies that it has not read; those fields are 0.
    fn add(&mut self, client: &Client) {
        let names = client.names().clone();
        let (command, last_request_at) = client.last_request();
        let seconds = |since: Nanos| self.now.saturating_sub(since) / 1_000_000_000;
        let ends = &client.endpoints;
        let unread = client.unread.load(Relaxed);
        let command = command::named(command).unwrap_or("NULL");
        self.out
            .extend(format!("id={} addr={} laddr={} ", client.id, ends.address, ends.local_address).bytes());
        self.out.extend(format!("fd={} name=", ends.descriptor).bytes());
        self.out.extend(&names.client);
        let (age, idle) = (seconds(client.connected_at), seconds(last_request_at));
        self.out.extend(format!(" age={age} idle={idle} flags={}", client.letters()).bytes());
        if self.capa {
            let letter = if client.has(ClientFlag::CanRedirect) { "r" } else { "" };
            self.out.extend(format!(" capa={letter}").bytes());
        }
        self.out.extend(format!(" db={}", client.database.load(Relaxed)).bytes());
        for (field, count) in
            [("sub", &client.channels), ("psub", &client.patterns), ("ssub", &client.shard_channels)]
        {
            self.out.extend(format!(" {field}={}", count.load(Relaxed)).bytes());
        }
        self.out.extend(format!(" multi={}", client.queued()).bytes());
        if self.watch {
            self.out.extend(format!(" watch={}", client.watched.load(Relaxed)).bytes());
        }
        self.out.extend_from_slice(b" qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0");
        self.out.extend(format!(" omem={unread} tot-mem={unread} events=r cmd={command}").bytes());
        let resp = if client.speaks_resp3.load(Relaxed) { 3 } else { 2 };
        let redirect = client.redirect.load(Relaxed);
        self.out.extend(format!(" user=default redir={redirect} resp={resp} lib-name=").bytes());
        self.out.extend(&names.library);
        self.out.extend_from_slice(b" lib-ver=");
        self.out.extend(&names.library_version);
        self.out.push(b'\n');
    }

    fn finish(self) -> Vec<u8> {
        self.out
    }
}
