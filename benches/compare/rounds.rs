//! One cell of the plan, measured: its servers take turns at the same load, so that a machine that is slow
//! for a while is slow for all of them.

use serde::Serialize;

use crate::cpu;
use crate::ground::{Ground, Split};
use crate::load::{Outcome, Rate};
use crate::plan::{Cell, L1};
use crate::servers::{Kind, Server};
use crate::verdict::Spread;

/// All rounds of one cell.
#[derive(Serialize)]
pub(crate) struct Measured {
    /// Requests by the second that were offered, where the load held a rate.
    pub(crate) offered: Option<u64>,
    /// Whether the load had CPUs enough to itself.
    pub(crate) has_room: bool,
    /// Whether a probe had to wait for the load on their CPU, so that its latencies are not those of the
    /// server.
    pub(crate) probe_waited: bool,
    /// Round `n` of each server ran beside round `n` of the others.
    pub(crate) series: Vec<Series>,
}

#[derive(Serialize)]
pub(crate) struct Series {
    pub(crate) kind: Kind,
    pub(crate) rounds: Vec<Round>,
}

/// One server's turn.
#[derive(Clone, Serialize)]
pub(crate) struct Round {
    /// CPU time of the server for one request, user and system, in microseconds.
    pub(crate) cpu: f64,
    pub(crate) per_second: f64,
    pub(crate) p50: Option<f64>,
    pub(crate) p99: f64,
    /// The share of nearside's lookups that L1 answered, or did not, as the cell demands.
    pub(crate) l1_share: Option<f64>,
}

/// What a goal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Metric {
    Cpu,
    P50,
    P99,
    PerSecond,
}

/// How often it is tried what nearside does at most.
const PEAK_RUNS: usize = 3;
/// For how long the load runs when it holds a rate.
const PACED_SECONDS: f64 = 3.0;
/// Fewer lookups than this that went as they should, and a turn did not measure what the cell says.
pub(crate) const SHARE_MIN: f64 = 0.99;
/// How often such a turn is measured again: a machine that stands still for longer than the lease costs
/// nearside all that it keeps, and does so once.
const REPEATS_MAX: usize = 2;
/// Keys that are read and compared of a server that does not need them in its memory.
const KEYS_COMPARED: usize = 1_000;

pub(crate) fn measure(ground: &Ground, cell: &Cell) -> Measured {
    let split = ground.split(cell.server_cpus);
    let origin = Server::start(ground, Kind::Redis, &split.load, None, &[]);
    cell.keys.store(&mut origin.connect());
    let start = |kind: &Kind| Server::start(ground, *kind, &split.server, Some(&origin), cell.flags);
    let servers: Vec<Server> = cell.servers.iter().map(start).collect();
    for server in &servers {
        prepare(cell, server);
    }
    let requests = (cell.load.requests / ground.pace.divisor).max(1);
    let rate = rate(ground, cell, &split, &servers, requests);
    let requests =
        rate.map_or(requests, |rate| (rate as f64 * PACED_SECONDS / ground.pace.divisor as f64) as u64);
    let mut series: Vec<Series> =
        servers.iter().map(|server| Series { kind: server.kind, rounds: Vec::new() }).collect();
    let rounds = if cell.goals.is_empty() { ground.pace.rounds_drawn } else { ground.pace.rounds };
    for round in 0..rounds {
        // Who goes first changes, so that no server always follows the same one.
        for turn in 0..servers.len() {
            let number = (round + turn) % servers.len();
            let measure = || turn_of(ground, cell, &split, &servers[number], requests, rate);
            let mut turn = measure();
            for _ in 0..REPEATS_MAX {
                if turn.l1_share.is_none_or(|share| share >= SHARE_MIN) {
                    break;
                }
                prepare(cell, &servers[number]);
                turn = measure();
            }
            series[number].rounds.push(turn);
        }
    }
    let probe_waited = rate.is_some() && !ground.is_privileged;
    Measured { offered: rate, has_room: split.has_room, probe_waited, series }
}

/// Gives a server its keys, and compares what it answers with them.
fn prepare(cell: &Cell, server: &Server) {
    if server.kind == Kind::FixedReply {
        return;
    }
    let client = &mut server.connect();
    if !server.kind.has_upstream() {
        cell.keys.store(client);
    }
    let is_warmed = server.kind.is_nearside() && cell.l1 == L1::Hits;
    let count = if is_warmed { cell.keys.count } else { cell.keys.count.min(KEYS_COMPARED) };
    cell.keys.read(client, count);
}

/// How many requests by the second the load sends, where that is a share of the most that nearside does.
fn rate(ground: &Ground, cell: &Cell, split: &Split, servers: &[Server], requests: u64) -> Option<u64> {
    let Rate::Share(share) = cell.load.rate else { return None };
    let nearside = servers.iter().find(|server| server.kind == Kind::Nearside).unwrap();
    let run = |_| cell.load.run(ground, split, nearside, cell.keys.count, requests, None).per_second;
    let most = (0..PEAK_RUNS).map(run).fold(0.0, f64::max);
    // The generator wants a multiple of 100.
    Some((most * share / 100.0).round() as u64 * 100)
}

fn turn_of(
    ground: &Ground,
    cell: &Cell,
    split: &Split,
    server: &Server,
    requests: u64,
    rate: Option<u64>,
) -> Round {
    let counter = cell.l1.counter().filter(|_| server.kind.is_nearside());
    let count = || counter.map(|name| server.counter(name));
    let (counted_before, cpu_before) = (count(), cpu::used_by(server.pid()).unwrap());
    let Outcome { requests, per_second, p50, p99 } =
        cell.load.run(ground, split, server, cell.keys.count, requests, rate);
    let cpu = cpu::used_by(server.pid()).unwrap() - cpu_before;
    let l1_share = count()
        .zip(counted_before)
        .map(|(after, before)| (after - before) / (requests as f64 * cell.lookups as f64));
    Round { cpu: cpu.as_secs_f64() * 1e6 / requests as f64, per_second, p50, p99, l1_share }
}

// === impl Metric ===

impl Metric {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Metric::Cpu => "CPU per request",
            Metric::P50 => "p50",
            Metric::P99 => "p99",
            Metric::PerSecond => "requests/s",
        }
    }

    pub(crate) fn of(self, round: &Round) -> f64 {
        match self {
            Metric::Cpu => round.cpu,
            Metric::P50 => round.p50.unwrap(),
            Metric::P99 => round.p99,
            Metric::PerSecond => round.per_second,
        }
    }
}

// === impl Measured ===

impl Measured {
    pub(crate) fn of(&self, kind: Kind) -> &Series {
        self.series.iter().find(|series| series.kind == kind).unwrap()
    }

    /// How much of what `theirs` takes `ours` takes, each round by itself.
    pub(crate) fn ratio(&self, metric: Metric, ours: Kind, theirs: Kind) -> Spread {
        let pairs = self.of(ours).rounds.iter().zip(&self.of(theirs).rounds);
        Spread::of(pairs.map(|(ours, theirs)| metric.of(ours) / metric.of(theirs)))
    }

    /// The least share of lookups that went as they should.
    pub(crate) fn least_share(&self) -> Option<f64> {
        let rounds = self.series.iter().flat_map(|series| &series.rounds);
        rounds.filter_map(|round| round.l1_share).reduce(f64::min)
    }
}

// === impl Series ===

impl Series {
    pub(crate) fn spread(&self, metric: Metric) -> Spread {
        Spread::of(self.rounds.iter().map(|round| metric.of(round)))
    }
}
