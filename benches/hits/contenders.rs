//! Who is compared, and what one of them makes of a trace with a budget.

use crate::cost;
use crate::near::{self, Replayed};
use crate::policy::{Arc, Belady, Budget, Lru, Redis, S3Fifo, TinyLfu, hits};
use crate::trace::{Size, Trace};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    Redis,
    RedisWithTtl,
    Nearside,
    Lru,
    S3Fifo,
    TinyLfu,
    Arc,
    Belady,
}

/// In the order of the columns. [`REDIS`] and [`NEARSIDE`] are places in it.
pub(crate) const ALL: [Contender; 8] = [
    Contender::Redis,
    Contender::RedisWithTtl,
    Contender::Nearside,
    Contender::Lru,
    Contender::S3Fifo,
    Contender::TinyLfu,
    Contender::Arc,
    Contender::Belady,
];
pub(crate) const REDIS: usize = 0;
pub(crate) const NEARSIDE: usize = 2;

// === impl Contender ===

impl Contender {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Contender::Redis => "Redis LRU",
            Contender::RedisWithTtl => "Redis LRU, with TTL",
            Contender::Nearside => "nearside",
            Contender::Lru => "LRU",
            Contender::S3Fifo => "S3-FIFO",
            Contender::TinyLfu => "W-TinyLFU",
            Contender::Arc => "ARC",
            Contender::Belady => "Belady",
        }
    }

    /// Replays `trace` with so many bytes for everything.
    pub(crate) fn replay(self, trace: &Trace, bytes_max: u64) -> Replayed {
        let entries = |cost: fn(Size) -> u64| trace.sizes.iter().map(|size| cost(*size)).collect::<Vec<_>>();
        let requests = &trace.requests[..];
        let simulated = |hits| Replayed { hits, ..Replayed::default() };
        macro_rules! simulate {
            ($cost:path, |$budget:ident| $policy:expr) => {{
                let entries = entries($cost);
                let $budget = Budget { bytes_max, entries: &entries };
                simulated(hits(&mut $policy, requests))
            }};
        }
        match self {
            Contender::Nearside => near::replay(trace, bytes_max),
            Contender::Redis => simulate!(cost::redis, |budget| Redis::new(budget)),
            Contender::RedisWithTtl => simulate!(cost::redis_with_ttl, |budget| Redis::new(budget)),
            Contender::Lru => simulate!(cost::lru, |budget| Lru::new(budget)),
            Contender::S3Fifo => simulate!(cost::s3_fifo, |budget| S3Fifo::new(budget)),
            Contender::TinyLfu => simulate!(cost::tiny_lfu, |budget| TinyLfu::new(budget)),
            Contender::Arc => simulate!(cost::arc, |budget| Arc::new(budget)),
            Contender::Belady => simulate!(cost::belady, |budget| Belady::new(budget, requests)),
        }
    }
}
