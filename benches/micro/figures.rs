//! The figures that are kept, and what is said of new ones beside them.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// A scenario that needs so many times the instructions is worse, and the check fails. Less is reported.
const WORSE_FROM: f64 = 1.05;

/// One that needs so few is better, and its figure should be kept, so that it stays so.
const BETTER_FROM: f64 = 1.0 / WORSE_FROM;

const OTHER_TOOLS: &str = "NOT JUDGED: the kept figures were made with another compiler, C library, valgrind or kind of \
    processor, and differ for that alone. NEARSIDE_BLESS=1 make counts keeps the new ones.";

const WHAT_TO_DO: &str = "FAILED: a scenario takes over 5 % more instructions than it did, or has no figure. If that is \
    what the change is worth, say why in its commit and keep the new figures: NEARSIDE_BLESS=1 make counts";

/// How many instructions each scenario takes for one operation, and with what that was found out.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Figures {
    pub(crate) tools: Tools,
    pub(crate) instructions: BTreeMap<String, f64>,
}

/// What the figures depend on beside the code.
#[derive(Debug, Deserialize, Serialize, PartialEq)]
pub(crate) struct Tools {
    pub(crate) rustc: String,
    pub(crate) libc: String,
    pub(crate) valgrind: String,
    pub(crate) processor: String,
}

/// New figures beside those that are kept.
pub(crate) struct Comparison<'a> {
    rows: Vec<Row<'a>>,
    /// Only with the same tools do the figures say something about the code.
    same_tools: bool,
}

struct Row<'a> {
    name: &'a str,
    before: Option<f64>,
    now: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Same,
    Better,
    Worse,
    /// There is no figure for it.
    New,
    /// There is a figure and no such scenario.
    Gone,
}

// === impl Figures ===

impl Figures {
    pub(crate) fn read(path: &Path) -> io::Result<Figures> {
        Ok(serde_json::from_str(&std::fs::read_to_string(path)?)?)
    }

    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        std::fs::write(path, serde_json::to_string_pretty(self)? + "\n")
    }

    /// These, which are new, beside those that were kept.
    pub(crate) fn compare<'a>(&'a self, kept: &'a Figures) -> Comparison<'a> {
        let now = self.instructions.iter().map(|(name, now)| Row {
            name,
            before: kept.instructions.get(name).copied(),
            now: Some(*now),
        });
        let gone = kept.instructions.iter().filter(|(name, _)| !self.instructions.contains_key(*name));
        let gone = gone.map(|(name, before)| Row { name, before: Some(*before), now: None });
        Comparison { rows: now.chain(gone).collect(), same_tools: self.tools == kept.tools }
    }
}

// === impl Comparison ===

impl Comparison<'_> {
    /// Whether nothing got worse, and each scenario has its figure; with other tools that cannot be said.
    pub(crate) fn is_good(&self) -> bool {
        let bad = |row: &Row<'_>| matches!(row.verdict(), Verdict::Worse | Verdict::New | Verdict::Gone);
        !self.same_tools || !self.rows.iter().any(bad)
    }
}

impl fmt::Display for Comparison<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<42}{:>10}{:>10}{:>8}", "instructions for one operation", "before", "now", "ratio")?;
        for row in &self.rows {
            let mut line = format!("{:<42}", row.name);
            for figure in [row.before, row.now] {
                match figure {
                    Some(figure) => write!(line, "{figure:>10.1}")?,
                    None => write!(line, "{:>10}", "-")?,
                }
            }
            match row.ratio() {
                Some(ratio) => write!(line, "{ratio:>8.3}")?,
                None => write!(line, "{:>8}", "-")?,
            }
            writeln!(f, "{line}{}", row.verdict())?;
        }
        if !self.same_tools {
            writeln!(f, "\n{OTHER_TOOLS}")?;
        } else if !self.is_good() {
            writeln!(f, "\n{WHAT_TO_DO}")?;
        }
        Ok(())
    }
}

// === impl Row ===

impl Row<'_> {
    fn ratio(&self) -> Option<f64> {
        Some(self.now? / self.before?)
    }

    fn verdict(&self) -> Verdict {
        match (self.ratio(), self.before) {
            (Some(ratio), _) if ratio > WORSE_FROM => Verdict::Worse,
            (Some(ratio), _) if ratio < BETTER_FROM => Verdict::Better,
            (Some(_), _) => Verdict::Same,
            (None, None) => Verdict::New,
            (None, Some(_)) => Verdict::Gone,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Same => "",
            Verdict::Better => "  better: keep the new figure",
            Verdict::Worse => "  WORSE",
            Verdict::New => "  NEW: has no figure yet",
            Verdict::Gone => "  GONE: there is no such scenario",
        })
    }
}
