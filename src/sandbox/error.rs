//! What can go wrong with a throwaway server, said so that the reader knows what to do.

use std::io;
use std::path::PathBuf;

/// Why a throwaway server, or a conversation with it, failed.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// There is no server program to start.
    #[error(
        "neither redis-server nor valkey-server is on the PATH: install one (Debian and Ubuntu: \
         `apt-get install redis-server`, macOS: `brew install redis`), or name one in NEARSIDE_REDIS_SERVER"
    )]
    NoServer,
    /// NEARSIDE_REDIS_SERVER names something that is not a file.
    #[error("NEARSIDE_REDIS_SERVER names {0}, which is not a file")]
    NotAServer(PathBuf),
    /// A server ended while it started.
    #[error("{program} did not start; the end of its log:\n{log}")]
    Start {
        /// The program that was started.
        program: PathBuf,
        /// The last lines that it wrote.
        log: String,
    },
    /// The operating system or the other side of a conversation refused.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// A server answered a control command with an error, or with something that was not expected.
    #[error("{address} answered `{command}` with: {reply}")]
    Refused {
        /// The server that answered.
        address: String,
        /// What it was asked.
        command: String,
        /// What it said.
        reply: String,
    },
    /// Something that was waited for did not happen.
    #[error("waited {seconds} s in vain: {what}")]
    Timeout {
        /// What should have happened, and what was seen last.
        what: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// No running node of the cluster fits.
    #[error("no running node {0}")]
    NoNode(String),
    /// A step of the live demonstration did not hold.
    #[error("the demonstration failed at \"{step}\": {seen}")]
    Shown {
        /// The step.
        step: String,
        /// What was seen instead.
        seen: String,
    },
}

// === impl DevError ===

impl DevError {
    /// Says what was being done when the system refused; made for `map_err`.
    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> DevError {
        let what = what.into();
        move |source| DevError::Io { what, source }
    }
}
