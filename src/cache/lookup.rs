//! A lookup: finds the reply that may be served now, or what a fill has to know.

use bytes::Bytes;

use super::entry::{CacheQuery, CommandId};
use super::generation::MissToken;
use super::hit::Hit;
use super::miss_reason::MissReason;
use super::near_cache::{HITS_PER_COUNT, NearCache};
use super::store::{EntryHead, Found, FoundReply, LookupKey, sole, tick};
use crate::clock::Nanos;
use crate::net::write_queue::WriteQueue;
use crate::node::Epoch;
use crate::protocol::key::Slot;

/// The result of a lookup.
#[derive(Debug)]
pub enum Lookup<'a> {
    /// The reply.
    Hit(Hit<'a>),
    /// No reply may be served. What a fill has to know.
    Miss(MissToken),
}

// === impl NearCache ===

impl<T: Clone> NearCache<T> {
    /// Looks `query` up as of `now`, and copies the reply behind the waiting bytes of `out`. `slot` is
    /// called only on a miss.
    #[inline(always)]
    pub fn lookup<'o>(
        &self,
        query: &CacheQuery<'_>,
        now: Nanos,
        slot: impl FnOnce() -> Slot,
        out: &'o mut WriteQueue,
    ) -> Lookup<'o> {
        let hash = self.shared.store.hash(query.key);
        if let Some(held) = self.serve(hash, query, now, out) {
            if self.count_hit() {
                let sampled = self.samples.as_ref().map(|_| held.to_bytes(out));
                self.record_sampled_hit(*query, held.spot(), sampled);
            }
            return Lookup::Hit(Hit::new(out, held));
        }
        self.stats.l1_misses.bump();
        let generation = self.shared.generation(hash, slot());
        Lookup::Miss(MissToken { hash, generation, at: now, behind: 0 })
    }

    /// The hit of a read of `key` alone, in the usual case: its entry lies where it is looked for first, and
    /// may be served as it is. Otherwise nothing was done, and [`NearCache::lookup`] has to look.
    #[inline(always)]
    pub fn lookup_at_once<'o>(
        &self,
        command: CommandId,
        key: &[u8],
        now: Nanos,
        out: &'o mut WriteQueue,
    ) -> Option<Hit<'o>> {
        let hash = self.shared.store.hash(key);
        let held = self.serve_at_once(hash, &LookupKey::of_key(command, key), now, out)?;
        if self.count_hit() {
            self.record_hit_of_key(command, key, &held, out);
        }
        Some(Hit::new(out, held))
    }

    /// Counts a hit. Returns whether it may be one that is counted by its key, or sampled.
    #[inline(always)]
    fn count_hit(&self) -> bool {
        self.stats.l1_hits.bump();
        self.stats.l1_hits.get() & self.sample_mask == 0
    }

    /// Finds a reply that may be served in the usual case, and copies it into the room of `out`.
    #[inline(always)]
    fn serve_at_once(
        &self,
        hash: u64,
        lookup_key: &LookupKey<'_>,
        now: Nanos,
        out: &mut WriteQueue,
    ) -> Option<FoundReply> {
        let found = self.shared.store.find_at_once(hash, lookup_key, out)?;
        let may_be_served = !found.head.is_over(tick(now))
            && !self.shared.store.is_moved(found.head)
            && self.epochs.borrow().is_servable(found.head.epoch_index(), now);
        may_be_served.then(|| FoundReply::copied(found))
    }

    /// Finds a reply that may be served, and copies it into the room of `out` unless it is large.
    #[inline(always)]
    fn serve(
        &self,
        hash: u64,
        query: &CacheQuery<'_>,
        now: Nanos,
        out: &mut WriteQueue,
    ) -> Option<FoundReply> {
        if let Some(held) = self.serve_at_once(hash, &LookupKey::new(query), now, out) {
            return Some(held);
        }
        let found = self.serve_otherwise(hash, *query, now, out)?;
        self.shared.store.held(found)
    }

    /// Finds a reply that may be served wherever it lies, and checks its connection first if that is due.
    #[inline(never)]
    fn serve_otherwise(
        &self,
        hash: u64,
        query: CacheQuery<'_>,
        now: Nanos,
        out: &mut WriteQueue,
    ) -> Option<Found> {
        let lookup_key = LookupKey::new(&query);
        let mut was_checked = false;
        loop {
            let found = self.shared.store.find(hash, &lookup_key, out)?;
            let head = found.head;
            if head.is_over(tick(now)) || self.shared.store.is_moved(head) {
                self.pass_by(hash, head, found.spot, now);
                return None;
            }
            if self.epochs.borrow().is_servable(head.epoch_index(), now) {
                return Some(found);
            }
            // The check may have brought an invalidation of this key: the lookup begins again.
            if !self.check_inbox(hash, head, now, &mut was_checked) {
                return None;
            }
        }
    }

    /// Notes why an entry is not served, and removes an expired one.
    #[cold]
    fn pass_by(&self, hash: u64, head: EntryHead, spot: u64, now: Nanos) {
        let Some(why) = self.shared.why_dead(head, now) else { return };
        if why == MissReason::Expired && self.shared.store.remove(hash, spot) {
            self.stats.l1_expirations.add(1);
        }
        self.note(hash, why);
    }

    /// Checks the connection that an entry came over. Returns whether the lookup has to begin again.
    #[cold]
    fn check_inbox(&self, hash: u64, head: EntryHead, now: Nanos, was_checked: &mut bool) -> bool {
        if self.shared.store.copy_epoch(&mut self.epochs.borrow_mut(), head.epoch_index()) {
            return true;
        }
        let epoch = self.epochs.borrow().epoch(head.epoch_index()).cloned();
        let Some(epoch) = epoch.filter(|epoch| epoch.is_live(now)) else {
            let was_emptied = self.epochs.borrow().epoch(head.epoch_index()).is_some_and(Epoch::was_emptied);
            self.note(hash, if was_emptied { MissReason::NodeFlushed } else { MissReason::Lost });
            return false;
        };
        let is_empty = !std::mem::replace(was_checked, true) && epoch.check_inbox(now);
        if !is_empty {
            self.stats.l1_unseen.bump();
        }
        is_empty
    }

    /// Counts a few of the hits by key, and samples a few.
    #[cold]
    fn record_sampled_hit(&self, query: CacheQuery<'_>, spot: u64, reply: Option<Bytes>) {
        let hits = self.stats.l1_hits.get();
        if hits.is_multiple_of(HITS_PER_COUNT) {
            self.shared.counted.note(query.key);
        }
        if let (Some(samples), Some(reply)) = (&self.samples, reply)
            && samples.check(hits, &query, spot, reply)
        {
            self.stats.shadow_skipped.add(1);
        }
    }

    #[cold]
    #[inline(never)]
    fn record_hit_of_key(&self, command: CommandId, key: &[u8], held: &FoundReply, out: &WriteQueue) {
        // A hit that is only counted takes no arguments, and allocates nothing.
        let (args, sampled) = match &self.samples {
            Some(_) => (sole(key), Some(held.to_bytes(out))),
            None => (Vec::new(), None),
        };
        self.record_sampled_hit(CacheQuery { command, key, args: &args }, held.spot(), sampled);
    }

    /// The token of a miss without a lookup. The read joins no fill with a lower number than `behind`.
    pub fn miss_without_lookup(&self, key: &[u8], now: Nanos, slot: Slot, behind: u64) -> MissToken {
        self.stats.l1_misses.bump();
        let hash = self.shared.store.hash(key);
        MissToken { hash, generation: self.shared.generation(hash, slot), at: now, behind }
    }
}
