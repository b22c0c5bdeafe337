//! The coherence promise, number by number, and the races that it excludes: what the tests share. Each test
//! is named after the number of its promise.

mod budget;
mod deadlines;
mod epochs;
mod invalidation;
mod joining;
mod replies;
mod several_workers;
mod stress;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::entry::Resp2;
use super::policy::{AdmissionRule, CacheTerms};
use super::store::{NewEntry, REPLIES_MAX, Refused, tick};
use super::*;
use crate::clock::{self, Nanos};
use crate::invalidation::Invalidation;
use crate::net::write_queue::WriteQueue;
use crate::node::Epoch;
use crate::protocol::command::{number_of, numbered};
use crate::protocol::db::DbIndex;
use crate::protocol::key::Slot;
use crate::stats::WorkerStats;

/// The near cache of one worker; a fill ends with its reply.
pub(super) type Cache = NearCache<VersionedReply>;

/// A query that owns its parts.
pub(super) struct Asked {
    command: CommandId,
    key: String,
    tail: Vec<u8>,
}

const SECOND: Nanos = 1_000_000_000;
/// An entry may end so much before its time.
const TICK: Nanos = 1 << 20;

pub(super) const LIMITS: CacheLimits = CacheLimits {
    bytes_max: 1 << 20,
    entry_bytes_max: 1 << 17,
    ttl: Duration::from_secs(60),
    negative_ttl: Duration::from_secs(5),
    admission: AdmissionRule::Always,
    sampled: None,
    several_workers: true,
};

// === impl Asked ===

impl Asked {
    pub(super) fn query(&self) -> CacheQuery<'_> {
        CacheQuery { command: self.command, key: self.key.as_bytes(), args: &self.tail }
    }

    pub(super) fn key(&self) -> &[u8] {
        self.key.as_bytes()
    }

    pub(super) fn slot(&self) -> Slot {
        Slot::of(self.key.as_bytes())
    }
}

fn asked(command: &'static str, args: &[&str]) -> Asked {
    let tail = args.iter().map(|arg| format!("${}\r\n{arg}\r\n", arg.len())).collect::<String>();
    let cached = numbered(number_of(command)).unwrap().cached;
    let command = CommandId::in_database(cached, DbIndex::default()).unwrap();
    Asked { command, key: args[0].to_owned(), tail: tail.into_bytes() }
}

pub(super) fn get(key: &str) -> Asked {
    asked("get", &[key])
}

/// HGET whose arguments stand in the request as in `tail`.
pub(super) fn odd_hget(key: &str, tail: &str) -> Asked {
    Asked { key: key.to_owned(), tail: tail.into(), ..asked("hget", &[key]) }
}

pub(super) fn shared(limits: CacheLimits) -> Arc<SharedCache> {
    Arc::new(SharedCache::new(limits, Arc::default()))
}

pub(super) fn worker(shared: &Arc<SharedCache>) -> Cache {
    NearCache::new(shared.clone(), Arc::default())
}

pub(super) fn one_worker() -> Cache {
    worker(&shared(LIMITS))
}

/// An epoch that lasts longer than any test.
pub(super) fn live() -> Epoch {
    Epoch::begin(clock::now() + 3_600 * SECOND)
}

pub(super) fn reply(text: &str) -> VersionedReply {
    VersionedReply { resp3: Bytes::copy_from_slice(text.as_bytes()), resp2: None }
}

/// What is served at `now`, whichever way it is looked for.
fn served_at(cache: &Cache, asked: &Asked, now: Nanos) -> Option<String> {
    match cache.lookup(&asked.query(), now, || asked.slot(), &mut WriteQueue::default()) {
        Lookup::Hit(hit) => Some(text(&hit)),
        Lookup::Miss(_) => served_at_once(cache, asked, now),
    }
}

/// What a read of a key alone is served at once.
fn served_at_once(cache: &Cache, asked: &Asked, now: Nanos) -> Option<String> {
    let mut out = WriteQueue::default();
    let is_key_only = asked.query().is_key_only();
    is_key_only
        .then(|| cache.lookup_at_once(asked.command, asked.key(), now, &mut out))?
        .map(|hit| text(&hit))
}

fn text(hit: &Hit<'_>) -> String {
    String::from_utf8(hit.resp3().to_vec()).unwrap()
}

pub(super) fn served(cache: &Cache, asked: &Asked) -> Option<String> {
    served_at(cache, asked, clock::now())
}

pub(super) fn miss(cache: &Cache, asked: &Asked) -> MissToken {
    match cache.lookup(&asked.query(), clock::now(), || asked.slot(), &mut WriteQueue::default()) {
        Lookup::Miss(missed) => missed,
        hit => panic!("not a miss: {hit:?}"),
    }
}

pub(super) fn commit(cache: &Cache, asked: &Asked, ticket: &Ticket, value: &str) -> Commit {
    cache.commit(ticket, &asked.query(), &reply(value), Lifetime::Unbounded, clock::now())
}

/// A whole fill, undisturbed.
pub(super) fn fill(cache: &Cache, asked: &Asked, value: &str, epoch: &Epoch) -> Commit {
    let ticket = cache.ticket(&miss(cache, asked), epoch.clone());
    commit(cache, asked, &ticket, value)
}

/// Fills, and looks up.
fn fill_hot(cache: &Cache, asked: &Asked, value: &str, epoch: &Epoch) {
    assert_eq!(fill(cache, asked, value, epoch), Commit::Kept);
    warm(cache, asked, value);
}

fn warm(cache: &Cache, asked: &Asked, value: &str) {
    assert_eq!(served(cache, asked).as_deref(), Some(value));
    assert_eq!(served(cache, asked).as_deref(), Some(value));
}

pub(super) fn change(cache: &Cache, keys: &[&str]) {
    let keys = keys.iter().map(|key| Bytes::copy_from_slice(key.as_bytes())).collect();
    cache.shared().invalidate(&Invalidation::Keys(keys), &cache.stats);
}
