//! The plan: every load that is measured and every goal that depends on it, as data.

use crate::keys::{Keys, Naming, Shape};
use crate::load::{Generator, Load, Rate};
use crate::rounds::Metric;
use crate::servers::Kind;
use crate::verdict::Bound;

/// One load, the same for all servers.
pub(crate) struct Cell {
    pub(crate) name: String,
    pub(crate) family: Family,
    pub(crate) servers: &'static [Kind],
    /// CPUs that a server has.
    pub(crate) server_cpus: usize,
    /// Flags of nearside.
    pub(crate) flags: &'static [&'static str],
    pub(crate) keys: Keys,
    pub(crate) load: Load,
    pub(crate) l1: L1,
    /// Lookups of one request.
    pub(crate) lookups: usize,
    pub(crate) goals: Vec<Goal>,
}

/// Which plot shows it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// CPU over depth.
    Hits,
    /// CPU over depth, of proxies.
    PassThrough,
    /// Latency over load.
    Paced,
    None,
}

/// What L1 has to do for the cell to be what it says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum L1 {
    Hits,
    Misses,
    /// Nothing: what is asked is not looked up.
    Nothing,
}

/// What one server is to another: `ours` over `theirs`, in each round.
pub(crate) struct Goal {
    pub(crate) metric: Metric,
    pub(crate) ours: Kind,
    pub(crate) theirs: Kind,
    pub(crate) bound: Bound,
    /// Whether it says nothing unless the load has CPUs enough to itself.
    pub(crate) needs_room: bool,
}

/// Of the values in all loads but those that say otherwise.
pub(crate) const VALUE_BYTES: usize = 64;
const KEYS: usize = 100_000;
const KEYS_MANY: usize = 1_000_000;

const STORES: &[Kind] = &[Kind::Redis, Kind::Valkey, Kind::Nearside, Kind::FixedReply];
const REDIS: &[Kind] = &[Kind::Redis, Kind::Nearside];
const PROXIES: &[Kind] = &[Kind::Envoy, Kind::Twemproxy, Kind::Nearside];

/// All of them, in the order of the table.
pub(crate) fn cells() -> Vec<Cell> {
    let mut cells = vec![
        zipf(1, 150_000, &[(Kind::Redis, 0.85), (Kind::Valkey, 0.85), (Kind::FixedReply, 1.15)]),
        zipf(4, 400_000, &[]),
        zipf(16, 1_200_000, &[(Kind::Redis, 0.50), (Kind::Valkey, 0.75), (Kind::FixedReply, 1.7)]),
        zipf(64, 2_000_000, &[(Kind::Redis, 0.30), (Kind::Valkey, 0.70), (Kind::FixedReply, 2.5)]),
    ];
    for (depth, requests, most) in [(1, 100_000, 0.85), (16, 400_000, 0.50), (64, 800_000, 0.30)] {
        let name = format!("GET hit, uniform over 100,000 keys, TCP, depth {depth}");
        cells.push(hits(name, "GET key:__rand_int__", depth, requests, most));
    }
    let mut unix = hits("GET hit, Unix socket, depth 1", "GET key:__rand_int__", 1, 100_000, 0.80);
    unix.load.is_unix = true;
    cells.push(unix);
    cells.push(many_keys());
    cells.extend(large_answers());
    cells.extend([(1, 60_000), (4, 120_000), (16, 200_000)].map(|(depth, requests)| miss(depth, requests)));
    cells.extend([(1, 60_000), (4, 120_000), (16, 200_000)].map(|(depth, requests)| set(depth, requests)));
    cells.push(two_workers());
    cells.extend([0.1, 0.3, 0.5, 0.7, 0.9].map(paced));
    cells
}

/// GETs by Zipf's law, all of them hits. resp-benchmark says nothing of its throughput unless it runs for a
/// second.
fn zipf(depth: usize, requests: u64, goals: &[(Kind, f64)]) -> Cell {
    Cell {
        name: format!("GET hit, zipf over 100,000 keys, TCP, depth {depth}"),
        family: Family::Hits,
        servers: STORES,
        server_cpus: 1,
        flags: &[],
        keys: Keys { naming: Naming::RespBenchmark, count: KEYS, shape: Shape::String(VALUE_BYTES) },
        load: Load {
            generator: Generator::RespBenchmark,
            command: format!("GET {{key zipfian {KEYS}}}"),
            is_unix: false,
            depth,
            requests,
            rate: Rate::Full,
        },
        l1: L1::Hits,
        lookups: 1,
        goals: goals.iter().map(|(theirs, most)| at_most(Metric::Cpu, *theirs, *most)).collect(),
    }
}

/// Hits of keys drawn evenly, asked by redis-benchmark, against redis-server.
fn hits(name: impl Into<String>, command: &str, depth: usize, requests: u64, most: f64) -> Cell {
    Cell {
        name: name.into(),
        family: Family::None,
        servers: REDIS,
        server_cpus: 1,
        flags: &[],
        keys: Keys { naming: Naming::RedisBenchmark, count: KEYS, shape: Shape::String(VALUE_BYTES) },
        load: Load {
            generator: Generator::RedisBenchmark,
            command: command.to_owned(),
            is_unix: false,
            depth,
            requests,
            rate: Rate::Full,
        },
        l1: L1::Hits,
        lookups: 1,
        goals: vec![at_most(Metric::Cpu, Kind::Redis, most)],
    }
}

