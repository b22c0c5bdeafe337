//! The figures of docs/hit-ratio.md, put between the marks in that file, and the same as JSON.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde_json::json;

use crate::contenders::{self, NEARSIDE};
use crate::figures;
use crate::generated::LOOP;
use crate::machine;
use crate::other_writes::OtherWrites;
use crate::plot::directory;
use crate::rows::{Row, SHARES, relative};

/// Misses to those of Redis' LRU: the mean of all rows, and the worst of them.
const MEAN_GOAL: f64 = 0.85;
const WORST_GOAL: f64 = 1.05;
/// Points of hits that 20 % writes of other keys may cost.
const OTHER_WRITES: f64 = 0.2;
const OTHER_WRITES_GOAL: f64 = 0.1;

/// Hits of the loop with a tenth of its bytes, in percent: there it is decided whether a policy stands a
/// loop.
const LOOP_SHARE: f64 = 0.1;
const LOOP_GOAL: f64 = 38.0;

/// The tables. `command` made them.
pub(crate) fn tables(rows: &[Row], writes: &[OtherWrites], command: &str) -> String {
    let mut out = String::new();
    writeln!(out, "`{command}` printed this on {}.\n", machine::described().unwrap()).unwrap();
    goals(&mut out, rows, writes);
    means(&mut out, rows);
    hits(&mut out, rows);
    tracked(&mut out, rows);
    other_writes(&mut out, writes);
    out
}

fn goals(out: &mut String, rows: &[Row], writes: &[OtherWrites]) {
    out.push_str("| what | goal | measured | holds |\n|---|---|---|---|\n");
    let all = relative(rows.iter(), NEARSIDE).unwrap();
    let lost = writes[0].hits - writes.iter().find(|one| one.part == OTHER_WRITES).unwrap().hits;
    let mut goal = |what: &str, goal: f64, measured: f64, shown: String| {
        let holds = if measured <= goal { "yes" } else { "no" };
        writeln!(out, "| {what} | {goal} or less | {shown} | {holds} |").unwrap();
    };
    let mean = all.geometric_mean;
    goal("misses to those of Redis LRU, geometric mean of all rows", MEAN_GOAL, mean, format!("{mean:.2}"));
    let worst = format!("{:.2} ({})", all.worst, all.worst_at);
    goal("the same, the worst row", WORST_GOAL, all.worst, worst);
    let shown = format!("{lost:.2}");
    goal("points of hits lost to 20 % writes of other keys", OTHER_WRITES_GOAL, lost, shown);
    if let Some(row) = rows.iter().find(|row| row.trace == LOOP && row.share == LOOP_SHARE) {
        let hits = row.hits[NEARSIDE];
        let holds = if hits >= LOOP_GOAL { "yes" } else { "no" };
        let what = format!("percent of hits of \"{LOOP}\" at {:.0} %", 100.0 * LOOP_SHARE);
        writeln!(out, "| {what} | {LOOP_GOAL} or more | {hits:.2} | {holds} |").unwrap();
    }
}

fn means(out: &mut String, rows: &[Row]) {
    out.push_str("\n### Misses to those of Redis LRU\n\nGeometric means.\n\n| who |");
    for share in SHARES {
        write!(out, " recorded, {:.0} % |", 100.0 * share).unwrap();
    }
    out.push_str(" recorded, all | drawn, all | all | worst |\n|---|---|---|---|---|---|---|---|\n");
    for (number, contender) in contenders::ALL.into_iter().enumerate() {
        write!(out, "| {} |", contender.name()).unwrap();
        let mut mean = |filter: &dyn Fn(&&Row) -> bool| match relative(rows.iter().filter(filter), number) {
            Some(relative) => write!(out, " {:.2} |", relative.geometric_mean).unwrap(),
            None => out.push_str(" - |"),
        };
        for share in SHARES {
            mean(&|row| row.is_recorded && row.share == share);
        }
        mean(&|row| row.is_recorded);
        mean(&|row| !row.is_recorded);
        mean(&|_| true);
        let worst = relative(rows.iter(), number).unwrap();
        writeln!(out, " {:.2} ({}) |", worst.worst, worst.worst_at).unwrap();
    }
}

fn hits(out: &mut String, rows: &[Row]) {
    out.push_str("\n### Hits, percent of the reads\n\n| trace | reads | keys | budget, MiB |");
    contenders::ALL.iter().for_each(|contender| write!(out, " {} |", contender.name()).unwrap());
    out.push_str("\n|---|---|---|---|");
    out.push_str(&"---|".repeat(contenders::ALL.len()));
    out.push('\n');
    for row in rows {
        let Row { trace, reads, keys, share, budget_mib, .. } = row;
        write!(out, "| {trace} | {reads} | {keys} | {budget_mib:.1} ({:.0} %) |", 100.0 * share).unwrap();
        for (number, hits) in row.hits.iter().enumerate() {
            let mark = if number == NEARSIDE { "**" } else { "" };
            write!(out, " {mark}{hits:.2}{mark} |").unwrap();
        }
        out.push('\n');
    }
}

fn tracked(out: &mut String, rows: &[Row]) {
    out.push_str(
        "\n### Hits beside tracked keys\n\n| trace | budget | hits of nearside, % | entries at the end | keys that the server tracks at \
         the end | if each read were tracked | tracked for an entry |\n|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let Row { trace, share, hits, entries, tracked, all_read, .. } = row;
        writeln!(
            out,
            "| {trace} | {:.0} % | {:.2} | {entries} | {tracked} | {all_read} | {:.1} |",
            100.0 * share,
            hits[NEARSIDE],
            *tracked as f64 / (*entries).max(1) as f64
        )
        .unwrap();
    }
}

fn other_writes(out: &mut String, writes: &[OtherWrites]) {
    out.push_str(
        "\n### Writes of other keys\n\n| part of all operations that writes keys which nobody reads | hits, % of the reads | \
         points lost |\n|---|---|---|\n",
    );
    for OtherWrites { part, hits } in writes {
        writeln!(out, "| {:.0} % | {hits:.2} | {:.2} |", 100.0 * part, writes[0].hits - hits).unwrap();
    }
}

/// Puts the tables into the page, and all that was measured beside the plots.
pub(crate) fn write(tables: &str, rows: &[Row], writes: &[OtherWrites], command: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/hit-ratio.md");
    figures::put(&path, tables).unwrap();
    let names: Vec<_> = contenders::ALL.iter().map(|contender| contender.name()).collect();
    let machine = machine::described().unwrap();
    let json = json!({
        "command": command, "machine": machine, "contenders": names, "rows": rows, "other_writes": writes,
    });
    let text = serde_json::to_string_pretty(&json).unwrap();
    fs::write(directory().join("hit-ratio.json"), text + "\n").unwrap();
}
