//! From what was measured to any number of sidecars.
//!
//! A key that is read at a rate `r` by each sidecar and written at a rate `w` is tracked for a sidecar if
//! that has read it since it was written last: with probability `r / (r + w)`. So a write is pushed to `n * r
//! / (r + w)` of `n` sidecars in default mode, and to all of them in BCAST.

use std::sync::LazyLock;

use serde::Serialize;

use crate::measure::{Mode, Point};

/// What one thing costs a primary.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Model {
    /// CPU of a write without a push, in microseconds.
    pub(crate) write_us: f64,
    /// CPU of a read that fills, in microseconds: of the value and of its lifetime.
    pub(crate) fill_us: f64,
    /// CPU of one push, in microseconds, in default mode and in BCAST.
    pub(crate) push_us: [f64; 2],
    /// Bytes of one push.
    pub(crate) push_bytes: [f64; 2],
    /// Memory for each key that one sidecar has read.
    pub(crate) item_bytes: f64,
    /// Memory for each connection.
    pub(crate) connection_bytes: f64,
    /// How far the model is off at each measured point, as a fraction.
    pub(crate) errors: Vec<(Mode, usize, f64)>,
}

/// What sidecars and others do to one primary.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) sidecars: f64,
    /// Reads of each sidecar, by the second.
    pub(crate) reads: f64,
    /// Writes of all, by the second.
    pub(crate) writes: f64,
}

/// What that costs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// Pushes, by the second.
    pub(crate) pushes: f64,
    /// Replies that are read again because of them or because their time was over, by the second.
    pub(crate) fills: f64,
    /// Seconds of CPU, by the second: 1 is all that the main thread of a server has.
    pub(crate) cpu: f64,
    /// Megabits of pushes, by the second.
    pub(crate) megabits: f64,
    /// Bytes of the invalidation table.
    pub(crate) table_bytes: f64,
}

/// The keys of the model: reads prefer few of them, writes none.
pub(crate) const KEYS: usize = 1_000_000;
pub(crate) const SKEW: f64 = 0.99;

/// How long a reply is kept at most, in seconds: `l1_ttl`.
const TTL: f64 = 60.0;

// === impl Model ===

impl Model {
    /// Fits what a push costs to all measured crowds of a mode; the other costs are those of the largest.
    pub(crate) fn fit(points: &[Point]) -> Model {
        let of = |mode: Mode| points.iter().filter(move |point| point.mode == mode);
        let mut writes: Vec<f64> = of(Mode::Untracked).map(|point| point.write_us).collect();
        writes.sort_by(f64::total_cmp);
        let write_us = writes[writes.len() / 2];
        let largest = of(Mode::Default).next_back().unwrap();
        // By least squares of the relative error, or the largest crowd alone would decide.
        let push = |mode: Mode| {
            let (mut above, mut below) = (0.0, 0.0);
            for point in of(mode) {
                let (clients, weight) = (point.clients as f64, point.write_us.powi(-2));
                above += weight * clients * (point.write_us - write_us);
                below += weight * clients * clients;
            }
            above / below
        };
        let push_us = [push(Mode::Default), push(Mode::Broadcast)];
        let bytes = |mode: Mode| of(mode).next_back().unwrap().push_bytes;
        let mut model = Model {
            write_us,
            fill_us: largest.fill_us,
            push_us,
            push_bytes: [bytes(Mode::Default), bytes(Mode::Broadcast)],
            item_bytes: largest.item_bytes,
            connection_bytes: largest.connection_bytes,
            errors: Vec::new(),
        };
        let tracked = points.iter().filter(|point| point.mode != Mode::Untracked);
        model.errors = tracked
            .map(|point| {
                let said = model.write(point.mode, point.clients as f64);
                (point.mode, point.clients, said / point.write_us - 1.0)
            })
            .collect();
        model
    }

    /// CPU of a write that is pushed to `clients`, in microseconds.
    pub(crate) fn write(&self, mode: Mode, clients: f64) -> f64 {
        match mode {
            Mode::Untracked => self.write_us,
            Mode::Default => self.write_us + clients * self.push_us[0],
            Mode::Broadcast => self.write_us + clients * self.push_us[1],
        }
    }

    /// What `load` costs the primary.
    pub(crate) fn cost(&self, mode: Mode, load: Load) -> Cost {
        let write_of_key = load.writes / KEYS as f64;
        let (mut tracked, mut misses) = (0.0, 0.0);
        for share in POPULARITY.iter() {
            let reads = load.reads * share;
            tracked += reads / (reads + write_of_key);
            // Read again at the first read after each end of the entry.
            let ends = write_of_key + 1.0 / TTL;
            misses += reads * ends / (reads + ends);
        }
        let told = tracked * write_of_key;
        let (pushes, push_us, push_bytes) = match mode {
            Mode::Untracked => (0.0, 0.0, 0.0),
            Mode::Default => (load.sidecars * told, self.push_us[0], self.push_bytes[0]),
            Mode::Broadcast => (load.sidecars * load.writes, self.push_us[1], self.push_bytes[1]),
        };
        let fills = load.sidecars * misses;
        let micros = load.writes * self.write_us + pushes * push_us + fills * self.fill_us;
        let items = if mode == Mode::Default { load.sidecars * tracked } else { 0.0 };
        Cost {
            pushes,
            fills,
            cpu: micros / 1e6,
            megabits: pushes * push_bytes * 8.0 / 1e6,
            table_bytes: items * self.item_bytes,
        }
    }

    /// How many sidecars one primary bears with this load before its CPU is used up.
    pub(crate) fn sidecars_max(&self, mode: Mode, reads: f64, writes: f64) -> f64 {
        let cpu = |sidecars: f64| self.cost(mode, Load { sidecars, reads, writes }).cpu;
        let (idle, one) = (cpu(0.0), cpu(1.0));
        ((1.0 - idle) / (one - idle)).max(0.0)
    }
}

/// The share of each key in all reads: the n-th most popular one is read in proportion to `1 / n^SKEW`.
pub(crate) fn popularity(keys: usize) -> Vec<f64> {
    let weights: Vec<f64> = (1..=keys).map(|rank| (rank as f64).powf(-SKEW)).collect();
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / total).collect()
}

/// That of all keys of the model.
static POPULARITY: LazyLock<Vec<f64>> = LazyLock::new(|| popularity(KEYS));
