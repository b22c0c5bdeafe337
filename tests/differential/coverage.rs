//! Counts what every row of the command table was asked, and how often the answer was no error.

use std::collections::{BTreeMap, BTreeSet};

use nearside::protocol::command::{Spec, all};

use crate::differences::Difference;
use crate::settings::Setting;

/// What was asked of the rows, and which differences were needed.
#[derive(Default)]
pub(crate) struct Coverage {
    asked: BTreeMap<&'static str, Count>,
    /// Differences that were needed.
    pub(crate) used: BTreeSet<&'static Difference>,
}

#[derive(Clone, Copy, Default)]
struct Count {
    asked: usize,
    answered: usize,
}

/// Rows that no server answers with anything but an error here, and why.
const NEVER_ANSWERED: [(&str, &str); 4] = [
    ("config|rewrite", "the servers have no file"),
    ("function|kill", "no function runs long enough to be ended"),
    ("latency|graph", "nothing is slow enough to be drawn"),
    ("script|kill", "no script runs long enough to be ended"),
];

// === impl Coverage ===

impl Coverage {
    /// A plain server, or for what it must not be asked nearside, said `reply` to a request of `spec`.
    pub(crate) fn count(&mut self, spec: &'static Spec, reply: &[u8]) {
        let count = self.asked.entry(spec.name).or_default();
        count.asked += 1;
        count.answered += usize::from(!reply.starts_with(b"-"));
    }

    /// The same of a request whose reply was compared together with others.
    pub(crate) fn count_named(&mut self, name: &str, is_answered: bool) {
        if let Some(row) = rows().find(|row| row.name == name) {
            self.count(row, if is_answered { b"+" } else { b"-" });
        }
    }

    /// What the conversations of one family with itself leave open: rows that were asked less often than
    /// `least` says, and known rows that were never answered.
    pub(crate) fn gaps(
        &self,
        setting: &Setting,
        least: impl Fn(&Spec) -> usize,
        is_answerable: impl Fn(&Spec) -> bool,
    ) -> Vec<String> {
        let mut gaps = Vec::new();
        for row in rows() {
            let count = self.asked.get(row.name).copied().unwrap_or_default();
            if count.asked < least(row) {
                gaps.push(format!("{} was asked {} times", row.name, count.asked));
            }
            let never = NEVER_ANSWERED.iter().any(|(name, _)| *name == row.name)
                || (row.name == "move" && setting.databases == 1);
            if is_answerable(row) && (count.answered == 0) != never {
                gaps.push(format!("{} was answered {} times", row.name, count.answered));
            }
        }
        gaps
    }

    /// How many requests were compared.
    pub(crate) fn total(&self) -> usize {
        self.asked.values().map(|count| count.asked).sum()
    }
}

/// Every row that a request can be recognised as: subcommands, and their container only if it is a command by
/// itself.
pub(crate) fn rows() -> impl Iterator<Item = &'static Spec> {
    // Redis has nothing like NEARSIDE.
    all().filter(|spec| spec.name != "nearside").flat_map(|spec| {
        let alone = spec.subcommands.is_empty() || spec.arity.unsigned_abs() == 1;
        alone.then_some(spec).into_iter().chain(spec.subcommands)
    })
}
