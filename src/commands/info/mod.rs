//! INFO: what a client of one standalone Redis expects to read, and how the daemon is doing.
//!
//! Begin with `sections.rs`; the primaries are asked for the two sections that are about the data.

mod command;
mod primaries;
mod process;
mod sections;

pub(super) use command::info as answer;
