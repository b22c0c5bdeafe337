//! INFO: what a client of one standalone Redis expects to read, and how the daemon is doing.
//!
//! Must never know: how a counter is counted. Primaries are asked for the two sections about data. Begin with
//! `sections.rs` (the fields), then `command.rs` (which sections a request wants).

mod command;
mod primaries;
mod process;
mod sections;

pub(super) use command::info as answer;
