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
use super::store::{NewEntry, Refused, Sought, TIME_MAX, tick};
use crate::clock::{self, Nanos};
use crate::net::write_queue::WriteQueue;

/// How long the key that a reply speaks of will live, as the server said after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Until it is changed.
    Unbounded,
    /// So much longer, counted from when the command was sent.
    Bounded(Duration),
    /// There is no such key.
    Absent,
}

/// What became of a fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// The reply is kept.
    Kept,
    /// Something changed while it ran: the reply is an answer, but not one to keep.
    Killed,
    /// It would outlive its time, or is larger than an entry or, by its policy, a value may be.
    NotKept,
}

// === impl NearCache ===

impl<T: Clone> NearCache<T> {
    /// Keeps `reply`, unless anything happened to the key since the ticket was made. `sent_at` is when the
    /// command was sent; `lifetime` what the server said of the key after it.
    ///
    /// With several workers, or where a policy has changes broadcast, replies and invalidations come over
    /// several connections and in no common order: this one may be older or newer than what was served,
    /// or is about to be kept. When two differ, neither is kept, and all of that is settled before the
    /// reply leaves: what this daemon has served is never followed by something older.
    pub fn commit(
        &self,
        ticket: &Ticket,
        question: &CacheQuery<'_>,
        reply: &VersionedReply,
        lifetime: Lifetime,
        sent_at: Nanos,
    ) -> Commit {
        if !self.shared.is_multi_stream() {
            return self.keep(ticket, question, reply, lifetime, sent_at);
        }
        let commits = self.shared.commits_of(ticket.hash);
        let mut connections = commits.one_by_one.lock();
        let latest = commits.latest.load(Ordering::Acquire);
        let rival = self.kept_reply(ticket.hash, question);
        let differs = |rival: &Bytes| *rival != reply.resp3;
        let commit = match &rival {
            Some(rival) if differs(rival) => {
                self.note(ticket.hash, MissReason::Differed);
                Commit::Killed
            }
            _ if self.crosses(ticket, question.key, connections.others_until(&ticket.epoch, latest)) => {
                return self.end_all(question.key);
            }
            _ => self.keep(ticket, question, reply, lifetime, sent_at),
        };
        if commit == Commit::Kept {
            connections.note(&ticket.epoch, latest);
            commits.latest.fetch_max(clock::now(), Ordering::AcqRel);
        }
        if commit != Commit::Kept && rival.is_none_or(|rival| differs(&rival)) {
            self.shared.invalidate_key(question.key, MissReason::Differed);
        }
        commit
    }

    /// Whether something else about the key is kept, or was, that came over another connection of the same
    /// worker since the ticket was made: which of the two is newer, nobody can tell. What one of the
    /// connections has to say of the key may be held up for long, behind something large.
    ///
    /// Several workers read so all the time. What they are told is not held up, or only together with what
    /// they read.
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

    /// Drops all that is kept of a key, also what is about to be.
    fn end_all(&self, key: &[u8]) -> Commit {
        self.shared.invalidate_key(key, MissReason::ReadUnordered);
        self.stats.l1_fills_killed.add(1);
        Commit::Killed
    }

    /// What the store would serve for `question` now.
    fn kept_reply(&self, hash: u64, question: &CacheQuery<'_>) -> Option<Bytes> {
        let mut out = WriteQueue::default();
        let found = self.shared.store.find(hash, &Sought::new(question), &mut out)?;
        let is_served = self.shared.why_dead(found.head, clock::now()).is_none();
        if is_served { self.shared.store.held(found).map(|held| held.to_bytes(&out)) } else { None }
    }

    fn keep(
        &self,
        ticket: &Ticket,
        question: &CacheQuery<'_>,
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
        if !question.is_well_formed() {
            self.note(ticket.hash, MissReason::UnusualRequest);
            return Commit::NotKept;
        }
        let is_too_large = ticket.terms.value_max.is_some_and(|max| reply.value_len() > max)
            || question.len() + reply.resp3.len() > self.shared.limits.entry_bytes_max as usize;
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
            question,
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
