//! What the families of a worker's router use together: L1, the upstream and the settings.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;

use super::caller::Caller;
use super::coherence::inflight::{InflightKeys, InflightRead, InflightWrite};
use super::coherence::swap_count::SwapCount;
use super::replies::stopped;
use super::request_route::{Destination, RequestRoute};
use super::turns::{AT_ONCE, give_turn};
use crate::cache::policy::CurrentPolicies;
use crate::cache::{MissReason, NearCache, VersionedReply};
use crate::clients::pause::ClientPause;
use crate::invalidation::Invalidation;
use crate::protocol::command::KeyPositions;
use crate::protocol::key::{KeySlots, Slot};
use crate::protocol::resp::request::Request;
use crate::stats::WorkerStats;
use crate::upstream::{Call, NodeIndex, Outcome, Right, Upstream, UpstreamError};

/// The near cache, whose fills end with a reply or with why there is none.
pub type RouterCache = NearCache<Result<FillResult, UpstreamError>>;

/// What a fill brought in.
#[derive(Clone, Debug)]
pub struct FillResult {
    pub(super) reply: VersionedReply,
    /// As in [`UpstreamReply`](crate::upstream::UpstreamReply).
    pub(super) tracked: bool,
}

/// Redis Cluster's own words.
pub(super) const CROSS_SLOT: &[u8] = b"-CROSSSLOT Keys in request don't hash to the same slot\r\n";

/// The settings of a router.
#[derive(Clone, Copy, Debug)]
pub struct RouterSettings {
    /// How long the first requests wait for the topology, and how long nodes have to answer.
    pub request_timeout: Duration,
    /// Whether this worker is the only one, so that all replies and pushes of a node come in one order.
    pub single_worker: bool,
    /// Bytes of the names of keys that are gathered for one KEYS, or for one page of SCAN.
    pub keyspace_bytes_max: usize,
    /// Whether a transaction may have keys of several slots of a cluster: each slot's part is one of its
    /// own.
    pub transactions_per_slot: bool,
}

