//! NEARSIDE: what L1 knows of a key, replies that bypass it, and emptying it.

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::client_state::ClientState;
use super::context::{ExecContext, SessionContext};
use crate::cache::policy::{Policy, TrackingMode, TtlMode};
use crate::cache::{Explained, Flush, KeptReply, LastReason, NoReason};
use crate::clock::{self, Nanos};
use crate::node::NodeId;
use crate::protocol::key::Slot;
use crate::protocol::resp::Resp;
use crate::protocol::resp::encode;
use crate::protocol::resp::reply::{MapReply, number, ok, wrong_number};
use crate::protocol::resp::request::Request;
use crate::router::Answer;
use crate::upstream::{NodeStatus, Right};

const HELP: [&str; 13] = [
    "NEARSIDE <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "EXPLAIN <key>",
    "    Return whether the key is in L1, which of its replies and for how long,",
    "    which policy applies, and why it was last not answered from L1.",
    "FLUSH [<prefix>]",
    "    Drop all entries of L1, or those of the keys that begin with a prefix.",
    "    Return how many would have been served.",
    "FRESH (ON|OFF)",
    "    Answer the reads of this connection from upstream, not from L1.",
    "HELP",
    "    Print this help.",
    "",
    "nearside's own; see COMPATIBILITY.md.",
];

/// NEARSIDE HELP.
pub(super) fn help() -> Bytes {
    let mut out = BytesMut::new();
    encode::array(&mut out, HELP.len());
    for line in HELP {
        out.extend_from_slice(format!("+{line}\r\n").as_bytes());
    }
    out.freeze()
}

/// NEARSIDE FRESH ON or OFF.
pub(super) fn fresh(request: &Request<'_>, client: &ClientState) -> Bytes {
    let mode = request.arg(2);
    let fresh = mode.eq_ignore_ascii_case(b"on");
    if !fresh && !mode.eq_ignore_ascii_case(b"off") {
        return encode::error_reply("ERR syntax error, NEARSIDE FRESH takes ON or OFF");
    }
    client.inflight.want_fresh(fresh);
    ok()
}

/// NEARSIDE FLUSH, of all keys or of the keys with a prefix. It yields in between, except `AtOnce`.
pub(super) fn flush(request: &Request<'_>, context: &SessionContext, exec: ExecContext) -> Answer {
    if request.len() > 3 {
        return Answer::Now(wrong_number(request, "NEARSIDE"));
    }
    let Some(cache) = context.report.cache.clone() else { return Answer::Now(number(0)) };
    let prefix = (request.len() == 3).then(|| request.arg_bytes(2));
    let router = prefix.is_none().then(|| context.router.clone());
    let mut flush = Flush::new(prefix, clock::now());
    let end = move |flush: &Flush| {
        if let Some(router) = &router {
            router.invalidate_all();
        }
        number(flush.served() as i64)
    };
    if exec == ExecContext::AtOnce || flush.step(&cache) {
        while exec == ExecContext::AtOnce && !flush.step(&cache) {}
        return Answer::Now(end(&flush));
    }
    Answer::exclusive(async move {
        tokio::task::yield_now().await;
        while !flush.step(&cache) {
            tokio::task::yield_now().await;
        }
        end(&flush)
    })
}

/// NEARSIDE EXPLAIN.
pub(super) fn explain(request: &Request<'_>, client: &ClientState, context: &SessionContext) -> Bytes {
    let (key, now, resp) = (request.arg(2), clock::now(), client.resp());
    let database = client.inflight.database();
    let slot = Slot::of(key);
    let mut fields = MapReply::new(resp);
    let scope = client.scope.as_deref();
    let name = scope.and_then(|scope| scope.bare(key)).unwrap_or(key);
    fields.bytes("key", name);
    fields.number("slot", slot.index() as i64);
    node(&mut fields, slot, now, context);
    let policies = context.router.policies().get();
    policy(&mut fields, policies.of(key), context);
    match context.router.cache() {
        Some(cache) => l1(&mut fields, name, &cache.explain(key, slot, database, now), now),
        None => {
            fields.number("cached", 0);
            fields.text("last_not_cached", &NoReason::Off.to_string());
        }
    }
    fields.into_map()
}

