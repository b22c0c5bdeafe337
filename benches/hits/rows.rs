//! What was measured: a row for each trace and budget, and what the rows say together.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde::Serialize;

use crate::contenders::{self, NEARSIDE, REDIS};
use crate::near::Replayed;
use crate::trace::Trace;

/// Budgets as parts of all bytes of a trace.
pub(crate) const SHARES: [f64; 3] = [0.03, 0.1, 0.3];

/// A smaller budget is left out: nobody sets one.
const BUDGET_MIN: u64 = 200 << 10;

/// One trace with one budget.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) trace: String,
    pub(crate) is_recorded: bool,
    pub(crate) reads: usize,
    pub(crate) keys: usize,
    pub(crate) share: f64,
    pub(crate) budget_mib: f64,
    /// Percent of the reads, by contender.
    pub(crate) hits: Vec<f64>,
    /// Of nearside, see [`Replayed`].
    pub(crate) entries: u64,
    pub(crate) tracked: usize,
    pub(crate) all_read: usize,
}

/// The misses of one contender to those of Redis' LRU, over some rows.
#[derive(Debug)]
pub(crate) struct Relative {
    pub(crate) geometric_mean: f64,
    pub(crate) worst: f64,
    /// Where the worst is.
    pub(crate) worst_at: String,
}

/// Replays `trace` with each budget through each contender.
pub(crate) fn measure(trace: &Trace, shares: &[f64]) -> Vec<Row> {
    let budget = |share: f64| (trace.bytes() as f64 * share) as u64;
    let shares: Vec<f64> = shares.iter().copied().filter(|share| budget(*share) >= BUDGET_MIN).collect();
    let replayed = in_parallel(shares.len() * contenders::ALL.len(), |job| {
        let share = shares[job / contenders::ALL.len()];
        contenders::ALL[job % contenders::ALL.len()].replay(trace, budget(share))
    });
    let reads = trace.reads();
    let rows = shares.iter().zip(replayed.chunks(contenders::ALL.len())).map(|(share, replayed)| {
        let Replayed { entries, tracked, all_read, .. } = replayed[NEARSIDE];
        Row {
            trace: trace.name.clone(),
            is_recorded: trace.is_recorded,
            reads,
            keys: trace.sizes.len(),
            share: *share,
            budget_mib: budget(*share) as f64 / f64::from(1 << 20),
            hits: replayed.iter().map(|one| 100.0 * one.hits as f64 / reads as f64).collect(),
            entries,
            tracked,
            all_read,
        }
    });
    rows.collect()
}

/// Does all jobs on all CPUs; the results are in the order of the jobs.
fn in_parallel<T: Send>(jobs: usize, job: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let results: Vec<Mutex<Option<T>>> = (0..jobs).map(|_| Mutex::new(None)).collect();
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().unwrap().get() {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(result) = results.get(at) else { return };
                    *result.lock().unwrap() = Some(job(at));
                }
            });
        }
    });
    results.into_iter().map(|result| result.into_inner().unwrap().unwrap()).collect()
}

/// The misses of the contender with this number to those of Redis' LRU. `None` without rows.
pub(crate) fn relative<'a>(rows: impl Iterator<Item = &'a Row>, contender: usize) -> Option<Relative> {
    let of_row = |row: &Row| ((100.0 - row.hits[contender]) / (100.0 - row.hits[REDIS]), row.place());
    let ratios: Vec<_> = rows.map(of_row).collect();
    let sum: f64 = ratios.iter().map(|(ratio, _)| ratio.ln()).sum();
    let (worst, worst_at) = ratios.iter().max_by(|(a, _), (b, _)| a.total_cmp(b)).cloned()?;
    Some(Relative { geometric_mean: (sum / ratios.len() as f64).exp(), worst, worst_at })
}

// === impl Row ===

impl Row {
    /// For who watches.
    pub(crate) fn line(&self) -> String {
        let Row { reads, keys, budget_mib, .. } = self;
        let mut line = format!("{}, {reads} reads of {keys} keys, {budget_mib:.1} MiB:", self.place());
        for (contender, hits) in contenders::ALL.into_iter().zip(&self.hits) {
            line += &format!(" {} {hits:.2}", contender.name());
        }
        line
    }

    fn place(&self) -> String {
        format!("{} at {:.0} %", self.trace, 100.0 * self.share)
    }
}
