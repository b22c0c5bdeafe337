//! The figures of docs/scaling.md, put between the marks in that file, and the same as JSON.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde_json::json;

use crate::daemons::Look;
use crate::figures;
use crate::machine;
use crate::measure::{Mode, Point};
use crate::model::{Load, Model};
use crate::plot::directory;
use crate::plots::{READS, WRITES};
use crate::simulate::Check;

/// One point, for who watches.
pub(crate) fn line(point: &Point) -> String {
    let Point { mode, clients, write_us, fill_us, .. } = point;
    let mode = mode.name();
    format!("{mode} {clients}: {write_us:.1} us for a write, {fill_us:.2} us for a fill")
}

/// The tables.
pub(crate) fn tables(points: &[Point], model: &Model, checks: &[Check], look: &Look) -> String {
    let mut out = String::new();
    writeln!(
        out,
        "`cargo bench --bench scaling` printed this on {}, redis-server of the PATH.\n",
        machine::described().unwrap()
    )
    .unwrap();
    measured(&mut out, points, model);
    costs(&mut out, model);
    limits(&mut out, model);
    simulated(&mut out, checks);
    let Look { daemons, connections, tracked_keys, tracked_items, written, heard } = look;
    writeln!(
        out,
        "{daemons} real daemons in front of one server, each of which had read the same 200 keys: {connections} connections \
         each; the server tracked {tracked_keys} keys for {tracked_items} (key, client) pairs; of {written} keys that were \
         written the daemons were told {heard} times, and {} were to be expected.",
        daemons * *written as usize
    )
    .unwrap();
    out
}

fn measured(out: &mut String, points: &[Point], model: &Model) {
    out.push_str(
        "| mode | connections | CPU of a write, us | the model says | CPU of a fill, us | bytes of a push | memory of a connection, bytes | \
         memory of a key and client, bytes | last one has heard after, us |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for point in points {
        let error =
            model.errors.iter().find(|(mode, clients, _)| (*mode, *clients) == (point.mode, point.clients));
        let error = error.map_or_else(String::new, |(.., error)| format!("{:+.0} %", error * 100.0));
        let or_none = |value: f64, text: String| if value > 0.0 { text } else { "-".to_owned() };
        writeln!(
            out,
            "| {} | {} | {:.1} | {error} | {:.2} | {} | {:.0} | {} | {} |",
            point.mode.name(),
            point.clients,
            point.write_us,
            point.fill_us,
            or_none(point.push_bytes, format!("{:.0}", point.push_bytes)),
            point.connection_bytes,
            or_none(point.item_bytes, format!("{:.0}", point.item_bytes)),
            or_none(point.last_heard_us, format!("{:.0}", point.last_heard_us)),
        )
        .unwrap();
    }
}

fn costs(out: &mut String, model: &Model) {
    writeln!(
        out,
        "\nFitted: a write {:.1} us; a push {:.2} us in default mode and {:.2} us in BCAST; a fill (value and PTTL) {:.2} us; \
         {:.0} bytes for each key that one client has read.\n",
        model.write_us, model.push_us[0], model.push_us[1], model.fill_us, model.item_bytes
    )
    .unwrap();
}

fn limits(out: &mut String, model: &Model) {
    out.push_str(
        "| writes/s at the primary | mode | sidecars until its CPU is used up | at 1,000 sidecars: pushes/s | fills/s | CPU | \
         megabits/s | table, MB |\n|---|---|---|---|---|---|---|---|\n",
    );
    for writes in WRITES {
        for mode in [Mode::Default, Mode::Broadcast] {
            let cost = model.cost(mode, Load { sidecars: 1_000.0, reads: READS, writes });
            writeln!(
                out,
                "| {writes} | {} | {:.0} | {:.0} | {:.0} | {:.0} % | {:.1} | {:.1} |",
                mode.name(),
                model.sidecars_max(mode, READS, writes),
                cost.pushes,
                cost.fills,
                cost.cpu * 100.0,
                cost.megabits,
                cost.table_bytes / 1e6
            )
            .unwrap();
        }
    }
}

fn simulated(out: &mut String, checks: &[Check]) {
    out.push_str(
        "\n| sidecars simulated | reads of each for one write of anybody | pushes of a write, counted | by the formula |\n\
         |---|---|---|---|\n",
    );
    for check in checks {
        let Check { sidecars, reads_per_write, counted, said } = check;
        writeln!(out, "| {sidecars} | {reads_per_write} | {counted:.2} | {said:.2} |").unwrap();
    }
    out.push('\n');
}

/// Puts the figures into the page, and all that was measured beside the plots.
pub(crate) fn write(figures: &str, points: &[Point], model: &Model) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/scaling.md");
    figures::put(&path, figures).unwrap();
    let json = json!({ "machine": machine::described().unwrap(), "points": points, "model": model });
    let text = serde_json::to_string_pretty(&json).unwrap();
    fs::write(directory().join("scaling.json"), text + "\n").unwrap();
}
