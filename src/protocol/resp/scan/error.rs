//! The errors of requests that are none, in Redis's words.

use std::fmt;

/// What is wrong with a request, in Redis's words. The connection cannot go on after it.
#[derive(Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// More arguments than a client may send that has a password to say yet.
    RestrainedMultibulkLength,
    /// A longer argument than such a client may send.
    RestrainedBulkLength,
    /// The count of arguments is no number, or above the limit.
    MultibulkLength,
    /// The length of an argument is no number, or above the limit.
    BulkLength,
    /// Something else where an argument had to begin.
    ExpectedDollar(u8),
    /// A count line without an end.
    CountLine,
    /// A length line without an end.
    LengthLine,
    /// An inline command without an end.
    InlineLength,
    /// An inline command whose quotes do not match.
    InlineQuotes,
}

// === impl ProtocolError ===

impl ProtocolError {
    /// The text of the error reply. Redis prints an unexpected byte unchanged, whatever it is.
    pub fn text(&self) -> Vec<u8> {
        match self {
            ProtocolError::ExpectedDollar(got) => {
                [&b"Protocol error: expected '$', got '"[..], &[*got], b"'"].concat()
            }
            _ => self.to_string().into_bytes(),
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Protocol error: ")?;
        match self {
            ProtocolError::RestrainedMultibulkLength => f.write_str("unauthenticated multibulk length"),
            ProtocolError::RestrainedBulkLength => f.write_str("unauthenticated bulk length"),
            ProtocolError::MultibulkLength => f.write_str("invalid multibulk length"),
            ProtocolError::BulkLength => f.write_str("invalid bulk length"),
            ProtocolError::ExpectedDollar(got) => write!(f, "expected '$', got '{}'", got.escape_ascii()),
            ProtocolError::CountLine => f.write_str("too big mbulk count string"),
            ProtocolError::LengthLine => f.write_str("too big bulk count string"),
            ProtocolError::InlineLength => f.write_str("too big inline request"),
            ProtocolError::InlineQuotes => f.write_str("unbalanced quotes in request"),
        }
    }
}

impl std::error::Error for ProtocolError {}
