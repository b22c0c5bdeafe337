//! The two requests around the commands of a transaction.

/// MULTI as a request.
pub(in crate::router) const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";

/// EXEC as a request.
pub(in crate::router) const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";
