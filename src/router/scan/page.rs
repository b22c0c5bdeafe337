//! The words of SCAN: its cursor and options as clients write them, and the pages that nodes and clients get.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::cursors::{ScanCursor, ScanState};
use super::slot_set::SlotSet;
use crate::protocol::db::DbIndex;
use crate::protocol::key::Slot;
use crate::protocol::resp::cursor::{self, ReplyHead};
use crate::protocol::resp::encode;
use crate::protocol::resp::parse_integer;
use crate::protocol::resp::request::Request;

/// The count of a SCAN that has none.
const COUNT: u64 = 10;

/// The types that every server has.
const TYPES: [&[u8]; 6] = [b"string", b"list", b"set", b"zset", b"hash", b"stream"];

/// What a walk asks of each node beside the place and the count.
#[derive(Clone, Debug)]
pub(in crate::router) struct ScanOptions {
    pub(super) options: Vec<Bytes>,
    /// Whose keys are walked over.
    pub(super) database: DbIndex,
    /// The slot of a cluster in which all of them lie, if that is known.
    pub(super) slot: Option<Slot>,
    /// Whether keys may be among them whose time is over: DBSIZE counts them too.
    pub(super) with_expired: bool,
}

/// The next cursor of the node, and its keys whose slot is covered, in their order.
pub(super) fn read_page(frame: &Bytes, covers: &SlotSet) -> Option<(u64, Vec<Bytes>)> {
    let mut parts = cursor::elements(frame)?;
    let ReplyHead::Blob { body, .. } = cursor::head(parts.next()??)? else { return None };
    let next = std::str::from_utf8(body).ok()?.parse().ok()?;
    let keys = cursor::elements(parts.next()??)?.map(|element| {
        // The element is the same in both versions of the protocol.
        let element = element.filter(|element| element.starts_with(b"$"))?;
        let ReplyHead::Blob { body, .. } = cursor::head(element)? else { return None };
        Some(covers.has(Slot::of(body)).then(|| frame.slice_ref(element)))
    });
    let keys: Option<Vec<Option<Bytes>>> = keys.collect();
    Some((next, keys?.into_iter().flatten().collect()))
}

pub(super) fn page_reply(cursor: u64, keys: &[Bytes]) -> Bytes {
    let mut out = BytesMut::with_capacity(keys.iter().map(Bytes::len).sum::<usize>() + 64);
    encode::array(&mut out, 2);
    encode::bulk(&mut out, cursor.to_string().as_bytes());
    encode::array(&mut out, keys.len());
    keys.iter().for_each(|key| out.extend_from_slice(key));
    out.freeze()
}

/// A cursor as Redis 7.0 reads it (`strtoul`): a sign and leading zeros are taken, spaces are not.
pub(super) fn parse_cursor(text: &[u8]) -> Option<u64> {
    let (negative, digits) = match text.split_first() {
        Some((b'-', digits)) => (true, digits),
        Some((b'+', digits)) => (false, digits),
        Some(_) => (false, text),
        // No number at all is where a walk begins.
        None => return Some(0),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(if negative { value.wrapping_neg() } else { value })
}

/// The options for each node, and the count. `None` if the server has to answer with an error about them.
pub(super) fn read_options(
    request: &Request<'_>,
    database: DbIndex,
    slot: Option<Slot>,
) -> Option<(ScanOptions, u64)> {
    let (mut options, mut count) = (Vec::new(), COUNT);
    if request.len() % 2 == 1 {
        return None;
    }
    for at in (2..request.len()).step_by(2) {
        if request.arg(at).eq_ignore_ascii_case(b"count") {
            count = u64::try_from(parse_integer(request.arg(at + 1))?).ok().filter(|count| *count > 0)?;
        } else {
            options.extend([at, at + 1].map(|at| Bytes::copy_from_slice(request.arg(at))));
        }
    }
    Some((ScanOptions { options, database, slot, with_expired: false }, count))
}

// === impl ScanOptions ===

impl ScanOptions {
    /// The keys that match `pattern`, which all lie in `slot` if one is given.
    pub(in crate::router) fn matching(pattern: Bytes, database: DbIndex, slot: Option<Slot>) -> ScanOptions {
        let options = vec![Bytes::from_static(b"MATCH"), pattern];
        ScanOptions { options, database, slot, with_expired: false }
    }

    /// As they are, with keys whose time is over.
    pub(in crate::router) fn with_expired(self) -> ScanOptions {
        ScanOptions { with_expired: true, ..self }
    }

    /// The pattern and the type that names are compared with; `None` if a server alone knows what is asked.
    /// Of several the last one counts.
    pub(super) fn conditions(&self) -> Option<(Option<&[u8]>, Option<&[u8]>)> {
        let (mut pattern, mut kind) = (None, None);
        for option in self.options.chunks_exact(2) {
            if option[0].eq_ignore_ascii_case(b"match") {
                pattern = Some(&option[1][..]);
            } else if option[0].eq_ignore_ascii_case(b"type") {
                kind = Some(*TYPES.iter().find(|kind| option[1].eq_ignore_ascii_case(kind))?);
            } else {
                return None;
            }
        }
        Some((pattern, kind))
    }

    /// Where a walk begins.
    pub(super) fn beginning(&self) -> ScanCursor {
        let stand = self.slot.map(ScanState::of_slot).unwrap_or_default();
        ScanCursor { number: 0, stand: Arc::new(stand) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_as_redis_reads_them() {
        let cases: [(&[u8], Option<u64>); 12] = [
            (b"0", Some(0)),
            (b"", Some(0)),
            (b"007", Some(7)),
            (b"+5", Some(5)),
            (b"-1", Some(u64::MAX)),
            (b"18446744073709551615", Some(u64::MAX)),
            (b"18446744073709551616", None),
            (b"x", None),
            (b"5x", None),
            (b" 5", None),
            (b"-", None),
            (b"--5", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_cursor(text), expected, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn a_page_gives_the_keys_that_are_covered() {
        let frame = Bytes::from_static(b"*2\r\n$2\r\n17\r\n*2\r\n$3\r\nfoo\r\n$3\r\nbar\r\n");
        let mut covers = SlotSet::default();
        covers.add(Slot::of(b"bar"));
        assert_eq!(read_page(&frame, &covers), Some((17, vec![Bytes::from_static(b"$3\r\nbar\r\n")])));
        for other in [
            &b"*1\r\n$1\r\n0\r\n"[..],
            b"+OK\r\n",
            b"*2\r\n$1\r\nx\r\n*0\r\n",
            b"*2\r\n$1\r\n0\r\n*1\r\n:1\r\n",
        ] {
            assert_eq!(read_page(&Bytes::copy_from_slice(other), &covers), None);
        }
    }
}
