//! What a run has found: said as it comes, then written as Markdown, JSON and plots.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use serde::Serialize;
use tokio::time::Instant;

use crate::figures;
use crate::ground::Ground;
use crate::load::{CONNECTIONS, Generator};
use crate::machine;
use crate::memory::Curve;
use crate::plan::{Cell, Family, Goal};
use crate::plot;
use crate::plots;
use crate::rounds::{Measured, Metric, SHARE_MIN};
use crate::verdict::{Bound, Spread, Verdict};

#[derive(Serialize)]
pub(crate) struct Report {
    #[serde(skip)]
    began: Instant,
    machine: String,
    versions: Vec<(String, String)>,
    rounds: usize,
    rows: Vec<Row>,
    cells: Vec<Found>,
    pub(crate) memory: Vec<Curve>,
}

/// One goal and what became of it.
#[derive(Serialize)]
pub(crate) struct Row {
    what: String,
    /// What the figure is: a metric as a share of a peer's, or a unit.
    figure: String,
    bound: Bound,
    spread: Spread,
    ours: Option<f64>,
    theirs: Option<f64>,
    verdict: Verdict,
}

/// One cell and all of its rounds.
#[derive(Serialize)]
pub(crate) struct Found {
    pub(crate) name: String,
    #[serde(skip)]
    pub(crate) family: Family,
    pub(crate) depth: usize,
    generator: &'static str,
    pub(crate) measured: Measured,
}

// === impl Row ===

impl Row {
    /// A figure that stands by itself.
    pub(crate) fn figure(what: &str, unit: &str, bound: Bound, spread: Spread) -> Row {
        let verdict = bound.verdict(spread);
        let (what, figure) = (what.to_owned(), unit.to_owned());
        Row { what, figure, bound, spread, ours: Some(spread.median), theirs: None, verdict }
    }

    /// With that of redis-server, to compare.
    pub(crate) fn beside(mut self, theirs: Spread) -> Row {
        self.theirs = Some(theirs.median);
        self
    }

    pub(crate) fn invalid(mut self, why: String) -> Row {
        self.verdict = Verdict::Invalid(why);
        self
    }

    fn of_goal(cell: &Cell, measured: &Measured, goal: &Goal) -> Row {
        let spread = measured.ratio(goal.metric, goal.ours, goal.theirs);
        let middle = |kind| measured.of(kind).spread(goal.metric).median;
        let verdict = match measured.least_share() {
            Some(share) if share < SHARE_MIN => {
                Verdict::Invalid(format!("L1 did {:.1} % of it", share * 100.0))
            }
            _ if goal.needs_room && !measured.has_room => {
                Verdict::Invalid("too few CPUs: the load has none to itself".to_owned())
            }
            _ if measured.probe_waited => {
                Verdict::Invalid("only root may put the probe before the load".to_owned())
            }
            _ => goal.bound.verdict(spread),
        };
        Row {
            what: cell.name.clone(),
            figure: format!("{} to {}", goal.metric.name(), goal.theirs.name()),
            bound: goal.bound,
            spread,
            ours: Some(middle(goal.ours)),
            theirs: Some(middle(goal.theirs)),
            verdict,
        }
    }

    fn line(&self) -> String {
        let Row { what, figure, bound, spread, verdict, .. } = self;
        let Spread { median, lower, upper } = spread;
        let or_none = |value: Option<f64>| value.map_or("-".to_owned(), short);
        format!(
            "| {what} | {figure} | {bound} | **{}** ({} to {}) | {verdict} | {} | {} |",
            short(*median),
            short(*lower),
            short(*upper),
            or_none(self.ours),
            or_none(self.theirs)
        )
    }
}

// === impl Report ===

impl Report {
    pub(crate) fn new(ground: &Ground) -> Report {
        let load = fs::read_to_string("/proc/loadavg").unwrap();
        let load = load.split(' ').next().unwrap();
        let report = Report {
            began: Instant::now(),
            machine: format!("{}, load average {load} before it", machine::described().unwrap()),
            versions: ground.peers.versions(),
            rounds: ground.pace.rounds,
            rows: Vec::new(),
            cells: Vec::new(),
            memory: Vec::new(),
        };
        println!("{}", report.heading());
        report
    }

