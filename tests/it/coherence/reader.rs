//! Reads through a daemon in deep pipelines, and has every reply judged by the history.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use fastrand::Rng;
use hdrhistogram::Histogram;
use nearside::clock::{self, Nanos};
use nearside::sandbox::client::encode;
use nearside::sandbox::{Reply, SandboxClient};

use super::history::{History, Served};

/// What was read through one daemon, by all of its readers.
pub(super) struct Readings {
    name: &'static str,
    /// The newest state of each key that the daemon has served.
    floors: Vec<AtomicUsize>,
    pub(super) reads: AtomicU64,
    pub(super) errors: AtomicU64,
}

/// How stale it was, in microseconds.
pub(super) struct Staleness {
    /// From the acknowledgement of a write to the first read of it.
    pub(super) first_read: Histogram<u64>,
    /// From the acknowledgement of a write to the latest read that did not see it, for reads that did not.
    pub(super) stale_for: Histogram<u64>,
}

/// Requests in one pipeline.
const DEPTH: usize = 48;

/// Keys of one MGET at most.
const MGET_MAX: usize = 16;

/// One request of a pipeline: its keys, and what the daemon had served of each before it was sent.
struct Asked {
    keys: Vec<(usize, usize)>,
    is_mget: bool,
}

// === impl Readings ===

impl Readings {
    pub(super) fn new(name: &'static str, keys: usize) -> Readings {
        let floors = (0..keys).map(|_| AtomicUsize::new(0)).collect();
        Readings { name, floors, reads: AtomicU64::new(0), errors: AtomicU64::new(0) }
    }

    /// Reads until it is over.
    pub(super) fn run(
        &self,
        mut client: SandboxClient,
        history: &History,
        mut random: Rng,
        is_over: &AtomicBool,
    ) -> Staleness {
        let mut staleness = Staleness::new();
        while !is_over.load(Ordering::SeqCst) {
            let pipeline: Vec<Asked> = (0..DEPTH).map(|_| self.ask(&mut random)).collect();
            let bytes: Vec<u8> = pipeline.iter().flat_map(Asked::bytes).collect();
            let asked_at = clock::now();
            client.send_raw(&bytes).unwrap();
            for asked in &pipeline {
                let reply = client.receive().unwrap();
                self.check(asked, &reply, asked_at, history, &mut staleness);
            }
        }
        staleness
    }

    fn ask(&self, random: &mut Rng) -> Asked {
        let is_mget = random.bool();
        let count = if is_mget { random.usize(1..=MGET_MAX) } else { 1 };
        let floor = |key: usize| self.floors[key].load(Ordering::SeqCst);
        let keys = (0..count).map(|_| random.usize(..self.floors.len()));
        Asked { keys: keys.map(|key| (key, floor(key))).collect(), is_mget }
    }

    fn check(
        &self,
        asked: &Asked,
        reply: &Reply,
        asked_at: Nanos,
        history: &History,
        staleness: &mut Staleness,
    ) {
        if reply.is_error() {
            self.errors.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let values = if asked.is_mget { reply.items() } else { std::slice::from_ref(reply) };
        if values.len() != asked.keys.len() {
            history.violated(format!("{}: {} keys gave {reply:?}", self.name, asked.keys.len()));
            return;
        }
        self.reads.fetch_add(values.len() as u64, Ordering::Relaxed);
        for ((key, floor), value) in asked.keys.iter().zip(values) {
            match history.judge(*key, value, asked_at, *floor) {
                Ok(served) => {
                    let before = self.floors[*key].fetch_max(served.state, Ordering::SeqCst);
                    staleness.note(&served, before < served.state);
                }
                Err(what) => {
                    let command = if asked.is_mget { "MGET" } else { "GET" };
                    history.violated_for(*key, asked_at, &format!("{}, {command}: {what}", self.name));
                }
            }
        }
    }
}

// === impl Asked ===

impl Asked {
    fn bytes(&self) -> Vec<u8> {
        let name = if self.is_mget { "MGET" } else { "GET" };
        let keys = self.keys.iter().map(|(key, _)| History::key(*key));
        encode(&std::iter::once(name.to_owned()).chain(keys).collect::<Vec<_>>())
    }
}

// === impl Staleness ===

impl Staleness {
    pub(super) fn new() -> Staleness {
        let histogram = || Histogram::new(3).unwrap();
        Staleness { first_read: histogram(), stale_for: histogram() }
    }

    pub(super) fn add(&mut self, other: &Staleness) {
        self.first_read.add(&other.first_read).unwrap();
        self.stale_for.add(&other.stale_for).unwrap();
    }

    fn note(&mut self, served: &Served, is_first: bool) {
        let micros = |duration: Duration| duration.as_micros() as u64;
        if is_first {
            self.first_read.record(micros(served.after_ack)).unwrap();
        }
        if let Some(stale_for) = served.stale_for {
            self.stale_for.record(micros(stale_for)).unwrap();
        }
    }
}