/// A node, and what it will answer.
pub(super) type PendingReplyOf = (NodeIndex, LocalBoxFuture<'static, Outcome>);

/// L1 and the upstream of one worker, with the policies, counters and settings that go with them.
#[derive(Debug)]
pub(super) struct RouterContext {
    /// L1; `None` when it is off.
    pub(super) cache: Option<RouterCache>,
    pub(super) upstream: Rc<Upstream>,
    /// What may be kept in L1, and on which terms.
    pub(super) policies: Arc<CurrentPolicies>,
    pub(super) stats: Arc<WorkerStats>,
    pub(super) settings: RouterSettings,
    /// What one server said last of how often databases were swapped.
    pub(super) swaps: SwapCount,
    /// CLIENT PAUSE: what has waited for something else asks again before it is sent.
    pub(super) pause: Arc<ClientPause>,
}

// === impl RouterContext ===

impl RouterContext {
    /// Where a command goes.
    ///
    /// # Errors
    /// The reply for a command that can go nowhere.
    pub(super) fn destination(
        &self,
        route: RequestRoute,
        request: &Request<'_>,
    ) -> Result<Destination, Bytes> {
        let slots = self.slots(route, request).map_err(Bytes::from_static)?;
        Ok(Destination { slots, node: self.upstream.node_for(slots.one()) })
    }

    /// The slots of the keys that a command may touch.
    ///
    /// # Errors
    /// The reply for keys in several slots of a cluster.
    pub(super) fn slots(
        &self,
        route: RequestRoute,
        request: &Request<'_>,
    ) -> Result<KeySlots, &'static [u8]> {
        if !self.upstream.is_cluster() && route.reaches_further() {
            return Ok(KeySlots::Several);
        }
        self.joined(KeySlots::None, route.named_slots(request))
    }

    /// The slots of what is carried out together.
    ///
    /// # Errors
    /// The reply for keys in several slots of a cluster.
    pub(super) fn joined(&self, some: KeySlots, others: KeySlots) -> Result<KeySlots, &'static [u8]> {
        match some.and(others) {
            KeySlots::Several if self.upstream.is_cluster() => Err(CROSS_SLOT),
            slots => Ok(slots),
        }
    }

    /// Whether no slot may keep a request in its place among others of its session: it names no keys or, in
    /// front of one server, several keys, or may touch others.
    pub(super) fn lacks_slot_order(&self, route: RequestRoute, request: &Request<'_>) -> bool {
        if self.upstream.is_cluster() {
            return route.keys.first(request).is_none();
        }
        let has_one_key = || {
            let is_one = |positions: KeyPositions| positions.len() == 1;
            route.keys.only(request).is_some() || route.keys.positions(request).is_ok_and(is_one)
        };
        route.reaches_further() || !has_one_key()
    }

    /// Sends a command to every primary, behind what was sent there before; empty when none is known.
    pub(super) fn ask_every(&self, call: &Call) -> Vec<PendingReplyOf> {
        let primaries = self.upstream.primaries();
        let ask = |node: &NodeIndex| {
            let sent = self.upstream.send_to(*node, call.clone());
            let outcome = async move { sent.reply.await.unwrap_or_else(stopped) };
            (*node, Box::pin(outcome) as LocalBoxFuture<'static, Outcome>)
        };
        primaries.iter().map(ask).collect()
    }

    /// Notes whether a node refused a command of the daemon's own that needs `right`, and returns it.
    pub(super) fn is_refused(&self, node: Option<NodeIndex>, right: Right, reply: &[u8]) -> bool {
        let rights = &self.upstream.shared().rights;
        rights.may_change(reply)
            && node.is_some_and(|node| rights.judge(&self.upstream.node(node), right, reply))
    }

    /// Notes why a read of `key` is not answered from L1.
    pub(super) fn note(&self, key: &[u8], why: MissReason) {
        if let Some(cache) = &self.cache {
            cache.shared().note(key, why);
        }
    }

    /// Begins a read that L1 does not keep: nothing older may be read in L1 while the read is in flight.
    /// `None` where there is no L1.
    pub(super) fn begin_read(&self, keys: InflightKeys, caller: Caller<'_>) -> Option<InflightRead> {
        let cache = self.cache.as_ref().filter(|_| !keys.is_empty())?;
        Some(InflightRead::begin(caller.inflight, keys, cache.next_number()))
    }

    /// Begins a write of `keys`, which are all in `slot` if that is known.
    pub(super) fn begin_write(
        &self,
        keys: InflightKeys,
        slot: Option<Slot>,
        caller: Caller<'_>,
    ) -> InflightWrite {
        InflightWrite::begin(
            caller.inflight,
            keys,
            slot,
            self.cache.as_ref().map(|cache| cache.shared().clone()),
        )
    }

    /// Empties L1, and keeps no reply that is in flight.
    pub(super) fn invalidate_all(&self) {
        if let Some(cache) = &self.cache {
            cache.shared().invalidate(&Invalidation::All, &self.stats);
        }
    }

    /// Drops keys from L1, and gives others their turn meanwhile.
    pub(super) async fn drop_keys(&self, keys: &[Bytes]) {
        let Some(cache) = &self.cache else { return };
        for (index, key) in keys.iter().enumerate() {
            cache.shared().invalidate_key(key, MissReason::Written);
            give_turn(index).await;
        }
    }

    /// Whether the invalidation of what a reply says may come over another connection than the reply, so that
    /// the reply may be newer than L1.
    pub(super) fn is_multi_stream(&self) -> bool {
        self.cache.as_ref().is_some_and(|cache| cache.shared().is_multi_stream())
    }

    /// Drops keys from L1 before a reply leaves that read them over another connection than those that
    /// receive their invalidations, and gives others their turn meanwhile. That reply may be newer than
    /// L1.
    pub(super) async fn drop_keys_read_elsewhere(&self, keys: &[Bytes]) {
        for (index, keys) in keys.chunks(AT_ONCE).enumerate() {
            if let Some(cache) = &self.cache {
                keys.iter().for_each(|key| _ = cache.shared().invalidate_key(key, MissReason::ReadUnordered));
            }
            give_turn((index + 1) * AT_ONCE - 1).await;
        }
    }
}
