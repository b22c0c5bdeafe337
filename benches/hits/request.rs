//! One request of a trace.

/// The number of a key: they are counted from 0 in the order of their first request.
pub(crate) type Key = u32;

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Read(Key),
    /// Somebody writes the key: what a cache has of it is stale.
    Write(Key),
}

// === impl Request ===

impl Request {
    pub(crate) fn key(self) -> Key {
        match self {
            Request::Read(key) | Request::Write(key) => key,
        }
    }
}
