//! The report: a row for each command, what has to be changed, and the policies that fit.

use std::fmt;

use serde::Serialize;

use super::observations::{Examples, Observations, PrefixUsage, Usage};
use super::verdict::{CommandVerdict, is_split};
use crate::config::CompatUpstream;
use crate::protocol::command::{number_of, numbered};

/// Reads and writes of a prefix from which on a policy is proposed.
const PREFIX_USES_MIN: u64 = 100;

/// What is reported.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    upstream: CompatUpstream,
    /// Commands that were read one by one, and lines that could not be judged.
    read: u64,
    unreadable: u64,
    /// The most used first.
    commands: Vec<CommandRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transactions_over_several_slots: Option<ExampleRow>,
    databases: Vec<u32>,
    /// The namespace in which all of it works in front of a cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<NamespaceRow>,
    policies: Vec<PolicyRow>,
}

#[derive(Debug, Serialize)]
struct CommandRow {
    command: String,
    calls: u64,
    #[serde(flatten)]
    verdict: CommandVerdict,
    /// What has it work in front of a cluster, if a request needs something.
    #[serde(skip_serializing_if = "Option::is_none")]
    needs: Option<&'static str>,
    /// Requests whose keys lie in several slots, which a cluster refuses.
    #[serde(skip_serializing_if = "Option::is_none")]
    keys_of_several_slots: Option<ExampleRow>,
    /// Keys that a script uses and does not declare.
    #[serde(skip_serializing_if = "Option::is_none")]
    undeclared_keys: Option<ExampleRow>,
}

#[derive(Debug, Serialize)]
struct ExampleRow {
    count: u64,
    examples: Vec<String>,
}

/// A namespace of the configuration.
#[derive(Debug, Serialize)]
struct NamespaceRow {
    name: &'static str,
    listen: [&'static str; 1],
    pin: bool,
}

/// The namespace that is proposed: all clients of the default address, in one slot. It has databases 0 to 15.
const PINNED: NamespaceRow = NamespaceRow { name: "app", listen: ["127.0.0.1:6379"], pin: true };

/// A prefix that is not worth keeping in memory.
#[derive(Debug, Serialize)]
struct PolicyRow {
    prefix: String,
    reads: u64,
    writes: u64,
}

// === impl ExampleRow ===

impl ExampleRow {
    fn of(examples: &Examples) -> Option<ExampleRow> {
        (examples.count > 0).then(|| ExampleRow { count: examples.count, examples: examples.shown.clone() })
    }
}

impl fmt::Display for ExampleRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            1 => write!(f, "once, {}", self.examples.join("; ")),
            count => write!(f, "{count} times, for example {}", self.examples.join("; ")),
        }
    }
}

// === impl Report ===

impl Report {
    /// The report on what was seen, in front of `upstream`.
    pub(super) fn of(seen: &Observations, upstream: CompatUpstream) -> Report {
        let in_cluster = upstream == CompatUpstream::Cluster;
        let mut commands: Vec<CommandRow> =
            seen.commands.iter().map(|(name, usage)| row(name, usage, upstream)).collect();
        commands
            .sort_by(|one, other| other.calls.cmp(&one.calls).then_with(|| one.command.cmp(&other.command)));
        let written_more =
            |usage: &PrefixUsage| usage.reads + usage.writes >= PREFIX_USES_MIN && usage.writes > usage.reads;
        let mut policies: Vec<PolicyRow> = seen
            .prefixes
            .iter()
            .filter(|(_, usage)| written_more(usage))
            .map(|(prefix, PrefixUsage { reads, writes })| PolicyRow {
                prefix: prefix.clone(),
                reads: *reads,
                writes: *writes,
            })
            .collect();
        policies.sort_by(|one, other| one.prefix.cmp(&other.prefix));
        let wide_transactions = ExampleRow::of(&seen.wide_transactions).filter(|_| in_cluster);
        let needs_pin = commands.iter().any(|row| row.needs.is_some()) || wide_transactions.is_some();
        Report {
            upstream,
            namespace: needs_pin.then_some(PINNED),
            read: seen.lines,
            unreadable: seen.unreadable,
            commands,
            transactions_over_several_slots: wide_transactions,
            databases: seen.databases.iter().copied().collect(),
            policies,
        }
    }
}

