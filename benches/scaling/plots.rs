//! The plots of docs/scaling.md.

use std::ops::Range;
use std::path::PathBuf;

use plotters::prelude::*;

use crate::measure::{Mode, Point};
use crate::model::{Cost, Load, Model};

/// Reads of each sidecar by the second that reach one primary when nothing is cached, in all plots of the model.
pub(crate) const READS: f64 = 1_000.0;
/// Writes by the second of which there is a line each.
pub(crate) const WRITES: [f64; 3] = [100.0, 1_000.0, 10_000.0];

const SIZE: (u32, u32) = (900, 560);
const COLORS: [RGBColor; 3] = [RGBColor(31, 119, 180), RGBColor(214, 120, 20), RGBColor(44, 140, 44)];
const SIDECARS: Range<f64> = 10.0..200_000.0;

/// A curve, or a row of points.
struct Series {
    name: String,
    color: RGBColor,
    is_dashed: bool,
    values: Vec<(f64, f64)>,
}

/// One plot: both axes are logarithmic.
struct Plot {
    file: &'static str,
    title: String,
    x: (&'static str, Range<f64>),
    y: (&'static str, Range<f64>),
    lines: Vec<Series>,
    points: Vec<Series>,
    /// Horizontal lines that mark a limit.
    limits: Vec<(String, f64)>,
}

/// Where plots are kept.
pub(crate) fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/plots")
}

pub(crate) fn draw(points: &[Point], model: &Model) {
    let largest = points.iter().map(|point| point.write_us).fold(0.0, f64::max);
    Plot {
        file: "scaling-measured.svg",
        title: "CPU of a primary for one write of a key that all have read".to_owned(),
        x: ("tracked connections", 8.0..1_500.0),
        y: ("microseconds of CPU", 5.0..largest * 2.0),
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
    }
    .draw();
    let title = |what: &str| format!("{what}, {READS} reads/s by each sidecar");
    modelled(
        model,
        "scaling-cpu.svg",
        title("CPU of one primary"),
        ("percent of a core", 1.0..100_000.0),
        |cost| cost.cpu * 100.0,
    )
    .with_limit("one core", 100.0)
    .draw();
    modelled(
        model,
        "scaling-pushes.svg",
        title("Invalidations that one primary sends"),
        ("megabits/s", 0.01..1_000_000.0),
        |cost| cost.megabits,
    )
    .with_limit("10 Gbit/s", 10_000.0)
    .draw();
    let mut memory = modelled(
        model,
        "scaling-memory.svg",
        title("Invalidation table of one primary, default mode"),
        ("megabytes", 0.1..10_000_000.0),
        |cost| cost.table_bytes / 1e6,
    );
    // In BCAST there is no table.
    memory.lines.retain(|line| !line.is_dashed);
    memory.draw();
}

/// A plot of the model with a line for each rate of writes and each mode.
fn modelled(
    model: &Model,
    file: &'static str,
    title: String,
    y: (&'static str, Range<f64>),
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
    Plot { file, title, x: ("sidecars", SIDECARS), y, lines, points: Vec::new(), limits: Vec::new() }
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

// === impl Plot ===

impl Plot {
    fn with_limit(mut self, name: &str, at: f64) -> Plot {
        self.limits.push((name.to_owned(), at));
        self
    }

    fn draw(self) {
        let path = directory().join(self.file);
        let root = SVGBackend::new(&path, SIZE).into_drawing_area();
        root.fill(&WHITE).unwrap();
        let mut chart = ChartBuilder::on(&root)
            .caption(&self.title, ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(45)
            .y_label_area_size(75)
            .build_cartesian_2d(self.x.1.clone().log_scale(), self.y.1.clone().log_scale())
            .unwrap();
        chart
            .configure_mesh()
            .x_desc(self.x.0)
            .y_desc(self.y.0)
            .x_label_formatter(&|value| short(*value))
            .y_label_formatter(&|value| short(*value))
            .light_line_style(RGBColor(240, 240, 240))
            .label_style(("sans-serif", 14))
            .axis_desc_style(("sans-serif", 16))
            .draw()
            .unwrap();
        let within = |values: &[(f64, f64)]| -> Vec<(f64, f64)> {
            values.iter().copied().filter(|(_, y)| self.y.1.contains(y)).collect()
        };
        for line in &self.lines {
            let style = line.color.stroke_width(2);
            let values = within(&line.values);
            let drawn = if line.is_dashed {
                chart.draw_series(DashedLineSeries::new(values, 6, 4, style)).unwrap()
            } else {
                chart.draw_series(LineSeries::new(values, style)).unwrap()
            };
            let is_dashed = line.is_dashed;
            drawn.label(&line.name).legend(move |(x, y)| {
                let end = if is_dashed { x + 10 } else { x + 22 };
                PathElement::new(vec![(x, y), (end, y)], style)
            });
        }
        for points in &self.points {
            let color = points.color;
            let circle = |place| Circle::new(place, 5, color.filled());
            let drawn = chart.draw_series(within(&points.values).into_iter().map(circle)).unwrap();
            drawn.label(&points.name).legend(move |(x, y)| Circle::new((x + 11, y), 5, color.filled()));
        }
        for (name, at) in &self.limits {
            let ends = vec![(self.x.1.start, *at), (self.x.1.end, *at)];
            let drawn = chart.draw_series(LineSeries::new(ends, BLACK.stroke_width(1))).unwrap();
            drawn.label(name).legend(|(x, y)| PathElement::new(vec![(x, y), (x + 22, y)], BLACK));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.9))
            .border_style(RGBColor(200, 200, 200))
            .label_font(("sans-serif", 14))
            .draw()
            .unwrap();
        root.present().unwrap();
    }
}

/// 10,000 as 10k, so that labels do not meet.
fn short(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{}M", value / 1e6),
        value if value >= 1e3 => format!("{}k", value / 1e3),
        value => format!("{}", (value * 1e3).round() / 1e3),
    }
}
