//! The warm file: the names of the hottest reads, which survive a restart. Replies are never in it.
//!
//! After a restart the daemon sends these reads again, as a client would (`daemon/warm.rs`). Must never know:
//! which reads are hot, or how a read is sent. Begin with `snapshot.rs`, the format of the file.

mod snapshot;

pub use snapshot::{Snapshot, SnapshotError};

/// Bytes of all arguments of one read that is remembered.
pub const READ_BYTES_MAX: usize = 512;

/// Reads of one key that are remembered.
pub const READS_PER_KEY_MAX: usize = 8;
