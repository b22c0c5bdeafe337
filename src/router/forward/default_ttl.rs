//! The time to live that policies give to keys which a write would leave without one.
//!
//! SET takes it as one more option, so that nothing else is sent. `PEXPIRE key ms NX` follows any other write
//! that puts something into a key, on its connection, so that later commands of the session come after it.
//! The reply to the write waits for the answer: once the client has it, the key has a time to live, unless
//! the server refused.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::future::LocalBoxFuture;

use super::multi_exec::{EXEC, MULTI};
use crate::clock::{self, Nanos};
use crate::protocol::command::{TtlEffect, is_silent};
use crate::protocol::db::DbIndex;
use crate::protocol::key::KeySlots;
use crate::protocol::resp::request::{OwnedRequest, Request};
use crate::protocol::resp::{
    cursor::{self, ReplyHead},
    encode,
};
use crate::router::coherence::inflight::Inflight;
use crate::router::context::RouterContext;
use crate::router::replies::stopped;
use crate::router::request_route::RequestRoute;
use crate::upstream::{Call, Outcome, PendingReply, Right, UpstreamError};

/// How often a worker logs that keys were left without their time to live, at most.
const LOGGED_EVERY: Nanos = 60_000_000_000;

/// The keys of a write that are to have a time to live behind it.
pub(in crate::router) type DueKeys = HashMap<Bytes, Duration>;

/// What follows a write, on its way.
#[derive(Debug)]
pub(in crate::router) struct TtlFollowUp {
    default_ttl: Rc<DefaultTtl>,
    slots: KeySlots,
    database: DbIndex,
    /// The answer, and the keys that it is about; several of them are a transaction, so that many keys have
    /// one place in the line.
    sent: Vec<(PendingReply, DueKeys)>,
    inflight: Rc<Inflight>,
    /// What the session had sent by then.
    number: u64,
}

/// Gives keys the time to live of their policies.
#[derive(Debug)]
pub(in crate::router) struct DefaultTtl {
    context: Rc<RouterContext>,
    /// When it was last logged that a key was left without its time to live.
    logged_at: Cell<Option<Nanos>>,
}

// === impl DefaultTtl ===

impl DefaultTtl {
    /// Sends to `context`.
    pub(in crate::router) fn new(context: Rc<RouterContext>) -> Rc<DefaultTtl> {
        Rc::new(DefaultTtl { context, logged_at: Cell::new(None) })
    }

    /// What goes out for `request`, whose own bytes are `bytes`, and which of its keys need a time to live
    /// behind it.
    #[inline]
    pub(in crate::router) fn apply(
        &self,
        route: RequestRoute,
        request: &Request<'_>,
        bytes: Bytes,
    ) -> (Bytes, Option<DueKeys>) {
        if !self.context.policies.give_ttl() {
            return (bytes, None);
        }
        self.look_for(route, request, bytes)
    }

    #[inline(never)]
    fn look_for(&self, route: RequestRoute, request: &Request<'_>, bytes: Bytes) -> (Bytes, Option<DueKeys>) {
        let policies = self.context.policies.get();
        if route.ttl_effect == TtlEffect::Options {
            let ttl = policies.of(request.arg(1)).default_ttl.filter(|_| is_silent(request));
            return (ttl.map_or(bytes, |ttl| self.with_option(request, ttl)), None);
        }
        let keys = route.ttl_effect.positions(request).map(|position| request.arg(position));
        let due = |key| Some((Bytes::copy_from_slice(key), policies.of(key).default_ttl?));
        let due: DueKeys = keys.filter_map(due).collect();
        (bytes, (!due.is_empty()).then_some(due))
    }

    fn with_option(&self, request: &Request<'_>, ttl: Duration) -> Bytes {
        self.context.stats.default_ttl_sent.bump();
        let millis = ttl.as_millis().to_string();
        let args = request.args().chain([&b"PX"[..], millis.as_bytes()]);
        OwnedRequest::from_args(args).bytes()
    }

    /// Sends what follows a write that was sent right before; nothing when that has failed already.
    #[inline]
    pub(in crate::router) fn follow(
        self: &Rc<DefaultTtl>,
        write: &PendingReply,
        slots: KeySlots,
        due: Option<DueKeys>,
        inflight: &Rc<Inflight>,
    ) -> Option<TtlFollowUp> {
        let due = due?;
        (!write.has_outcome()).then(|| self.give_ttl(slots, due, inflight))
    }

    /// Gives keys in `slots` their time to live.
    pub(in crate::router) fn give_ttl(
        self: &Rc<DefaultTtl>,
        slots: KeySlots,
        due: DueKeys,
        inflight: &Rc<Inflight>,
    ) -> TtlFollowUp {
        self.context.stats.default_ttl_sent.add(due.len() as u64);
        let database = inflight.database();
        // While a slot moves, no node carries out a transaction on keys that have left; each alone is
        // redirected.
        let sent = match due.len() > 1 && !self.is_moving(slots) {
            true => {
                let call = Call::new(database, slots, all(&due), false);
                vec![(self.context.upstream.send_behind(call, due.len() + 1), due)]
            }
            false => self.give_each(slots, database, due),
        };
        TtlFollowUp {
            default_ttl: self.clone(),
            slots,
            database,
            sent,
            inflight: inflight.clone(),
            number: inflight.sent(),
        }
    }

    fn is_moving(&self, slots: KeySlots) -> bool {
        slots.one().is_some_and(|slot| self.context.upstream.is_moving(slot, clock::now()))
    }

