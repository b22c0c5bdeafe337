//! The plots of docs/performance.md.

use std::ops::Range;
use std::path::Path;

use plotters::prelude::{RGBColor, SeriesLabelPosition};

use crate::memory::{Curve, VALUE_BYTES};
use crate::page::Found;
use crate::plan::Family;
use crate::plot::{Plot, Series};
use crate::rounds::Metric;
use crate::servers::Kind;

/// What they show, and their files.
pub(crate) const ALL: [(&str, &str); 5] = [
    ("CPU of a GET that hits, over depth", "performance-cpu.svg"),
    ("CPU of a GET that misses, over depth", "performance-miss.svg"),
    ("CPU of a SET, over depth", "performance-set.svg"),
    ("p99 of a GET that hits, over load", "performance-latency.svg"),
    ("Resident memory over entries", "performance-memory.svg"),
];

/// Draws those for which something was measured.
pub(crate) fn draw(cells: &[Found], memory: &[Curve], directory: &Path) {
    let depth = |found: &Found, _: Kind| found.depth as f64;
    let cpu = ("microseconds of CPU for one request", Metric::Cpu);
    let hits = series(cells, Family::Hits, cpu.1, depth);
    plot(
        "performance-cpu.svg",
        "A GET that hits, zipf over 100,000 keys, TCP",
        ("depth", cpu.0),
        hits,
        directory,
    );
    let miss = named(cells, "GET miss", depth);
    plot(
        "performance-miss.svg",
        "A GET that misses, one node behind, TCP",
        ("depth", cpu.0),
        miss,
        directory,
    );
    let set = named(cells, "SET", depth);
    plot("performance-set.svg", "A SET, one node behind, TCP", ("depth", cpu.0), set, directory);
    let offered = |found: &Found, _: Kind| found.measured.offered.unwrap() as f64;
    let latency = series(cells, Family::Paced, Metric::P99, offered);
    plot(
        "performance-latency.svg",
        "Latency of a GET that hits, 50 connections, TCP",
        ("requests by the second", "p99 in microseconds"),
        latency,
        directory,
    );
    let curve = |curve: &Curve| line(curve.kind, curve.points.clone());
    plot(
        "performance-memory.svg",
        &format!("Resident memory with values of {VALUE_BYTES} bytes"),
        ("entries", "megabytes"),
        memory.iter().map(curve).collect(),
        directory,
    );
}

fn named(cells: &[Found], name: &str, x: impl Fn(&Found, Kind) -> f64) -> Vec<Series> {
    let of_name: Vec<&Found> = cells
        .iter()
        .filter(|found| found.family == Family::PassThrough && found.name.starts_with(name))
        .collect();
    lines(&of_name, Metric::Cpu, x)
}

fn series(cells: &[Found], family: Family, metric: Metric, x: impl Fn(&Found, Kind) -> f64) -> Vec<Series> {
    let of_family: Vec<&Found> = cells.iter().filter(|found| found.family == family).collect();
    lines(&of_family, metric, x)
}

/// A line for each server that all of the cells have.
fn lines(cells: &[&Found], metric: Metric, x: impl Fn(&Found, Kind) -> f64) -> Vec<Series> {
    let Some(first) = cells.first() else { return Vec::new() };
    let of_server = |kind: Kind| {
        let point = |found: &&Found| (x(found, kind), found.measured.of(kind).spread(metric).median);
        let mut points: Vec<(f64, f64)> = cells.iter().map(point).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        line(kind, points)
    };
    first.measured.series.iter().map(|series| of_server(series.kind)).collect()
}

fn line(kind: Kind, values: Vec<(f64, f64)>) -> Series {
    Series { name: kind.name().to_owned(), color: color(kind), is_dashed: kind == Kind::FixedReply, values }
}

fn color(kind: Kind) -> RGBColor {
    match kind {
        Kind::Nearside | Kind::TwoWorkers => RGBColor(31, 119, 180),
        Kind::Redis => RGBColor(200, 40, 40),
        Kind::Valkey => RGBColor(120, 70, 180),
        Kind::FixedReply => RGBColor(110, 110, 110),
        Kind::Envoy => RGBColor(214, 120, 20),
        Kind::Twemproxy => RGBColor(44, 140, 44),
    }
}

fn plot(
    file: &'static str,
    title: &str,
    (x, y): (&'static str, &'static str),
    lines: Vec<Series>,
    directory: &Path,
) {
    if lines.is_empty() {
        return;
    }
    let values = || lines.iter().flat_map(|series| &series.values);
    let x = (x, range(values().map(|(x, _)| *x), 1.1));
    // Room for the legend above.
    let mut y = (y, range(values().map(|(_, y)| *y), 1.3));
    y.1.end *= 2.0;
    let points = lines.iter().map(|line| Series {
        name: String::new(),
        is_dashed: false,
        color: line.color,
        values: line.values.clone(),
    });
    let (title, points, limits) = (title.to_owned(), points.collect(), Vec::new());
    // What falls leaves room at its end, what rises at its beginning.
    let falls =
        |series: &Series| series.values.first().zip(series.values.last()).is_some_and(|(a, b)| a.1 > b.1);
    let legend = if lines.iter().all(falls) {
        SeriesLabelPosition::UpperRight
    } else {
        SeriesLabelPosition::UpperLeft
    };
    Plot { file, title, x, y, is_linear: false, lines, points, limits, legend }.draw(directory);
}

/// A bit more than all of the values.
fn range(values: impl Iterator<Item = f64> + Clone, factor: f64) -> Range<f64> {
    let least = values.clone().fold(f64::INFINITY, f64::min);
    let most = values.fold(0.0, f64::max);
    least / factor..most * factor
}
