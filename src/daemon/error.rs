//! Why a daemon does not run.

use std::io;

/// Why the daemon did not start or did not go on.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// A socket could not be bound; the text names it.
    #[error("{0}")]
    Listen(io::Error),
    /// The system lets the process open too few files for a single client.
    #[error(
        "only {limit} files may be open, too few for any client: set LimitNOFILE= of the unit, or ulimit -n, to {wanted} \
         at least"
    )]
    Descriptors {
        /// What it lets it open.
        limit: usize,
        /// What is wanted for all clients.
        wanted: usize,
    },
    /// The system refused a thread, a runtime or a signal handler.
    #[error("cannot start: {0}")]
    Start(io::Error),
}
