//! The plots of docs/scaling.md.

use std::ops::Range;

use plotters::prelude::{RGBColor, SeriesLabelPosition};

use crate::measure::{Mode, Point};
use crate::model::{Cost, Load, Model};
use crate::plot::{Plot, Series, directory};

/// Reads of each sidecar by the second that reach one primary when nothing is cached, in all plots of the
/// model.
pub(crate) const READS: f64 = 1_000.0;
/// Writes by the second of which there is a line each.
pub(crate) const WRITES: [f64; 3] = [100.0, 1_000.0, 10_000.0];

const COLORS: [RGBColor; 3] = [RGBColor(31, 119, 180), RGBColor(214, 120, 20), RGBColor(44, 140, 44)];
const SIDECARS: Range<f64> = 10.0..200_000.0;

pub(crate) fn draw(points: &[Point], model: &Model) {
    let largest = points.iter().map(|point| point.write_us).fold(0.0, f64::max);
    Plot {
        file: "scaling-measured.svg",
        title: "CPU of a primary for one write of a key that all have read".to_owned(),
        x: ("tracked connections", 8.0..1_500.0),
        y: ("microseconds of CPU", 5.0..largest * 2.0),
        is_linear: false,
        lines: both(|mode| {
            let values = curve(8.0..1_500.0, |n| model.write(mode, n));
            (format!("{} (model)", mode.name()), values)
        }),
        points: both(|mode| {
            let of_mode = points.iter().filter(|point| point.mode == mode);
            let values = of_mode.map(|point| (point.clients as f64, point.write_us)).collect();
            (format!("{} (measured)", mode.name()), values)
        }),
        limits: Vec::new(),
        legend: SeriesLabelPosition::UpperLeft,
    }
    .draw(&directory());
    let title = |what: &str| format!("{what}, {READS} reads/s by each sidecar");
    modelled(
        model,
        "scaling-cpu.svg",
        title("CPU of one primary"),
        ("percent of a core", 1.0..100_000.0),
        vec![("one core".to_owned(), 100.0)],
        |cost| cost.cpu * 100.0,
    )
    .draw(&directory());
    modelled(
        model,
        "scaling-pushes.svg",
        title("Invalidations that one primary sends"),
        ("megabits/s", 0.01..1_000_000.0),
        vec![("10 Gbit/s".to_owned(), 10_000.0)],
        |cost| cost.megabits,
    )
    .draw(&directory());
    let mut memory = modelled(
        model,
        "scaling-memory.svg",
        title("Invalidation table of one primary, default mode"),
        ("megabytes", 0.1..10_000_000.0),
        Vec::new(),
        |cost| cost.table_bytes / 1e6,
    );
    // In BCAST there is no table.
    memory.lines.retain(|line| !line.is_dashed);
    memory.draw(&directory());
}

/// A plot of the model with a line for each rate of writes and each mode.
fn modelled(
    model: &Model,
    file: &'static str,
    title: String,
    y: (&'static str, Range<f64>),
    limits: Vec<(String, f64)>,
    value: impl Fn(Cost) -> f64,
) -> Plot {
    let mut lines = Vec::new();
    for (writes, color) in WRITES.into_iter().zip(COLORS) {
        for (mode, is_dashed) in [(Mode::Default, false), (Mode::Broadcast, true)] {
            let value = |sidecars| value(model.cost(mode, Load { sidecars, reads: READS, writes }));
            let name = format!("{writes} writes/s, {}", mode.name());
            lines.push(Series { name, color, is_dashed, values: curve(SIDECARS, value) });
        }
    }
    Plot {
        file,
        title,
        x: ("sidecars", SIDECARS),
        y,
        is_linear: false,
        lines,
        points: Vec::new(),
        limits,
        legend: SeriesLabelPosition::UpperLeft,
    }
}

fn both(series: impl Fn(Mode) -> (String, Vec<(f64, f64)>)) -> Vec<Series> {
    let modes = [Mode::Default, Mode::Broadcast].into_iter().zip(COLORS);
    let series = modes.map(|(mode, color)| {
        let (name, values) = series(mode);
        Series { name, color, is_dashed: false, values }
    });
    series.collect()
}

/// Values at places that are the same factor apart.
fn curve(range: Range<f64>, value: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
    const STEPS: usize = 24;
    let factor = (range.end / range.start).powf(1.0 / STEPS as f64);
    let places = (0..=STEPS).map(|step| range.start * factor.powi(step as i32));
    places.map(|place| (place, value(place))).collect()
}