    pub(crate) fn cell(&mut self, cell: &Cell, measured: Measured) {
        for goal in &cell.goals {
            self.row(Row::of_goal(cell, &measured, goal));
        }
        let generator = match cell.load.generator {
            Generator::RedisBenchmark => "redis-benchmark",
            Generator::RespBenchmark if measured.offered.is_some() => "resp-benchmark and a probe",
            Generator::RespBenchmark => "resp-benchmark",
        };
        let (name, family, depth) = (cell.name.clone(), cell.family, cell.load.depth);
        let found = Found { name, family, depth, generator, measured };
        print!("{}", found.lines());
        self.cells.push(found);
    }

    pub(crate) fn row(&mut self, row: Row) {
        println!("{}", row.line());
        self.rows.push(row);
    }

    fn heading(&self) -> String {
        let versions: Vec<String> =
            self.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
        format!(
            "`cargo bench --bench compare` printed this on {}; nearside {}, {}.",
            self.machine,
            env!("CARGO_PKG_VERSION"),
            versions.join(", ")
        )
    }

    fn figures(&self) -> String {
        let count =
            |wanted: &dyn Fn(&Verdict) -> bool| self.rows.iter().filter(|row| wanted(&row.verdict)).count();
        let mut out = self.heading();
        writeln!(
            out,
            " {} rounds for each goal, in {:.0} minutes.\n\nOf {} goals {} hold, {} do not hold, {} are undecided and {} could not be \
             measured here.\n",
            self.rounds,
            self.began.elapsed().as_secs_f64() / 60.0,
            self.rows.len(),
            count(&|verdict| *verdict == Verdict::Holds),
            count(&|verdict| *verdict == Verdict::Misses),
            count(&|verdict| *verdict == Verdict::Undecided),
            count(&|verdict| matches!(verdict, Verdict::Invalid(_))),
        )
        .unwrap();
        out.push_str(
            "| what | figure | goal | median (quartiles) | verdict | nearside | the other |\n\
             |---|---|---|---|---|---|---|\n",
        );
        for row in &self.rows {
            writeln!(out, "{}", row.line()).unwrap();
        }
        writeln!(
            out,
            "\nAll that was measured, medians; {CONNECTIONS} connections; CPU is user and system time of the server for \
             one request.\n\n| load | by | server | CPU, us | requests/s | p50, us | p99, us |\n|---|---|---|---|---|---|---|"
        )
        .unwrap();
        for found in &self.cells {
            out.push_str(&found.lines());
        }
        for (text, name) in plots::ALL {
            write!(out, "\n![{text}](plots/{name})\n").unwrap();
        }
        out.push_str("\nEvery round is in [plots/performance.json](plots/performance.json).\n");
        out
    }

    /// A whole run goes into the page; anything else beside the build.
    pub(crate) fn write(&self, is_whole: bool) {
        let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let directory = if is_whole { plot::directory() } else { manifest.join("target/compare") };
        fs::create_dir_all(&directory).unwrap();
        if is_whole {
            figures::put(&manifest.join("docs/performance.md"), &self.figures()).unwrap();
        } else {
            fs::write(directory.join("performance.md"), self.figures()).unwrap();
        }
        let json = serde_json::to_string_pretty(self).unwrap();
        fs::write(directory.join("performance.json"), json + "\n").unwrap();
        plots::draw(&self.cells, &self.memory, &directory);
    }
}

// === impl Found ===

impl Found {
    /// A line for each server.
    fn lines(&self) -> String {
        let offered = self.measured.offered.map_or(String::new(), |rate| format!(", {rate} requests/s"));
        let mut out = String::new();
        for series in &self.measured.series {
            let has_p50 = series.rounds.iter().all(|round| round.p50.is_some());
            let p50 = if has_p50 { short(series.spread(Metric::P50).median) } else { "-".to_owned() };
            writeln!(
                out,
                "| {}{offered} | {} | {} | {} | {} | {p50} | {} |",
                self.name,
                self.generator,
                series.kind.name(),
                short(series.spread(Metric::Cpu).median),
                short(series.spread(Metric::PerSecond).median),
                short(series.spread(Metric::P99).median)
            )
            .unwrap();
        }
        out
    }
}

/// Three digits that mean something.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
