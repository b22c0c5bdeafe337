//! What policies keep out of L1, and on which terms the rest is kept. Asked on a miss, and of reads that are
//! not cached.

use bytes::Bytes;

use super::caller::Caller;
use super::context::RouterContext;
use super::request_route::RequestRoute;
use crate::cache::policy::{CacheTerms, TrackingMode, TtlMode};
use crate::clock::Nanos;
use crate::protocol::command::Flags;
use crate::protocol::db::DbIndex;
use crate::protocol::key::Slot;
use crate::protocol::resp::request::Request;
use crate::upstream::{Call, Outcome, PendingReply, Right};

// === impl RouterContext ===

impl RouterContext {
    /// On which terms a reply about `key` is kept; `None` when it is not.
    pub(super) fn terms(&self, key: &[u8]) -> Option<CacheTerms> {
        let terms = self.policies.terms(key).ok();
        if terms.is_none() {
            self.stats.l1_kept_out.bump();
        }
        terms
    }

    /// Sends a read whose reply L1 may keep, and returns how the node will push changes of `keys`. What
    /// `tracking` wants is done if the node's BCAST connection is up, and if the client itself tracks
    /// nothing.
    pub(super) fn send_to_keep<'a>(
        &self,
        tracking: TrackingMode,
        slot: Option<Slot>,
        keys: impl Iterator<Item = &'a [u8]>,
        call: Call,
        caller: Caller<'_>,
    ) -> (PendingReply, TrackingMode) {
        if tracking == TrackingMode::ByKey || caller.coverage.is_some() {
            return (self.upstream.send(slot, call), TrackingMode::ByKey);
        }
        match self.upstream.send_if_covered(slot, keys, call) {
            Ok(sent) => (sent, TrackingMode::Broadcast),
            Err(call) => (self.upstream.send(slot, call), TrackingMode::ByKey),
        }
    }

    /// Asks for the TTL behind a read (`reads/ttl_probe.rs`), unless its policy does not need it. The request
    /// follows the read on its connection; after a redirect it would be pointless.
    pub(super) fn ask_lifetime(
        &self,
        terms: &CacheTerms,
        tracking: TrackingMode,
        slot: Option<Slot>,
        database: DbIndex,
        question: impl FnOnce() -> Bytes,
    ) -> Option<PendingReply> {
        let call = || Call::question(question()).on(database);
        (terms.mode == TtlMode::Exact).then(|| match tracking {
            TrackingMode::ByKey => self.upstream.send(slot, call()),
            TrackingMode::Broadcast => self.upstream.send_untracked(slot, call()),
        })
    }

    /// Whether the owner of `slot` refuses to say the TTL of its keys: then their replies are not kept (I5).
    pub(super) fn is_untimed(&self, terms: &CacheTerms, slot: Slot, of_fields: bool, now: Nanos) -> bool {
        let rights = &self.upstream.shared().rights;
        let right = if of_fields { Right::EvalRo } else { Right::Pttl };
        terms.mode == TtlMode::Exact && rights.is_missing(|| self.upstream.owner_node(slot), right, now)
    }

    /// Takes note of whether the owner of `slot`, or the one server, said how long what was read there will
    /// hold.
    pub(super) fn note_lifetime(&self, slot: Option<Slot>, lifetime: Option<&Outcome>, of_fields: bool) {
        let right = if of_fields { Right::EvalRo } else { Right::Pttl };
        if let Some(Ok(reply)) = lifetime
            && !reply.rerouted
        {
            self.is_refused(self.upstream.node_for(slot), right, &reply.frame);
        }
    }

    /// Sends a read whose reply L1 does not keep. The node tracks it only if the client itself needs
    /// invalidations.
    pub(super) fn send_uncached(&self, slot: Option<Slot>, call: Call, caller: Caller<'_>) -> PendingReply {
        match caller.coverage {
            Some(_) => self.upstream.send(slot, call),
            None => self.upstream.send_untracked(slot, call),
        }
    }

    /// Whether a request only reads keys whose policies keep them out of L1.
    pub(super) fn is_uncached(&self, route: RequestRoute, request: &Request<'_>) -> bool {
        if !self.policies.exist() || !route.flags.has(Flags::READ) {
            return false;
        }
        let mut positions = route.keys.positions(request).into_iter().flatten();
        positions.all(|position| self.policies.terms(request.arg(position)).is_err())
    }
}
