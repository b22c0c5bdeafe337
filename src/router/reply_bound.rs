//! The bound on a reply that is joined of many.

use bytes::Bytes;

use crate::protocol::resp::encode;

/// The largest reply that is joined of many: no client could take more.
#[derive(Clone, Copy, Debug)]
pub struct ReplyBound {
    /// Bytes.
    pub bytes: usize,
    /// The setting that gives it.
    pub name: &'static str,
}

// === impl ReplyBound ===

impl ReplyBound {
    /// The error reply in place of a reply beyond the bound.
    pub(super) fn exceeded(self) -> Bytes {
        let ReplyBound { bytes, name } = self;
        encode::error_reply(format!("ERR nearside: the reply is larger than {bytes} bytes ({name})"))
    }
}
