//! The command table as the prologue of a script has it: one text, in which a command is found by its name.
//!
//! An entry is `;name:code`. No code means that argument 1 is the only key; the others are what `place` and
//! `back` in `prologue.lua` look at.

use std::fmt::Write;
use std::sync::LazyLock;

use crate::protocol::command::{
    self, Class, Database, Flags, Keys, Keyspace, Local, ReplyNames, RequiredState, Spec,
};

/// Whole families that show what belongs to all clients of a server.
const ABOUT_SERVERS: [&str; 3] = ["cluster", "commandlog", "slowlog"];

/// All entries.
pub(super) fn text() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        // Those of data come first, as they are looked for most.
        let (data, others): (Vec<&Spec>, Vec<&Spec>) =
            command::all().filter(|spec| spec.name != "nearside").partition(|spec| spec.keys != Keys::None);
        let mut text = String::new();
        for spec in data.into_iter().chain(others) {
            if spec.subcommands.is_empty() || ABOUT_SERVERS.contains(&spec.name) {
                let _ = write!(text, ";{}:{}", spec.name, code(spec));
            } else {
                let _ = write!(text, ";{}:+", spec.name);
            }
            for sub in spec.subcommands.iter().filter(|_| !ABOUT_SERVERS.contains(&spec.name)) {
                let _ = write!(text, ";{}:{}", sub.name, code(sub));
            }
        }
        text + ";"
    });
    &TEXT
}

/// Where names stand in a command and in its reply.
fn code(spec: &Spec) -> String {
    if is_refused(spec) {
        return "x".to_owned();
    }
    let places = match spec.class {
        Class::Forward if spec.flags.has(Flags::UNNAMED) => "o".to_owned(),
        Class::Keyspace(Keyspace::Scan) => "n".to_owned(),
        // A pattern has the place of a key.
        Class::Keyspace(_) => String::new(),
        Class::Database(Database::Copy) => "y".to_owned(),
        Class::Database(_) => "v".to_owned(),
        Class::Local(Local::Select) => "l".to_owned(),
        Class::Publish => "p".to_owned(),
        _ => key_places(spec.keys),
    };
    match spec.names {
        ReplyNames::Elements => places + ">e",
        ReplyNames::Page => places + ">p",
        ReplyNames::First => places + ">f",
        ReplyNames::Streams => places + ">t",
        _ => places,
    }
}

fn key_places(keys: Keys) -> String {
    match keys {
        Keys::None => "0".to_owned(),
        Keys::Range { first: 1, last: 1, .. } => String::new(),
        Keys::Range { first, last, step } => format!("r{first},{last},{step}"),
        Keys::Count { at, step } => format!("c{at},{step}"),
        Keys::DestCount { dest, at } => format!("d{dest},{at}"),
        Keys::Streams => "s".to_owned(),
        Keys::SortStore => "o".to_owned(),
        Keys::GeoStore => "g".to_owned(),
        Keys::SortDestination | Keys::GeoDestination | Keys::Migrate | Keys::Movable => "x".to_owned(),
    }
}

/// Whether a script in a namespace may not use it: it acts on what all clients of a server share, or shows
/// that. What no script may use is left to the server.
fn is_refused(spec: &Spec) -> bool {
    spec.flags.has(Flags::SHARED)
        || ABOUT_SERVERS.contains(&spec.name)
        || matches!(
            spec.class,
            Class::Keyspace(Keyspace::Count | Keyspace::Flush | Keyspace::RandomKey)
                | Class::Database(Database::Swap)
                | Class::Session(RequiredState::PubSub(_))
        )
}
