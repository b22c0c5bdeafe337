//! The table: medians of the rounds with the least and the greatest beside them.

use std::fmt;
use std::io::{self, Write};

use crate::machine;
use crate::rounds::{Pace, Round, Row, Series};
use crate::servers::Kind;
use crate::workload::VALUE_BYTES;

/// Fewer hits than this and a round did not measure hits.
const HIT_SHARE_MIN: f64 = 0.99;

/// The middle of some rounds and how far they lie apart.
struct Spread {
    median: f64,
    least: f64,
    greatest: f64,
}

/// What was compared, on what, and how: everything that somebody needs to doubt the numbers.
pub(crate) fn print_heading(out: &mut impl Write, redis_version: &str, pace: Pace) -> io::Result<()> {
    writeln!(out, "\nA GET that hits, side by side")?;
    writeln!(out, "machine    {}", machine::described()?)?;
    writeln!(out, "servers    redis-server {redis_version}, nearside {}", env!("CARGO_PKG_VERSION"))?;
    writeln!(
        out,
        "load       values of {VALUE_BYTES} bytes, each connection in a closed loop, one thread drives them all"
    )?;
    writeln!(
        out,
        "keys       few: 1,000 drawn evenly; zipf: 100,000 with exponent 0.99; uniform: 1,000,000 drawn evenly"
    )?;
    writeln!(
        out,
        "rounds     {} of {:.1} s for each server, taking turns; medians, (least to greatest)",
        pace.rounds,
        pace.window.as_secs_f64()
    )?;
    writeln!(
        out,
        "\n{:<14}{:>10} {:<16}{:>10} {:<16}{:>12}{:>10}{:>10}",
        "", "CPU us/GET", "", "to redis", "", "GET/s", "p50 us", "p99 us"
    )
}

/// One row as soon as it is measured.
pub(crate) fn print_row(out: &mut impl Write, row: Row, all: &[Series]) -> io::Result<()> {
    writeln!(out, "{row}")?;
    let redis = all.iter().find(|series| series.kind == Kind::Redis);
    for series in all {
        let cpu = series.spread(Round::cpu_micros);
        let rate = series.spread(Round::operations_per_second).median;
        let p50 = series.spread(|round| round.outcome.latency_p50.as_secs_f64() * 1e6).median;
        let p99 = series.spread(|round| round.outcome.latency_p99.as_secs_f64() * 1e6).median;
        write!(out, "  {:<12}{:>10.3} {:<16}", series.kind.name(), cpu.median, cpu)?;
        match (redis, series.least_hit_share()) {
            (_, Some(share)) if share < HIT_SHARE_MIN => {
                write!(out, "  INVALID, not hits: {:<6}", format!("{:.1}%", share * 100.0))?;
            }
            (Some(redis), _) => {
                let ratio = series.ratio_to(redis);
                write!(out, "{:>10.3} {:<16}", ratio.median, ratio)?;
            }
            (None, _) => write!(out, "{:>10} {:<16}", "-", "")?,
        }
        writeln!(out, "{rate:>12.0}{p50:>10.1}{p99:>10.1}")?;
    }
    out.flush()
}

// === impl Series ===

impl Series {
    fn spread(&self, measure: impl Fn(&Round) -> f64) -> Spread {
        Spread::of(self.rounds.iter().map(measure))
    }

    /// CPU for one GET as a share of what redis-server took in the round beside it.
    fn ratio_to(&self, redis: &Series) -> Spread {
        let pairs = self.rounds.iter().zip(&redis.rounds);
        Spread::of(pairs.map(|(ours, theirs)| ours.cpu_micros() / theirs.cpu_micros()))
    }

    fn least_hit_share(&self) -> Option<f64> {
        self.rounds.iter().filter_map(|round| round.hit_share).reduce(f64::min)
    }
}

// === impl Spread ===

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Spread {
        let mut sorted: Vec<f64> = values.collect();
        sorted.sort_by(f64::total_cmp);
        Spread { median: sorted[sorted.len() / 2], least: sorted[0], greatest: sorted[sorted.len() - 1] }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("({:.3} to {:.3})", self.least, self.greatest))
    }
}
