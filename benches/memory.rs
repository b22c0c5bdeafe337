//! What an entry of L1 takes in memory: fills a near cache to its budget, once for each size of value, and
//! says how many bytes each entry takes beyond its key and its value, and how the resident memory compares
//! with what is counted. `cargo bench --bench memory`

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench ends at the first surprise, and prints"
)]

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nearside::cache::policy::AdmissionRule;
use nearside::cache::{
    CacheLimits, CacheQuery, CommandId, Lifetime, Lookup, NearCache, SharedCache, VersionedReply,
};
use nearside::clock;
use nearside::net::write_queue::WriteQueue;
use nearside::node::Epoch;
use nearside::protocol::command::cached_number_of;
use nearside::protocol::db::DbIndex;
use nearside::protocol::key::Slot;
use nearside::protocol::resp::request::OwnedRequest;
use nearside::stats::Stats;

/// That of the daemon.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const BUDGET_BYTES: u64 = 100 << 20;
const VALUE_BYTES: [usize; 6] = [20, 100, 1_000, 10_000, 100_000, 1_000_000];

/// Bytes of each key.
const KEY_BYTES: usize = 29;

fn main() {
    // Each size gets a process of its own: what another one left in the heap would be counted otherwise.
    if let Ok(bytes) = std::env::var("MEMORY_BENCH_VALUE_BYTES") {
        return fill(bytes.parse().unwrap());
    }
    println!(
        "keys of {KEY_BYTES} bytes\nvalue bytes     entries  bytes beyond key and value  counted MiB  resident MiB  resident / budget"
    );
    for bytes in VALUE_BYTES {
        let this = std::env::current_exe().unwrap();
        assert!(
            Command::new(this).env("MEMORY_BENCH_VALUE_BYTES", bytes.to_string()).status().unwrap().success()
        );
    }
}

fn fill(value_bytes: usize) {
    let stats = Stats::new(1);
    let limits = CacheLimits {
        bytes_max: BUDGET_BYTES,
        entry_bytes_max: u32::MAX,
        ttl: Duration::from_secs(3600),
        negative_ttl: Duration::from_secs(5),
        admission: AdmissionRule::Always,
        sampled: None,
        several_workers: false,
    };
    let before = resident_bytes();
    let shared = Arc::new(SharedCache::new(limits, stats.worker(0)));
    let cache = NearCache::<()>::new(shared.clone(), stats.worker(0));
    let epoch = Epoch::begin(u64::MAX);
    let value = vec![b'v'; value_bytes];
    let reply = VersionedReply {
        resp3: [format!("${value_bytes}\r\n").as_bytes(), &value, b"\r\n"].concat().into(),
        resp2: None,
    };
    for number in 0..2 * BUDGET_BYTES / (value_bytes as u64 + 80) {
        let request = OwnedRequest::from_args(["GET", &format!("user:session:{number:016}")]);
        let request = request.as_request();
        let query = CacheQuery {
            command: CommandId::in_database(cached_number_of("get"), DbIndex::default()).unwrap(),
            key: request.arg(1),
            args: request.tail(),
        };
        let Lookup::Miss(missed) =
            cache.lookup(&query, clock::now(), || Slot::of(query.key), &mut WriteQueue::default())
        else {
            continue;
        };
        let ticket = cache.ticket(&missed, epoch.clone());
        let reply = VersionedReply { resp3: Bytes::copy_from_slice(&reply.resp3), resp2: None };
        cache.commit(&ticket, &query, &reply, Lifetime::Unbounded, clock::now());
    }
    let (entries, bytes) = shared.size();
    let resident = resident_bytes() - before;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "{value_bytes:>11}  {entries:>10}  {:>26.1}  {:>11.1}  {:>12.1}  {:>17.2}",
        bytes as f64 / entries as f64 - (KEY_BYTES + value_bytes) as f64,
        mib(bytes),
        mib(resident),
        resident as f64 / BUDGET_BYTES as f64
    );
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}
