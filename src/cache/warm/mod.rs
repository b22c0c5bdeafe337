//! What survives a restart: the names of the hottest reads, never their replies. They are read again, as if a
//! client asked.

mod snapshot;

pub use snapshot::{Snapshot, SnapshotError};

/// Bytes of all arguments of one read that is remembered.
pub const READ_BYTES_MAX: usize = 512;

/// Reads of one key that are remembered.
pub const READS_PER_KEY_MAX: usize = 8;
