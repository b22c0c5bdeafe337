//! The plots of docs/hit-ratio.md.

use plotters::prelude::{RGBColor, SeriesLabelPosition};

use crate::contenders;
use crate::other_writes::OtherWrites;
use crate::plot::{Plot, Series, directory};
use crate::rows::{Row, SHARES, relative};

/// By contender.
const COLORS: [RGBColor; 8] = [
    RGBColor(214, 39, 40),
    RGBColor(214, 39, 40),
    RGBColor(0, 0, 0),
    RGBColor(140, 140, 140),
    RGBColor(31, 119, 180),
    RGBColor(44, 140, 44),
    RGBColor(214, 120, 20),
    RGBColor(148, 103, 189),
];
/// Drawn with dashes: it has the colour of another one.
const DASHED: usize = 1;

/// Traces with a plot of their own, and its file.
const SHOWN: [(&str, &str); 4] = [
    ("orm-busy", "hit-ratio-orm-busy.svg"),
    ("zipf 0.99", "hit-ratio-zipf.svg"),
    ("loop, like P6", "hit-ratio-loop.svg"),
    ("mixed sizes", "hit-ratio-mixed.svg"),
];

pub(crate) fn draw(rows: &[Row], writes: &[OtherWrites]) {
    means(rows).draw(&directory());
    for (trace, file) in SHOWN {
        let rows: Vec<_> = rows.iter().filter(|row| row.trace == trace).collect();
        of_trace(trace, file, &rows).draw(&directory());
    }
    other_writes(writes).draw(&directory());
}

fn means(rows: &[Row]) -> Plot {
    let mean = |number, share: f64| {
        let of_share = rows.iter().filter(|row| row.share == share);
        relative(of_share, number).map(|relative| (100.0 * share, relative.geometric_mean))
    };
    let lines = lines(|number| SHARES.into_iter().filter_map(|share| mean(number, share)).collect());
    let most = highest(&lines);
    Plot {
        file: "hit-ratio-mean.svg",
        title: "Misses to those of Redis LRU, geometric mean of all traces".to_owned(),
        x: ("budget, percent of all bytes of the trace", 1.0..40.0),
        y: ("misses to those of Redis LRU", 0.0..1.1 * most),
        is_linear: true,
        points: points(&lines),
        lines,
        limits: Vec::new(),
        legend: SeriesLabelPosition::LowerLeft,
    }
}

fn of_trace(trace: &str, file: &'static str, rows: &[&Row]) -> Plot {
    let hits = |number: usize| rows.iter().map(move |row| (row.budget_mib, row.hits[number])).collect();
    let lines = lines(hits);
    let budgets = rows.iter().map(|row| row.budget_mib);
    // The names of the curves stand to the left of them.
    let left = 0.25 * budgets.clone().fold(f64::MAX, f64::min);
    Plot {
        file,
        title: format!("Hits of {trace}"),
        x: ("budget, MiB", left..1.2 * budgets.fold(0.0, f64::max)),
        y: ("hits, percent of the reads", 0.0..100.0),
        is_linear: true,
        points: points(&lines),
        lines,
        limits: Vec::new(),
        legend: SeriesLabelPosition::LowerLeft,
    }
}

fn other_writes(writes: &[OtherWrites]) -> Plot {
    let values = |hits: &dyn Fn(&OtherWrites) -> f64| -> Vec<(f64, f64)> {
        writes.iter().skip(1).map(|one| (100.0 * one.part, 100.0 - hits(one))).collect()
    };
    let series =
        |name: &str, color, is_dashed, values| Series { name: name.to_owned(), color, is_dashed, values };
    let lines = vec![
        series("nearside", COLORS[contenders::NEARSIDE], false, values(&|one| one.hits)),
        series("without such writes", COLORS[contenders::REDIS], true, values(&|_| writes[0].hits)),
    ];
    let most = highest(&lines);
    Plot {
        file: "hit-ratio-writes.svg",
        title: "Misses beside writes of keys that nobody reads, with room for all".to_owned(),
        x: ("such writes, percent of all operations", 0.9..60.0),
        y: ("misses, percent of the reads", 0.0..1.2 * most),
        is_linear: true,
        lines,
        points: Vec::new(),
        limits: Vec::new(),
        legend: SeriesLabelPosition::UpperLeft,
    }
}

/// A line for each contender.
fn lines(values: impl Fn(usize) -> Vec<(f64, f64)>) -> Vec<Series> {
    let series = contenders::ALL.into_iter().enumerate().map(|(number, contender)| Series {
        name: contender.name().to_owned(),
        color: COLORS[number],
        is_dashed: number == DASHED,
        values: values(number),
    });
    series.collect()
}

fn highest(lines: &[Series]) -> f64 {
    lines.iter().flat_map(|line| &line.values).map(|(_, value)| *value).fold(0.0, f64::max)
}

/// What was measured of each line: between its points it is only drawn.
fn points(lines: &[Series]) -> Vec<Series> {
    let points = lines.iter().map(|line| Series {
        name: String::new(),
        color: line.color,
        is_dashed: false,
        values: line.values.clone(),
    });
    points.collect()
}
