//! The near cache of the daemon, asked as its proxy asks it: a lookup, and after a miss a ticket and a
//! commit, if the key is worth it.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nearside::cache::policy::{AdmissionRule, CacheTerms};
use nearside::cache::{
    CacheLimits, CacheQuery, CommandId, Lifetime, Lookup, MissReason, NearCache, SharedCache, VersionedReply,
};
use nearside::clock;
use nearside::net::write_queue::WriteQueue;
use nearside::node::Epoch;
use nearside::protocol::command::cached_number_of;
use nearside::protocol::db::DbIndex;
use nearside::protocol::key::Slot;
use nearside::stats::WorkerStats;

use crate::request::{Key, Request};
use crate::trace::{Size, Trace};

/// One entry may take this part of L1, as with the daemon.
const ENTRIES_MIN: u64 = 8;

/// Nothing goes for its age meanwhile.
const TTL: Duration = Duration::from_secs(24 * 3_600);

/// A near cache of so many bytes, and what its server knows of it.
pub(crate) struct Near {
    shared: Arc<SharedCache>,
    cache: NearCache<()>,
    epoch: Epoch,
    command: CommandId,
    name: Vec<u8>,
    tail: Vec<u8>,
    /// The bytes of every value.
    value: Vec<u8>,
}

/// How a trace went.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Replayed {
    pub(crate) hits: usize,
    /// Entries at the end.
    pub(crate) entries: u64,
    /// Keys that the server tracks at the end: those that were read over a tracked connection, and not
    /// written since.
    pub(crate) tracked: usize,
    /// Keys that it would track if each read of the trace were tracked.
    pub(crate) all_read: usize,
}

/// What became of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    Hit,
    /// It was read upstream, in order to be kept: the server tracks it from now on.
    Filled,
    /// It was read upstream, untracked.
    Unkept,
}

/// Replays the whole trace.
pub(crate) fn replay(trace: &Trace, bytes_max: u64) -> Replayed {
    let mut near = Near::new(bytes_max);
    let mut replayed = Replayed::default();
    let (mut tracked, mut read) = (vec![false; trace.sizes.len()], vec![false; trace.sizes.len()]);
    for request in &trace.requests {
        let key = request.key();
        let size = trace.sizes[key as usize];
        match request {
            Request::Read(_) => {
                read[key as usize] = true;
                match near.read('k', key, size) {
                    Read::Hit => replayed.hits += 1,
                    Read::Filled => tracked[key as usize] = true,
                    Read::Unkept => {}
                }
            }
            Request::Write(_) => {
                near.write('k', key, size);
                tracked[key as usize] = false;
                read[key as usize] = false;
            }
        }
    }
    let count = |keys: &[bool]| keys.iter().filter(|key| **key).count();
    (replayed.tracked, replayed.all_read) = (count(&tracked), count(&read));
    (replayed.entries, _) = near.shared.size();
    replayed
}

// === impl Near ===

impl Near {
    pub(crate) fn new(bytes_max: u64) -> Near {
        // Hashes are drawn from here: they are the same in each run.
        fastrand::seed(1);
        let stats = Arc::<WorkerStats>::default();
        let limits = CacheLimits {
            bytes_max,
            entry_bytes_max: u32::try_from(bytes_max / ENTRIES_MIN).unwrap_or(u32::MAX),
            ttl: TTL,
            negative_ttl: TTL,
            // What a daemon has that is told nothing else.
            admission: AdmissionRule::Adaptive,
            sampled: None,
            several_workers: false,
        };
        let shared = Arc::new(SharedCache::new(limits, stats.clone()));
        let cache = NearCache::new(shared.clone(), stats);
        let (name, tail, value) = (Vec::new(), Vec::new(), Vec::new());
        let command = CommandId::in_database(cached_number_of("get"), DbIndex::default()).unwrap();
        Near { shared, cache, epoch: Epoch::begin(u64::MAX), command, name, tail, value }
    }

    /// GET of the key with this number, of those whose names begin with `kind`.
    pub(crate) fn read(&mut self, kind: char, key: Key, size: Size) -> Read {
        self.name(kind, key, size);
        let query = CacheQuery { command: self.command, key: &self.name, args: &self.tail };
        let now = clock::now();
        let Lookup::Miss(missed) =
            self.cache.lookup(&query, now, || Slot::of(query.key), &mut WriteQueue::default())
        else {
            return Read::Hit;
        };
        if !self.cache.admits(&missed, &CacheTerms::default()) {
            return Read::Unkept;
        }
        let ticket = self.cache.ticket(&missed, self.epoch.clone());
        let length = size.value as usize;
        if self.value.len() < length {
            self.value.resize(length, b'v');
        }
        let mut reply = Vec::with_capacity(length + 16);
        write!(reply, "${length}\r\n").unwrap();
        reply.extend_from_slice(&self.value[..length]);
        reply.extend_from_slice(b"\r\n");
        let reply = VersionedReply { resp3: Bytes::from(reply), resp2: None };
        self.cache.commit(&ticket, &query, &reply, Lifetime::Unbounded, now);
        Read::Filled
    }

    /// A write that goes through the daemon: the key is dropped when it is sent, and again when it is
    /// answered.
    pub(crate) fn write(&mut self, kind: char, key: Key, size: Size) {
        self.name(kind, key, size);
        for _ in 0..2 {
            self.shared.invalidate_key(&self.name, MissReason::Written);
        }
    }

    fn name(&mut self, kind: char, key: Key, size: Size) {
        let digits = usize::from(size.key).saturating_sub(1);
        self.name.clear();
        write!(self.name, "{kind}{key:0digits$}").unwrap();
        self.tail.clear();
        write!(self.tail, "${}\r\n", self.name.len()).unwrap();
        self.tail.extend_from_slice(&self.name);
        self.tail.extend_from_slice(b"\r\n");
    }
}
