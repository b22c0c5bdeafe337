//! What EXEC answers when it carries out nothing: in Redis's words, with the error that a command of it met.

use bytes::Bytes;

use crate::protocol::resp::cursor::{self, ReplyHead};
use crate::protocol::resp::encode;

/// ASKING holds for one command and cannot be said inside MULTI, so no node can carry out a transaction on
/// keys that are on their way to another node.
pub const SLOT_IS_MOVING: &[u8] = b"-TRYAGAIN the slot of its keys is moving to another node\r\n";

/// The reply to EXEC of a transaction in which a command met `error`.
pub fn exec_abort(error: &[u8]) -> Bytes {
    let text = error.strip_prefix(b"-ERR ").or(error.strip_prefix(b"-")).unwrap_or(error);
    let cause = String::from_utf8_lossy(text.strip_suffix(b"\r\n").unwrap_or(text));
    encode::error_reply(format!("EXECABORT Transaction discarded because of: {cause}"))
}

/// Whether EXEC can have answered `frame` to so many queued commands, if that is no error: as many replies,
/// or null.
pub fn answers_exec(frame: &[u8], commands: usize) -> bool {
    match cursor::head(frame) {
        Some(ReplyHead::Aggregate { kind: b'*', count }) => count == commands,
        Some(ReplyHead::Null { .. }) => true,
        _ => false,
    }
}
