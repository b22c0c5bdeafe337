//! One plot as an SVG file. Its axes are logarithmic, or the horizontal one alone.

use std::ops::Range;
use std::path::{Path, PathBuf};

use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

const SIZE: (u32, u32) = (900, 560);

/// A curve, or a row of points.
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) color: RGBColor,
    pub(crate) is_dashed: bool,
    pub(crate) values: Vec<(f64, f64)>,
}

/// One plot.
pub(crate) struct Plot {
    pub(crate) file: &'static str,
    pub(crate) title: String,
    pub(crate) x: (&'static str, Range<f64>),
    pub(crate) y: (&'static str, Range<f64>),
    /// The vertical axis is not logarithmic.
    pub(crate) is_linear: bool,
    pub(crate) lines: Vec<Series>,
    pub(crate) points: Vec<Series>,
    /// Horizontal lines that mark a limit.
    pub(crate) limits: Vec<(String, f64)>,
    /// Where the names of the curves are not in their way.
    pub(crate) legend: SeriesLabelPosition,
}

/// Where plots are kept.
pub(crate) fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/plots")
}

// === impl Plot ===

impl Plot {
    /// Draws it into `directory`.
    pub(crate) fn draw(self, directory: &Path) {
        let y = self.y.1.clone();
        if self.is_linear { self.draw_on(directory, y) } else { self.draw_on(directory, y.log_scale()) }
    }

    fn draw_on<Y>(self, directory: &Path, y: Y)
    where
        Y: AsRangedCoord<Value = f64>,
        Y::CoordDescType: ValueFormatter<f64>,
    {
        let path = directory.join(self.file);
        let root = SVGBackend::new(&path, SIZE).into_drawing_area();
        root.fill(&WHITE).unwrap();
        let mut chart = ChartBuilder::on(&root)
            .caption(&self.title, ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(45)
            .y_label_area_size(75)
            .build_cartesian_2d(self.x.1.clone().log_scale(), y)
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
            // Points on a curve of the same colour need no name of their own.
            if !points.name.is_empty() {
                drawn.label(&points.name).legend(move |(x, y)| Circle::new((x + 11, y), 5, color.filled()));
            }
        }
        for (name, at) in &self.limits {
            let ends = vec![(self.x.1.start, *at), (self.x.1.end, *at)];
            let drawn = chart.draw_series(LineSeries::new(ends, BLACK.stroke_width(1))).unwrap();
            drawn.label(name).legend(|(x, y)| PathElement::new(vec![(x, y), (x + 22, y)], BLACK));
        }
        chart
            .configure_series_labels()
            .position(self.legend)
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