fn row(name: &str, usage: &Usage, upstream: CompatUpstream) -> CommandRow {
    let spec = numbered(number_of(name));
    let in_cluster = upstream == CompatUpstream::Cluster;
    let refused = in_cluster && !spec.is_some_and(is_split);
    let keys_of_several_slots = ExampleRow::of(&usage.wide).filter(|_| refused);
    let undeclared_keys = ExampleRow::of(&usage.undeclared).filter(|_| in_cluster);
    let needs_pin = keys_of_several_slots.is_some() || undeclared_keys.is_some();
    CommandRow {
        needs: needs_pin.then_some("pin"),
        command: name.to_uppercase().replace('|', " "),
        calls: usage.counted.max(usage.seen),
        verdict: spec.map_or(CommandVerdict::Unknown, |spec| CommandVerdict::of(spec, upstream)),
        keys_of_several_slots,
        undeclared_keys,
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match self.upstream {
            CompatUpstream::Cluster => "a cluster",
            CompatUpstream::Server => "one server",
        };
        writeln!(f, "nearside in front of {place}; {} commands were read one by one.", self.read)?;
        if self.unreadable > 0 {
            writeln!(f, "{} lines could not be judged.", self.unreadable)?;
        }
        if self.commands.is_empty() {
            return writeln!(f, "No command was seen.");
        }
        writeln!(f, "\n{:<24} {:>12}  verdict", "command", "calls")?;
        for row in &self.commands {
            writeln!(f, "{:<24} {:>12}  {}", row.command, row.calls, said(&row.verdict))?;
            if let Some(wide) = &row.keys_of_several_slots {
                writeln!(f, "{:<38} needs pin, else refused with CROSSSLOT: {wide}", "")?;
            }
            if let Some(undeclared) = &row.undeclared_keys {
                writeln!(
                    f,
                    "{:<38} needs pin, uses keys that the script does not declare: {undeclared}",
                    ""
                )?;
            }
        }
        if let Some(wide) = &self.transactions_over_several_slots {
            writeln!(
                f,
                "\nTransactions over several slots need pin or per_slot, else refused with CROSSSLOT: {wide}"
            )?;
        }
        self.advise(f)
    }
}

impl Report {
    fn advise(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(NamespaceRow { name, listen, pin }) = &self.namespace {
            writeln!(
                f,
                "\nAll keys of a pinned namespace lie in one slot of a cluster, so that all of this works there:\n\n\
                 [[namespace]]\nname = {name:?}\nlisten = {listen:?}\npin = {pin}\n\n\
                 Or give keys that meet a hash tag, as in {{user1}}:a and {{user1}}:b, and pass all keys of a script \
                 as KEYS."
            )?;
        }
        if self.transactions_over_several_slots.is_some() {
            writeln!(
                f,
                "\nFor transactions alone, without WATCH, this is enough if each slot's part may be atomic by itself:\n\n\
                 transactions = \"per_slot\""
            )?;
        }
        if self.upstream == CompatUpstream::Cluster && self.databases.iter().any(|number| *number > 0) {
            let numbers: Vec<String> = self.databases.iter().map(u32::to_string).collect();
            let wanted = self.databases.iter().max().map_or(1, |last| last.saturating_add(1));
            writeln!(
                f,
                "\nThe databases {} are used; most clusters have database 0 alone. A namespace has databases 0 to 15, and \
                 without one this makes them:\n\ndatabases = {wanted}",
                numbers.join(", ")
            )?;
        }
        if !self.policies.is_empty() {
            writeln!(f, "\nWritten more often than read, so not worth keeping in memory:")?;
        }
        for PolicyRow { prefix, reads, writes } in &self.policies {
            writeln!(
                f,
                "\n# {reads} reads, {writes} writes\n[[policy]]\nprefix = {prefix:?}\ncache = false"
            )?;
        }
        let noticed = self.commands.iter().filter(|row| row.verdict.is_noticed()).count();
        let broken = self.commands.iter().filter(|row| is_broken(row)).count();
        writeln!(
            f,
            "\n{} kinds of commands: {broken} do not work as they are, {noticed} are refused or differ as said above.",
            self.commands.len()
        )
    }
}

fn is_broken(row: &CommandRow) -> bool {
    matches!(row.verdict, CommandVerdict::Refused(_)) || row.needs.is_some()
}

fn said(verdict: &CommandVerdict) -> String {
    match verdict {
        CommandVerdict::Cacheable => "cacheable".to_owned(),
        CommandVerdict::Identical => "identical".to_owned(),
        CommandVerdict::Different(how) => format!("different: {how}"),
        CommandVerdict::Refused(why) => format!("refused: {why}"),
        CommandVerdict::Unknown => {
            "unknown here: the servers are asked what it is; nothing of it is kept in memory".to_owned()
        }
    }
}