    fn give_each(
        self: &Rc<DefaultTtl>,
        slots: KeySlots,
        database: DbIndex,
        due: DueKeys,
    ) -> Vec<(PendingReply, DueKeys)> {
        let is_single = due.len() == 1;
        let give = |(key, ttl): (Bytes, Duration)| {
            let call = Call::new(database, slots, pexpire(&key, ttl), false);
            let sent = match is_single {
                true => self.context.upstream.send_behind(call, 0),
                false => self.context.upstream.send(slots.one(), call),
            };
            (sent, DueKeys::from([(key, ttl)]))
        };
        due.into_iter().map(give).collect()
    }

    /// Counts keys that get no time to live, since a transaction has left its database when it writes them.
    pub(in crate::router) fn note_other_database(&self, keys: usize) {
        self.context.stats.default_ttl_failures.add(keys as u64);
    }

    /// Counts the `keys` in `slots` that may have no time to live for INFO, and logs that now and then.
    fn note_missed(&self, slots: KeySlots, keys: usize, cause: &str) {
        self.context.stats.default_ttl_failures.add(keys as u64);
        let now = clock::now();
        if self.logged_at.get().is_none_or(|logged_at| now >= logged_at + LOGGED_EVERY) {
            self.logged_at.set(Some(now));
            let node = self.context.upstream.node_for(slots.one());
            let node = node.map(|node| self.context.upstream.node(node).to_string());
            tracing::warn!(
                node,
                cause,
                "a write left a key without the default_ttl of its policy: see default_ttl_failures"
            );
        }
    }
}

// === impl TtlFollowUp ===

impl TtlFollowUp {
    /// Waits until all keys have their time to live, or do not get it: the write had this outcome. In a box,
    /// so that no other write carries the room for this.
    pub(in crate::router) fn finish(self, write: &Outcome) -> LocalBoxFuture<'static, ()> {
        Box::pin(self.finish_after(may_have_written(write)))
    }

    async fn finish_after(self, may_have_written: bool) {
        let mut again = DueKeys::new();
        for (sent, due) in self.sent {
            let outcome = sent.reply.await.unwrap_or_else(stopped);
            if let Ok(reply) = &outcome {
                let context = &self.default_ttl.context;
                context.is_refused(context.upstream.node_for(self.slots.one()), Right::Pexpire, &reply.frame);
            }
            let Some((keys, cause)) = missed(&outcome, due.len()).filter(|_| may_have_written) else {
                continue;
            };
            // The slot may have been found to be moving just now.
            let is_moving = due.len() > 1 && self.default_ttl.is_moving(self.slots);
            // What the session has sent since may say that a key is to be there for ever, and this would come
            // behind it.
            if is_moving && self.inflight.sent() == self.number {
                again.extend(due);
            } else {
                self.default_ttl.note_missed(self.slots, keys, &cause);
            }
        }
        for (sent, due) in self.default_ttl.give_each(self.slots, self.database, again) {
            if let Some((keys, cause)) = missed(&sent.reply.await.unwrap_or_else(stopped), due.len()) {
                self.default_ttl.note_missed(self.slots, keys, &cause);
            }
        }
    }
}

/// Whether a write with this outcome may have put something into a key: it was neither refused nor came to
/// nothing.
pub(in crate::router) fn may_have_written(write: &Outcome) -> bool {
    match write {
        Ok(reply) => {
            !reply.frame.starts_with(b"-")
                && !matches!(cursor::head(&reply.frame), Some(ReplyHead::Null { .. }))
        }
        Err(failure) => matches!(failure, UpstreamError::Lost { .. } | UpstreamError::TimedOut { .. }),
    }
}

/// How many of `keys` an answer leaves without a time to live, and why.
fn missed(outcome: &Outcome, keys: usize) -> Option<(usize, String)> {
    let frame = match outcome {
        Ok(reply) => &reply.frame,
        Err(failure) => return Some((keys, failure.to_string())),
    };
    let shown = |error: &[u8]| String::from_utf8_lossy(error.trim_ascii_end()).into_owned();
    match cursor::elements(frame) {
        Some(replies) => {
            let mut errors = replies.flatten().filter(|reply| cursor::integer(reply).is_none());
            let first = errors.next()?;
            Some((1 + errors.count(), shown(first)))
        }
        None if cursor::integer(frame).is_some() => None,
        None => Some((keys, shown(frame))),
    }
}

fn pexpire(key: &[u8], ttl: Duration) -> Bytes {
    encode::request(&[b"PEXPIRE", key, ttl.as_millis().to_string().as_bytes(), b"NX"])
}

fn all(due: &DueKeys) -> Bytes {
    let mut out = BytesMut::new();
    out.put_slice(MULTI);
    for (key, ttl) in due {
        out.put_slice(&pexpire(key, *ttl));
    }
    out.put_slice(EXEC);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::UpstreamReply;

    #[test]
    fn what_a_node_did_not_do_is_counted_by_key() {
        let answered = |frame: &'static [u8], keys| {
            let reply =
                UpstreamReply { frame: Bytes::from_static(frame), rerouted: false, tracked: false, by: None };
            missed(&Ok(reply), keys)
        };
        assert_eq!(answered(b":1\r\n", 1), None);
        assert_eq!(answered(b":0\r\n", 1), None, "it had one, or is gone again");
        assert_eq!(answered(b"*2\r\n:1\r\n:0\r\n", 2), None);
        assert_eq!(answered(b"-ERR no\r\n", 1), Some((1, "-ERR no".to_owned())));
        assert_eq!(answered(b"-EXECABORT no\r\n", 3), Some((3, "-EXECABORT no".to_owned())));
        assert_eq!(answered(b"*3\r\n-NO 1\r\n:1\r\n-NO 2\r\n", 3), Some((2, "-NO 1".to_owned())));
        assert_eq!(missed(&Err(UpstreamError::Stopped), 2).map(|(keys, _)| keys), Some(2));
    }
}