/// More keys than any cache of the CPU holds.
fn many_keys() -> Cell {
    let mut cell = zipf(16, 1_000_000, &[(Kind::Redis, 0.45)]);
    cell.name = "GET hit, uniform over 1 million keys in L1, TCP, depth 16".to_owned();
    cell.family = Family::None;
    cell.servers = REDIS;
    cell.flags = &["--l1-size", "1gb"];
    cell.keys.count = KEYS_MANY;
    cell.load.command = format!("GET {{key uniform {KEYS_MANY}}}");
    cell
}

fn large_answers() -> Vec<Cell> {
    let many = format!("MGET{}", " key:__rand_int__".repeat(50));
    let mut mget = hits("MGET of 50 hits, TCP, depth 1", &many, 1, 15_000, 1.0);
    mget.lookups = 50;
    let mut hash = hits("HGETALL of 20 fields, TCP, depth 1", "HGETALL key:__rand_int__", 1, 80_000, 1.0);
    (hash.keys.count, hash.keys.shape) = (10_000, Shape::Hash(20));
    let get = "GET key:__rand_int__";
    let mut page = hits("GET hit, values of 4 KiB, TCP, depth 1", get, 1, 60_000, 1.0);
    (page.keys.count, page.keys.shape) = (10_000, Shape::String(4 << 10));
    let mut large = hits("GET hit, values of 64 KiB, TCP, depth 1", get, 1, 10_000, 1.0);
    (large.keys.count, large.keys.shape) = (500, Shape::String(64 << 10));
    vec![mget, hash, page, large]
}

/// GETs of so many keys that a small L1 seldom has one: each is filled, and so goes to the server behind.
fn miss(depth: usize, requests: u64) -> Cell {
    let name = format!("GET miss, one node behind, TCP, depth {depth}");
    let mut cell = hits(name, "GET key:__rand_int__", depth, requests, 1.0);
    cell.family = Family::PassThrough;
    cell.servers = PROXIES;
    cell.flags = &["--l1-size", "1mb"];
    cell.keys.count = KEYS_MANY;
    cell.l1 = L1::Misses;
    cell.goals = against_proxies(depth);
    cell
}

fn set(depth: usize, requests: u64) -> Cell {
    let name = format!("SET, one node behind, TCP, depth {depth}");
    let command = format!("SET key:__rand_int__ {}", "v".repeat(VALUE_BYTES));
    let mut cell = hits(name, &command, depth, requests, 1.0);
    cell.family = Family::PassThrough;
    cell.servers = PROXIES;
    cell.l1 = L1::Nothing;
    cell.goals = against_proxies(depth);
    cell
}

fn against_proxies(depth: usize) -> Vec<Goal> {
    // Depth 4 is only drawn.
    if depth == 4 {
        return Vec::new();
    }
    let of = |theirs, cpu| {
        [(Metric::Cpu, cpu), (Metric::P50, 1.0), (Metric::P99, 1.0)]
            .map(|(metric, most)| at_most(metric, theirs, most))
    };
    of(Kind::Envoy, 0.35).into_iter().chain(of(Kind::Twemproxy, 0.9)).collect()
}

/// Two workers have to do more in the same time; where the load has no CPUs to itself that cannot be seen,
/// but what a hit costs can: workers that share nothing pay little more for it than one.
fn two_workers() -> Cell {
    const AT_LEAST: f64 = 1.7;
    let mut cell = zipf(16, 1_200_000, &[]);
    cell.name = "GET hit, two workers against one, TCP, depth 16".to_owned();
    cell.family = Family::None;
    cell.servers = &[Kind::Nearside, Kind::TwoWorkers];
    cell.server_cpus = 2;
    let goal = |metric, bound, needs_room| Goal {
        metric,
        ours: Kind::TwoWorkers,
        theirs: Kind::Nearside,
        bound,
        needs_room,
    };
    cell.goals = vec![
        goal(Metric::PerSecond, Bound::AtLeast(AT_LEAST), true),
        goal(Metric::Cpu, Bound::AtMost((200.0 / AT_LEAST).round() / 100.0), false),
    ];
    cell
}

/// GETs at a share of the most that nearside does.
fn paced(share: f64) -> Cell {
    let mut cell = zipf(1, 150_000, &[]);
    cell.name = format!("GET hit, at {:.0} % of the throughput of nearside, TCP, depth 1", share * 100.0);
    cell.family = Family::Paced;
    cell.servers = &[Kind::Redis, Kind::Valkey, Kind::Nearside];
    cell.load.rate = Rate::Share(share);
    if share == 0.5 {
        cell.goals = vec![at_most(Metric::P99, Kind::Redis, 1.0)];
    }
    cell
}

fn at_most(metric: Metric, theirs: Kind, most: f64) -> Goal {
    Goal { metric, ours: Kind::Nearside, theirs, bound: Bound::AtMost(most), needs_room: false }
}

// === impl L1 ===

impl L1 {
    /// The counter of INFO nearside that has to rise with every lookup.
    pub(crate) fn counter(self) -> Option<&'static str> {
        match self {
            L1::Hits => Some("l1_hits"),
            L1::Misses => Some("l1_misses"),
            L1::Nothing => None,
        }
    }
}