/// The owner of the key, and the state of the connections to it.
fn node(fields: &mut MapReply, slot: Slot, now: Nanos, context: &SessionContext) {
    let upstream = context.router.upstream();
    let owner = upstream.owner(slot).map(|index| upstream.node(index));
    let status = owner.as_ref().and_then(|node| context.report.upstream.status.nodes(now).remove(node));
    fields.optional("node", owner.as_ref().map(|node| node.to_string()).as_deref());
    fields.optional("node_state", status.map(|NodeStatus { state, .. }| state.to_string()).as_deref());
    let seconds = status.map_or(0, |status| seconds(now, status.since));
    fields.number("node_state_seconds", seconds);
    let rights = &context.report.upstream.rights;
    let is_its = |(node, _): &(NodeId, Right)| owner.as_ref() == Some(node);
    let missing: Vec<&str> =
        rights.missing().into_iter().filter(is_its).map(|(_, right)| right.command()).collect();
    fields.optional("missing_rights", (!missing.is_empty()).then(|| missing.join(", ")).as_deref());
    fields.number("slot_is_moving", i64::from(upstream.is_moving(slot, now)));
}

fn policy(fields: &mut MapReply, policy: &Policy, context: &SessionContext) {
    let terms = &policy.terms;
    fields.optional_bytes("policy", (!policy.prefix.is_empty()).then_some(&policy.prefix));
    fields.number("policy_cache", i64::from(policy.cache));
    let times = context.report.cache.as_ref().map(|cache| cache.times_on(terms));
    let millis = |time: Duration| time.as_millis() as i64;
    fields.optional_number("policy_ttl_ms", times.map(|(ttl, _)| millis(ttl)));
    fields.optional_number("policy_negative_ttl_ms", times.map(|(_, negative_ttl)| millis(negative_ttl)));
    fields.text("policy_mode", if terms.mode == TtlMode::Exact { "exact" } else { "capped" });
    let by_key = terms.tracking == TrackingMode::ByKey;
    fields.text("policy_tracking", if by_key { "default" } else { "broadcast" });
    let default_ttl = policy.default_ttl.map(|default_ttl| default_ttl.as_millis() as i64);
    fields.optional_number("policy_default_ttl_ms", default_ttl);
}

fn l1(fields: &mut MapReply, name: &[u8], explained: &Explained, now: Nanos) {
    let Explained { replies, weight, generation: (line, slot), noted, emptied_at } = explained;
    fields.number("cached", i64::from(!replies.is_empty()));
    fields.number("weight", *weight as i64);
    fields.text("generation", &format!("{line}:{slot}"));
    let resp = fields.resp();
    let out = fields.value("replies");
    encode::array(out, replies.len());
    for reply in replies {
        out.extend_from_slice(&kept(reply, name, now, resp));
    }
    let (text, at) = match noted {
        LastReason::Reason(why, at) => (Some(why.to_string()), Some(*at)),
        LastReason::Forgotten => (Some(NoReason::Forgotten.to_string()), None),
        LastReason::Nothing if !replies.is_empty() => (None, None),
        LastReason::Nothing if emptied_at.is_some() => (Some(NoReason::Emptied.to_string()), *emptied_at),
        LastReason::Nothing => (Some(NoReason::NeverRead.to_string()), None),
    };
    fields.optional("last_not_cached", text.as_deref());
    fields.number("last_not_cached_seconds", at.map_or(0, |at| seconds(now, at)));
}

/// Formats a kept reply about the key that the client calls `name`.
fn kept(reply: &KeptReply, name: &[u8], now: Nanos, resp: Resp) -> Bytes {
    let mut fields = MapReply::new(resp);
    let out = fields.value("request");
    encode::array(out, 1 + reply.arguments.len());
    encode::bulk(out, reply.command.to_uppercase().as_bytes());
    let others = reply.arguments.iter().skip(1).map(|argument| &argument[..]);
    std::iter::once(name).chain(others).take(reply.arguments.len()).for_each(|part| encode::bulk(out, part));
    fields.number("left_ms", millis(reply.deadline, now));
    fields.number("epoch", reply.epoch as i64);
    fields.number("lease_left_ms", millis(reply.lease_until, now));
    fields.number("bytes", reply.bytes as i64);
    fields.into_map()
}

fn seconds(now: Nanos, since: Nanos) -> i64 {
    (now.saturating_sub(since) / 1_000_000_000) as i64
}

fn millis(later: Nanos, earlier: Nanos) -> i64 {
    (later.saturating_sub(earlier) / 1_000_000) as i64
}
