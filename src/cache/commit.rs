//! The commit of a fill: keeps its reply, unless the key, its slot or its connection changed meanwhile.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use super::entry::{CacheQuery, VersionedReply};
use super::fill::Ticket;
use super::miss_reason::MissReason;
use super::near_cache::NearCache;
use super::policy::CacheTerms;
use super::shared::SharedCache;
use super::store::{LookupKey, NewEntry, Refused, TIME_MAX, tick};
use crate::clock::{self, Nanos};
use crate::net::write_queue::WriteQueue;

/// How long the key of a reply will live, by the server's answer after the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// It has no TTL.
    Unbounded,
    /// For this time, counted from when the command was sent.
    Bounded(Duration),
    /// The key does not exist.
    Absent,
}

/// The result of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// The reply is kept.
    Kept,
    /// Something changed while the fill ran: the reply may be sent to its client, but not kept.
    Killed,
    /// The reply would outlive its time, or is larger than an entry, or a value by its policy, may be.
    NotKept,
}

// === impl NearCache ===

impl<T: Clone> NearCache<T> {
    /// Keeps `reply`, unless the key was invalidated since the ticket was made. `sent_at` is the time when
    /// the command was sent, `lifetime` what the server answered about the TTL of the key after it.
    ///
    /// With several workers, or where a policy has changes broadcast, replies and invalidations come over
    /// several connections and in no common order: this one may be older or newer than what was served, or is
    /// about to be kept. If two differ, neither is kept, and the key is invalidated before the reply leaves.
    /// So this daemon never serves an older value after a newer one.
    pub fn commit(
        &self,
        ticket: &Ticket,
        query: &CacheQuery<'_>,
        reply: &VersionedReply,
        lifetime: Lifetime,
        sent_at: Nanos,
    ) -> Commit {
        if !self.shared.is_multi_stream() {
            return self.keep(ticket, query, reply, lifetime, sent_at);
        }
        let commits = self.shared.commits_of(ticket.hash);
        let mut connections = commits.commit_lock.lock();
        let latest = commits.latest.load(Ordering::Acquire);
        let rival = self.kept_reply(ticket.hash, query);
        let differs = |rival: &Bytes| *rival != reply.resp3;
        let commit = match &rival {
            Some(rival) if differs(rival) => {
                self.note(ticket.hash, MissReason::Differed);
                Commit::Killed
            }
            _ if self.crosses(ticket, query.key, connections.others_until(&ticket.epoch, latest)) => {
                return self.end_all(query.key);
            }
            _ => self.keep(ticket, query, reply, lifetime, sent_at),
        };
        if commit == Commit::Kept {
            connections.note(&ticket.epoch, latest);
            commits.latest.fetch_max(clock::now(), Ordering::AcqRel);
        }
        if commit != Commit::Kept && rival.is_none_or(|rival| differs(&rival)) {
            self.shared.invalidate_key(query.key, MissReason::Differed);
        }
        commit
    }

    /// Whether another reply about the key is or was kept that came over another connection of this worker
    /// since the ticket was made: then it is unknown which of the two is newer. An invalidation on one of the
    /// connections may be delayed for long, behind something large.
    ///
    /// Connections of several workers are always in that situation, but there an invalidation is never
    /// delayed longer than the replies behind it.
    fn crosses(&self, ticket: &Ticket, key: &[u8], others_until: Nanos) -> bool {
        let is_over_it = |epoch_index: u16| {
            self.shared.store.epoch(epoch_index).is_some_and(|epoch| epoch.number() == ticket.epoch.number())
        };
        !self.shared.limits.several_workers
            && self.shared.several_connections.load(Ordering::Relaxed)
            && (others_until > ticket.began
                || self
                    .shared
                    .store
                    .replies(ticket.hash, key)
                    .iter()
                    .any(|kept| !is_over_it(kept.head.epoch_index())))
    }

    /// Drops all entries of a key, also those of running fills.
    fn end_all(&self, key: &[u8]) -> Commit {
        self.shared.invalidate_key(key, MissReason::ReadUnordered);
        self.stats.l1_fills_killed.add(1);
        Commit::Killed
    }

    /// What the store would serve for `query` now.
    fn kept_reply(&self, hash: u64, query: &CacheQuery<'_>) -> Option<Bytes> {
        let mut out = WriteQueue::default();
        let found = self.shared.store.find(hash, &LookupKey::new(query), &mut out)?;
        let is_served = self.shared.why_dead(found.head, clock::now()).is_none();
        if is_served { self.shared.store.held(found).map(|held| held.to_bytes(&out)) } else { None }
    }

    fn keep(
        &self,
        ticket: &Ticket,
        query: &CacheQuery<'_>,
        reply: &VersionedReply,
        lifetime: Lifetime,
        sent_at: Nanos,
    ) -> Commit {
        let now = clock::now();
        let time = clock::nanos(self.shared.time_to_keep(&ticket.terms, lifetime)).min(TIME_MAX);
        let deadline = tick(sent_at + time);
        if !ticket.epoch.is_live(now) {
            return self.killed(ticket);
        }
        if now >= sent_at + time || deadline == tick(now) {
            self.note(ticket.hash, MissReason::TooShort);
            return Commit::NotKept;
        }
        if !query.is_well_formed() {
            self.note(ticket.hash, MissReason::UnusualRequest);
            return Commit::NotKept;
        }
        let is_too_large = ticket.terms.value_max.is_some_and(|max| reply.value_len() > max)
            || query.len() + reply.resp3.len() > self.shared.limits.entry_bytes_max as usize;
        if is_too_large {
            self.note(ticket.hash, MissReason::TooLarge);
            return Commit::NotKept;
        }
        let fill = NewEntry {
            hash: ticket.hash,
            generation: ticket.generation.key,
            slot_generation: ticket.generation.moves,
            slot: ticket.generation.slot,
            epoch: &ticket.epoch,
            deadline,
            query,
            reply: &reply.resp3,
            resp2: reply.resp2_form(),
        };
        match self.shared.store.insert(&fill) {
            Ok(()) => {
                self.stats.l1_fills.add(1);
                Commit::Kept
            }
            Err(Refused::Changed) => self.killed(ticket),
            Err(refused) => {
                let why =
                    if refused == Refused::TooLarge { MissReason::TooLarge } else { MissReason::Evicted };
                self.note(ticket.hash, why);
                Commit::NotKept
            }
        }
    }

    fn killed(&self, ticket: &Ticket) -> Commit {
        self.stats.l1_fills_killed.add(1);
        let is_changed = !self.shared.is_current(ticket.hash, &ticket.generation);
        self.note(ticket.hash, if is_changed { MissReason::Changed } else { MissReason::EpochEnded });
        Commit::Killed
    }
}

// === impl SharedCache ===

impl SharedCache {
    /// How long a reply may be kept from when its command was sent.
    pub(super) fn time_to_keep(&self, terms: &CacheTerms, lifetime: Lifetime) -> Duration {
        let (ttl, negative_ttl) = self.times_on(terms);
        let cap = match lifetime {
            Lifetime::Absent => negative_ttl,
            Lifetime::Unbounded | Lifetime::Bounded(_) => ttl,
        };
        let cap = match terms.ttl_jitter {
            0 => cap,
            jitter => cap.mul_f64(1.0 - f64::from(jitter) / 1_000.0 * fastrand::f64()),
        };
        if let Lifetime::Bounded(left) = lifetime { left.min(cap) } else { cap }
    }
}
