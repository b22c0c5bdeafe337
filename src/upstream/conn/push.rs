//! What a node pushes.

use bytes::Bytes;

use crate::protocol::resp::cursor;
use crate::protocol::resp::frame::FrameScanner;

/// A push of RESP3; its `>` alone distinguishes it from a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::upstream) enum NodePush {
    /// These keys, which were read on this connection, changed.
    Invalidate(Vec<Bytes>),
    /// Everything that was read on this connection may have changed: the node was flushed.
    InvalidateEverything,
    /// Another push, which is ignored.
    Other,
}

/// Reads a push frame. An invalidation that cannot be parsed counts as one of all keys.
pub(in crate::upstream) fn parse(frame: &Bytes) -> NodePush {
    if let Some(payload) = frame.strip_prefix(b">2\r\n$10\r\ninvalidate\r\n") {
        return read_keys(frame, frame.len() - payload.len())
            .map_or(NodePush::InvalidateEverything, NodePush::Invalidate);
    }
    match is_invalidation(frame) {
        true => NodePush::InvalidateEverything,
        false => NodePush::Other,
    }
}

/// Whether the first element is the word, in whichever form, and whatever stands behind it.
fn is_invalidation(frame: &[u8]) -> bool {
    let elements = cursor::elements(frame);
    let first = elements.and_then(|mut elements| elements.next()?);
    first.and_then(cursor::text).is_some_and(|word| word.eq_ignore_ascii_case(b"invalidate"))
}

fn read_keys(frame: &Bytes, mut at: usize) -> Option<Vec<Bytes>> {
    let (count, end) = length_line(&frame[at..], b'*')?;
    at += end;
    let mut keys = Vec::with_capacity(count.min(frame.len()));
    for _ in 0..count {
        let length = FrameScanner::new(usize::MAX).scan(&frame[at..]).ok()??;
        let (bytes, start) = length_line(&frame[at..], b'$')?;
        keys.push(frame.slice(at + start..at + start + bytes));
        at += length;
    }
    Some(keys)
}

/// The number on the line that begins with `kind`, and the offset after the line.
fn length_line(bytes: &[u8], kind: u8) -> Option<(usize, usize)> {
    let end = memchr::memchr(b'\r', bytes)?;
    let digits = bytes[..end].strip_prefix(&[kind])?;
    Some((usize::try_from(crate::protocol::resp::parse_integer(digits)?).ok()?, end + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pushes_are_read() {
        let keys = |keys: &[&'static [u8]]| {
            NodePush::Invalidate(keys.iter().map(|key| Bytes::from_static(key)).collect())
        };
        let cases: [(&'static [u8], NodePush); 14] = [
            (b">2\r\n$10\r\ninvalidate\r\n*1\r\n$3\r\nfoo\r\n", keys(&[b"foo"])),
            (
                b">2\r\n$10\r\ninvalidate\r\n*2\r\n$4\r\n\xff\r\n\xfe\r\n$0\r\n\r\n",
                keys(&[b"\xff\r\n\xfe", b""]),
            ),
            (b">2\r\n$10\r\ninvalidate\r\n_\r\n", NodePush::InvalidateEverything),
            (b">2\r\n$10\r\ninvalidate\r\n$-1\r\n", NodePush::InvalidateEverything),
            (b">2\r\n$10\r\ninvalidate\r\n*-1\r\n", NodePush::InvalidateEverything),
            (b">2\r\n$10\r\ninvalidate\r\n*1\r\n:1\r\n", NodePush::InvalidateEverything),
            (b">3\r\n$10\r\ninvalidate\r\n*1\r\n$3\r\nfoo\r\n:1\r\n", NodePush::InvalidateEverything),
            (b">1\r\n$10\r\ninvalidate\r\n", NodePush::InvalidateEverything),
            (b">2\r\n+invalidate\r\n*1\r\n$3\r\nfoo\r\n", NodePush::InvalidateEverything),
            (b">2\r\n$10\r\nINVALIDATE\r\n*1\r\n$3\r\nfoo\r\n", NodePush::InvalidateEverything),
            (b">02\r\n$10\r\ninvalidate\r\n*1\r\n$3\r\nfoo\r\n", NodePush::InvalidateEverything),
            (b">0\r\n", NodePush::Other),
            (b">2\r\n$11\r\ninvalidated\r\n*1\r\n$3\r\nfoo\r\n", NodePush::Other),
            (b">2\r\n$16\r\nserver-cpu-usage\r\n:1\r\n", NodePush::Other),
        ];
        for (frame, expected) in cases {
            assert_eq!(parse(&Bytes::from_static(frame)), expected, "{}", frame.escape_ascii());
        }
    }
}
