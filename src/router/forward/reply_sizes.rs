//! What may have a long reply, where nodes end a connection for which too many bytes of replies wait.
//!
//! Such a command goes over a connection of its own, unless all that it can answer is known to be small: then
//! it goes the way of all others, and L1 may keep the reply. Where no node has such a limit, which is the
//! rule, nothing is asked.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;

use bytes::Bytes;
use futures_util::future::{LocalBoxFuture, join_all};

use crate::clock::{self, Nanos};
use crate::protocol::command::Flags;
use crate::protocol::db::DbIndex;
use crate::protocol::key::{KeySlots, Slot};
use crate::protocol::resp::request::Request;
use crate::protocol::resp::{cursor, encode};
use crate::router::caller::Caller;
use crate::router::context::RouterContext;
use crate::router::request_route::{KeyAccess, RequestRoute};
use crate::upstream::{Call, Right};

/// The part of the limit from which on the memory of a key counts as a large reply: many replies wait at the
/// same time.
const PART: u64 = 8;

/// How long a size is believed.
const SIZE_HOLDS: Nanos = 1_000_000_000;

/// Keys whose size is remembered.
const SIZES_MAX: usize = 4096;

/// For a command on more keys no sizes are asked for: each takes a request to the node, and the first answers
/// would be too old before the last come.
const MEASURED_KEYS_MAX: usize = 64;

/// The known sizes of keys, by a hash that a client cannot predict.
#[derive(Debug, Default)]
struct KeySizes {
    of: HashMap<u64, Size>,
    hasher: RandomState,
}

#[derive(Clone, Copy, Debug)]
struct Size {
    /// What the key takes at its node, in bytes.
    bytes: u64,
    until: Nanos,
}

/// Knows which commands may have a large reply.
#[derive(Debug)]
pub(in crate::router) struct ReplySizes {
    context: Rc<RouterContext>,
    sizes: RefCell<KeySizes>,
}

// === impl ReplySizes ===

impl ReplySizes {
    /// Knows no size yet.
    pub(in crate::router) fn new(context: Rc<RouterContext>) -> Rc<ReplySizes> {
        Rc::new(ReplySizes { context, sizes: RefCell::default() })
    }

    /// Asks for the sizes that decide how a command is sent, if they are unknown. Lasts until they are known.
    #[inline]
    pub(in crate::router) fn measure(
        self: &Rc<ReplySizes>,
        route: RequestRoute,
        request: &Request<'_>,
        caller: Caller<'_>,
    ) -> Option<LocalBoxFuture<'static, ()>> {
        if !route.flags.has(Flags::GROWS) || !is_measured(route, request) {
            return None;
        }
        let slots = self.context.slots(route, request).ok().filter(|slots| *slots != KeySlots::None)?;
        self.context.upstream.reply_limit(slots.one())?;
        self.ask_sizes(route, request, slots, caller)
    }

    #[cold]
    fn ask_sizes(
        self: &Rc<ReplySizes>,
        route: RequestRoute,
        request: &Request<'_>,
        slots: KeySlots,
        caller: Caller<'_>,
    ) -> Option<LocalBoxFuture<'static, ()>> {
        let mut keys = route.keys_of(request);
        let database = caller.inflight.database();
        keys.retain(|key| self.sizes.borrow().get(database, key, caller.now).is_none());
        if keys.is_empty() {
            return None;
        }
        let asked = keys.into_iter().map(|key| {
            let bytes = encode::request(&[&b"MEMORY"[..], b"USAGE", &key]);
            let sent = self.context.upstream.send(slots.one(), Call::new(database, slots, bytes, true));
            (Bytes::copy_from_slice(&key), sent)
        });
        let asked: Vec<_> = asked.collect();
        let this = self.clone();
        Some(Box::pin(async move {
            let (keys, sent): (Vec<Bytes>, Vec<_>) = asked.into_iter().unzip();
            let outcomes = join_all(sent.into_iter().map(|sent| sent.reply)).await;
            this.sizes.borrow_mut().make_room(keys.len());
            for (key, outcome) in keys.into_iter().zip(outcomes) {
                if let Ok(Ok(reply)) = &outcome {
                    let node = this.context.upstream.node_for(slots.one());
                    this.context.is_refused(node, Right::MemoryUsage, &reply.frame);
                }
                let size = match outcome {
                    Ok(Ok(reply)) if reply.frame.starts_with(b"_") => 0,
                    // If a node does not answer, the key counts as large.
                    Ok(Ok(reply)) => cursor::integer(&reply.frame).map_or(u64::MAX, i64::unsigned_abs),
                    _ => u64::MAX,
                };
                this.sizes.borrow_mut().note(database, &key, size, clock::now());
            }
        }))
    }

    /// Whether a command goes over a connection of its own. The reply of a script is unknown in advance.
    #[inline]
    pub(in crate::router) fn needs_isolation(
        &self,
        route: RequestRoute,
        access: KeyAccess,
        slot: Option<Slot>,
        request: &Request<'_>,
        caller: Caller<'_>,
    ) -> bool {
        let unknown = access == KeyAccess::Undeclared || route.runs_user_code;
        if !unknown && !route.flags.has(Flags::GROWS) {
            return false;
        }
        let Some(limit) = self.context.upstream.reply_limit(slot) else { return false };
        unknown || !self.is_small(route, request, limit, caller)
    }

    #[cold]
    fn is_small(&self, route: RequestRoute, request: &Request<'_>, limit: u64, caller: Caller<'_>) -> bool {
        if !is_measured(route, request) {
            return false;
        }
        let (keys, sizes) = (route.keys_of(request), self.sizes.borrow());
        let database = caller.inflight.database();
        let sizes = keys.iter().map(|key| sizes.get(database, key, caller.now).unwrap_or(u64::MAX));
        sizes.fold(0, u64::saturating_add) <= limit / PART
    }
}

