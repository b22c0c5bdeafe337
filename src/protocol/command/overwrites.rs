//! Which commands leave nothing of what their keys held before.

use bytes::Bytes;

use super::Spec;
use crate::protocol::resp::request::Request;

impl Spec {
    /// The keys that a request overwrites completely, unless it fails. Only for such a request can its own
    /// invalidation be separated from those of others: earlier writes of other clients are gone as well.
    pub fn overwritten_keys(&self, request: &Request<'_>) -> Vec<Bytes> {
        let overwrites = match self.name {
            "set" => request.len() == 3 || request.len() == 5 && is_lifetime(request.arg(3)),
            "setex" | "psetex" | "mset" | "getset" | "del" | "unlink" => true,
            _ => false,
        };
        let positions = self.keys.positions(request).ok().filter(|_| overwrites).into_iter().flatten();
        positions.map(|position| Bytes::copy_from_slice(request.arg(position))).collect()
    }
}

fn is_lifetime(option: &[u8]) -> bool {
    [&b"ex"[..], b"px", b"exat", b"pxat"].iter().any(|known| option.eq_ignore_ascii_case(known))
}
