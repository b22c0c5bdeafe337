//! Replacement policies by bytes, one file each: what they would hit of a trace.

mod arc;
mod belady;
mod lru;
mod queue;
mod redis;
mod s3_fifo;
mod sketch;
mod tiny_lfu;

pub(crate) use arc::Arc;
pub(crate) use belady::Belady;
pub(crate) use lru::Lru;
pub(crate) use redis::Redis;
pub(crate) use s3_fifo::S3Fifo;
pub(crate) use tiny_lfu::TinyLfu;

use crate::request::{Key, Request};

/// A cache that sees one request after the other.
pub(crate) trait Policy {
    /// Whether `key` was there. If not it is brought in, if the policy wants it.
    fn read(&mut self, key: Key) -> bool;

    /// What there is of `key` is stale.
    fn invalidate(&mut self, key: Key);
}

/// How much a cache may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget<'a> {
    pub(crate) bytes_max: u64,
    /// What the entry of each key takes.
    pub(crate) entries: &'a [u64],
}

/// How many reads were hits.
pub(crate) fn hits(policy: &mut impl Policy, requests: &[Request]) -> usize {
    let mut hits = 0;
    for request in requests {
        match *request {
            Request::Read(key) => hits += usize::from(policy.read(key)),
            Request::Write(key) => policy.invalidate(key),
        }
    }
    hits
}

// === impl Budget ===

impl Budget<'_> {
    fn of(&self, key: Key) -> u64 {
        self.entries[key as usize]
    }

    /// Whether the entry fits at all.
    fn fits(&self, key: Key) -> bool {
        self.of(key) <= self.bytes_max
    }

    fn keys(&self) -> usize {
        self.entries.len()
    }
}