/// Whether the sizes of all keys are asked for.
#[inline]
fn is_measured(route: RequestRoute, request: &Request<'_>) -> bool {
    let are_few = || route.keys.positions(request).is_ok_and(|keys| keys.len() <= MEASURED_KEYS_MAX);
    request.len() <= MEASURED_KEYS_MAX || are_few()
}

// === impl KeySizes ===

impl KeySizes {
    fn get(&self, database: DbIndex, key: &[u8], now: Nanos) -> Option<u64> {
        self.of
            .get(&self.hasher.hash_one((database, key)))
            .filter(|size| size.until > now)
            .map(|size| size.bytes)
    }

    /// Makes room for `more` sizes. Where there is none all are forgotten: each holds for a moment only.
    fn make_room(&mut self, more: usize) {
        if self.of.len() + more > SIZES_MAX {
            self.of.clear();
        }
    }

    /// Remembers a size.
    fn note(&mut self, database: DbIndex, key: &[u8], bytes: u64, now: Nanos) {
        self.of.insert(self.hasher.hash_one((database, key)), Size { bytes, until: now + SIZE_HOLDS });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_believed_for_a_moment_and_only_so_many() {
        let mut sizes = KeySizes::default();
        let db = DbIndex::default();
        sizes.note(db, b"key", 7, 10);
        assert_eq!(sizes.get(db, b"key", 11), Some(7));
        assert_eq!(sizes.get(db, b"key", 10 + SIZE_HOLDS), None);
        assert_eq!(sizes.get(db, b"other", 11), None);
        assert_eq!(sizes.get(DbIndex::new(1), b"key", 11), None, "that is another key");
        // What was asked for together is known together.
        for first in (0..2 * SIZES_MAX).step_by(MEASURED_KEYS_MAX - 1) {
            let keys: Vec<String> =
                (first..first + MEASURED_KEYS_MAX).map(|number| number.to_string()).collect();
            sizes.make_room(keys.len());
            keys.iter().for_each(|key| sizes.note(db, key.as_bytes(), 1, 10));
            assert!(keys.iter().all(|key| sizes.get(db, key.as_bytes(), 11).is_some()));
            assert!(sizes.of.len() <= SIZES_MAX);
        }
    }
}
