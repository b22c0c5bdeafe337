//! What a client in a namespace asks about all keys: DBSIZE, FLUSHDB, FLUSHALL, RANDOMKEY, SCAN, KEYS, and
//! how many each database has, for INFO. The servers have no command for the keys of a namespace, so each is
//! a walk over their names (`router/scan/`), step by step, so that others get their turn. A pinned namespace
//! lies in one slot, and its walk goes there alone.
//!
//! Must never know: L1, beside that UNLINK drops what it removes there. Begin with `commands.rs`.

pub(super) mod commands;
mod count;
mod database_names;
mod flush;
mod random;
