//! The rows of the command table, one file for each family of commands.
//!
//! Names, arity, flags and positions are what COMMAND says on Redis 7.0 and Valkey 9.1; a test compares them.
//! Commands of Redis 8 that neither has ask for as few arguments as hold their key, so the server judges the
//! rest.
//!
//! Must never know: what the classes of the rows do. Begin with `builder.rs` (the functions that make a row),
//! then `strings.rs`, a typical family.

mod bitmaps;
mod builder;
mod cluster;
mod connection;
mod geo;
mod hashes;
mod hyperloglogs;
mod keyspace;
mod lists;
mod pubsub;
mod scripting;
mod server;
mod sets;
mod sorted_sets;
mod streams;
mod strings;
mod transactions;
mod vector_sets;

use super::Spec;

/// All rows, by family.
pub(super) const FAMILIES: [&[Spec]; 17] = [
    bitmaps::ROWS,
    cluster::ROWS,
    connection::ROWS,
    geo::ROWS,
    hashes::ROWS,
    hyperloglogs::ROWS,
    keyspace::ROWS,
    lists::ROWS,
    pubsub::ROWS,
    scripting::ROWS,
    server::ROWS,
    sets::ROWS,
    sorted_sets::ROWS,
    streams::ROWS,
    strings::ROWS,
    transactions::ROWS,
    vector_sets::ROWS,
];
