//! The categories of commands that Redis's ACL knows, but for `@fast` and `@slow`, which are of no use to
//! name here.

use super::index::number_of;
use super::table::FAMILIES;
use super::{Flags, Spec};

/// Whose members.
enum CategoryMembers {
    /// The rows with this flag, and these.
    Flagged(Flags, &'static [&'static str]),
    /// The rows of this family, and those whose names begin so.
    Family(usize, &'static [&'static str]),
}

use CategoryMembers::{Family, Flagged};

/// The categories by name, the families by their places in the table.
const CATEGORIES: [(&str, CategoryMembers); 19] = [
    ("read", Flagged(Flags::READ, &[])),
    ("write", Flagged(Flags::WRITE, &[])),
    ("admin", Flagged(Flags::ADMIN, ADMIN)),
    ("dangerous", Flagged(Flags::ADMIN, DANGEROUS)),
    ("blocking", Flagged(Flags::BLOCKING, &[])),
    ("bitmap", Family(0, &[])),
    ("connection", Family(2, &["asking", "command", "readonly", "readwrite"])),
    ("geo", Family(3, &[])),
    ("hash", Family(4, &[])),
    ("hyperloglog", Family(5, &[])),
    ("keyspace", Family(6, &[])),
    ("list", Family(7, &["sort"])),
    ("pubsub", Family(8, &[])),
    ("scripting", Family(SCRIPTING, &[])),
    ("set", Family(11, &["sort"])),
    ("sortedset", Family(12, &["sort"])),
    ("stream", Family(13, &[])),
    ("string", Family(14, &[])),
    ("transaction", Family(15, &[])),
];

/// The family of what runs scripts.
const SCRIPTING: usize = 9;

/// Beside those that COMMAND calls so.
const ADMIN: &[&str] = &["lastsave", "role"];

/// Beside those that administer.
const DANGEROUS: &[&str] = &[
    "flushall",
    "flushdb",
    "info",
    "keys",
    "lastsave",
    "migrate",
    "restore",
    "restore-asking",
    "role",
    "sort",
    "sort_ro",
    "swapdb",
];

/// The names of the categories.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    CATEGORIES.iter().map(|(name, _)| *name)
}

/// The names of the commands and subcommands in a category; `None` when there is none of this name.
pub fn members(category: &str) -> Option<Vec<&'static str>> {
    let (_, members) = CATEGORIES.iter().find(|(name, _)| *name == category)?;
    let is_member = |family: usize, spec: &Spec| match members {
        // Redis calls none of those that run a script a read.
        Flagged(Flags::READ, _) if family == SCRIPTING => false,
        Flagged(flag, others) => spec.flags.has(*flag) || others.contains(&spec.name),
        Family(wanted, others) => {
            let command = spec.name.split('|').next().unwrap_or_default();
            let is_other =
                others.iter().any(|other| command == *other || (*other == "sort" && command == "sort_ro"));
            family == *wanted && !matches!(command, "sort" | "sort_ro") || is_other
        }
    };
    let rows =
        FAMILIES.iter().enumerate().flat_map(|(family, rows)| rows.iter().map(move |row| (family, row)));
    // A container is what its subcommands are, but for COMMAND, which is something by itself.
    let each = rows.flat_map(|(family, row)| {
        let own = (row.subcommands.is_empty() || row.arity == -1).then_some(row);
        own.into_iter().chain(row.subcommands).map(move |spec| (family, spec))
    });
    let mut found: Vec<&str> =
        each.filter(|(family, spec)| is_member(*family, spec)).map(|(_, spec)| spec.name).collect();
    found.retain(|name| number_of(name) > 0);
    Some(found)
}
