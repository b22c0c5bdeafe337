//! CLIENT TRACKING, CACHING, TRACKINGINFO and GETREDIR: a client that caches what it reads.
//!
//! Must never know: what a read of such a client has to register, which `session/tracked_read.rs` does. Begin
//! with `state.rs` (what is on).

mod arguments;
mod state;

pub(crate) use arguments::TrackingRequest;
pub(crate) use state::ClientTracking;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;

use crate::clients::ClientFlag;
use crate::clients::tracker::TrackingTerms;
use crate::commands::client_state::ClientState;
use crate::commands::context::SessionContext;
use crate::protocol::command::TrackingCommand;
use crate::protocol::resp::encode;
use crate::protocol::resp::reply::{MapReply, number, ok};
use crate::protocol::resp::request::Request;
use state::TrackedKeys;

/// What a command about the client's own caching comes to.
pub(crate) enum TrackingAnswer {
    /// The reply.
    Now(Bytes),
    /// The upstream is asked for BCAST tracking of some prefixes. When this has ended, the session calls
    /// [`turn_on`], even if BCAST does not cover them yet: then the client is notified of all keys when it
    /// does.
    Asked(LocalBoxFuture<'static, ()>, TrackingRequest),
}

/// Answers a command about the client's own caching, which is `tracking` unless it is off.
pub(crate) fn answer(
    command: TrackingCommand,
    request: &Request<'_>,
    tracking: &mut Option<ClientTracking>,
    client: &ClientState,
    context: &SessionContext,
) -> TrackingAnswer {
    let reply = match command {
        TrackingCommand::Switch => return switch(request, tracking, client, context),
        TrackingCommand::Caching => match tracking.as_mut().filter(|tracking| tracking.on) {
            Some(tracking) => caching(request.arg(2), tracking),
            None => encode::error_reply(NOT_TRACKING),
        },
        TrackingCommand::GetRedir => number(present(tracking).map_or(-1, |tracking| tracking.redirect)),
        TrackingCommand::Info => info(present(tracking), client),
    };
    TrackingAnswer::Now(reply)
}

const NOT_TRACKING: &str = "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled";

fn present(tracking: &Option<ClientTracking>) -> Option<&ClientTracking> {
    tracking.as_ref().filter(|tracking| tracking.on)
}

/// CLIENT TRACKING: turns the caching on or off.
fn switch(
    request: &Request<'_>,
    tracking: &mut Option<ClientTracking>,
    client: &ClientState,
    context: &SessionContext,
) -> TrackingAnswer {
    let wanted = match arguments::read(request, present(tracking), client, &context.clients) {
        Ok(wanted) => wanted,
        Err(error) => return TrackingAnswer::Now(encode::error_reply(error)),
    };
    if !wanted.on {
        *tracking = None;
        return TrackingAnswer::Now(ok());
    }
    let present = tracking.get_or_insert_with(|| ClientTracking {
        tracker: context.tracker.clone(),
        id: client.entry.id,
        mode: wanted.mode,
        on: false,
        redirect: 0,
        no_loop: false,
        prefixes: Default::default(),
        caching: false,
        queued: Vec::new(),
    });
    if wanted.mode == TrackedKeys::Broadcast {
        let prefixes: Vec<Bytes> = on_servers(&wanted.prefixes, client, context).into_iter().collect();
        present.tracker.want(present.id, &prefixes);
        let shared = context.router.upstream().shared().clone();
        if !shared.broadcast.covers(&prefixes) {
            let timeout = context.limits.subscribe_timeout;
            let asked = async move { shared.broadcast.covering(&prefixes, timeout).await };
            return TrackingAnswer::Asked(Box::pin(asked), wanted);
        }
    } else {
        context.router.upstream().shared().tracking_wanted.store(true, Ordering::Relaxed);
    }
    TrackingAnswer::Now(turn_on(wanted, tracking, client, context))
}

/// Turns tracking on as `wanted`, and answers CLIENT TRACKING.
pub(crate) fn turn_on(
    wanted: TrackingRequest,
    tracking: &mut Option<ClientTracking>,
    client: &ClientState,
    context: &SessionContext,
) -> Bytes {
    let Some(tracking) = tracking else { return encode::error_reply(NOT_TRACKING) };
    let TrackingRequest { mode, redirect, no_loop, prefixes, .. } = wanted;
    (tracking.on, tracking.mode) = (true, mode);
    (tracking.redirect, tracking.no_loop) = (redirect, no_loop);
    tracking.prefixes.extend(prefixes);
    let terms = TrackingTerms {
        redirect: u64::try_from(tracking.redirect).ok().filter(|id| *id != 0),
        prefixes: (tracking.mode == TrackedKeys::Broadcast)
            .then(|| on_servers(&tracking.prefixes, client, context)),
        no_loop: tracking.no_loop,
    };
    context.tracker.join(&client.entry, terms);
    ok()
}

/// What keys with these prefixes begin with on the servers, in all databases that the client can select: an
/// invalidation is about a name in any of them.
fn on_servers<'a>(
    prefixes: impl IntoIterator<Item = &'a Bytes>,
    client: &ClientState,
    context: &SessionContext,
) -> BTreeSet<Bytes> {
    let mut all = BTreeSet::new();
    let databases = context.namespaces.prefixes_of(client.home());
    for prefix in prefixes {
        all.extend(databases.iter().map(|database| Bytes::from([database.as_bytes(), prefix].concat())));
    }
    all
}

fn caching(choice: &[u8], tracking: &mut ClientTracking) -> Bytes {
    let (mode, error) = if choice.eq_ignore_ascii_case(b"yes") {
        (TrackedKeys::OptIn, "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.")
    } else if choice.eq_ignore_ascii_case(b"no") {
        (TrackedKeys::OptOut, "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.")
    } else {
        return encode::error_reply("ERR syntax error");
    };
    if tracking.mode != mode {
        return encode::error_reply(error);
    }
    tracking.caching = true;
    ok()
}

fn info(tracking: Option<&ClientTracking>, client: &ClientState) -> Bytes {
    let mut flags = tracking.map_or_else(|| vec!["off"], flags);
    if client.entry.has(ClientFlag::TrackingBroken) {
        flags.push("broken_redirect");
    }
    let prefixes: Vec<&Bytes> = tracking.into_iter().flat_map(|tracking| &tracking.prefixes).collect();
    let mut fields = MapReply::new(client.resp());
    encode::set(fields.value("flags"), client.resp(), &flags);
    fields.number("redirect", tracking.map_or(-1, |tracking| tracking.redirect));
    encode::strings(fields.value("prefixes"), &prefixes);
    fields.into_map()
}

fn flags(tracking: &ClientTracking) -> Vec<&'static str> {
    let mut flags = vec!["on"];
    match tracking.mode {
        TrackedKeys::Default => {}
        TrackedKeys::Broadcast => flags.push("bcast"),
        TrackedKeys::OptIn => {
            flags.extend(["optin"].into_iter().chain(tracking.caching.then_some("caching-yes")))
        }
        TrackedKeys::OptOut => {
            flags.extend(["optout"].into_iter().chain(tracking.caching.then_some("caching-no")))
        }
    }
    if tracking.no_loop {
        flags.push("noloop");
    }
    flags
}
