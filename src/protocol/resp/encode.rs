//! Writes the replies and requests that the daemon makes itself.

use bytes::{BufMut, Bytes, BytesMut};

use super::Resp;

/// Room for the head of what is shorter than a million bytes, and for both line ends.
const HEAD_BYTES: usize = 11;

/// Appends `-<text>\r\n`. Line ends in the text become spaces, as in Redis.
pub fn error(out: &mut BytesMut, text: impl AsRef<[u8]>) {
    out.put_u8(b'-');
    out.extend(text.as_ref().iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }));
    out.extend_from_slice(b"\r\n");
}

/// The reply `-<text>\r\n` on its own.
pub fn error_reply(text: impl AsRef<[u8]>) -> Bytes {
    let mut out = BytesMut::new();
    error(&mut out, text);
    out.freeze()
}

/// Appends `:<number>\r\n`.
pub fn integer(out: &mut BytesMut, number: i64) {
    line(out, b':', number);
}

/// Appends a bulk string.
pub fn bulk(out: &mut BytesMut, bytes: &[u8]) {
    line(out, b'$', bytes.len() as i64);
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// Appends the head of an array of `count` elements.
pub fn array(out: &mut BytesMut, count: usize) {
    line(out, b'*', count as i64);
}

/// Appends the head of a map of `pairs` pairs: a map in RESP3, a flat array in RESP2.
pub fn map(out: &mut BytesMut, resp: Resp, pairs: usize) {
    match resp {
        Resp::Three => line(out, b'%', pairs as i64),
        Resp::Two => array(out, 2 * pairs),
    }
}

/// Appends a set of bulk strings: a set in RESP3, an array in RESP2.
pub fn set(out: &mut BytesMut, resp: Resp, items: &[&str]) {
    let kind = if resp == Resp::Three { b'~' } else { b'*' };
    line(out, kind, items.len() as i64);
    items.iter().for_each(|item| bulk(out, item.as_bytes()));
}

/// Appends the null of a bulk string: `_` in RESP3, `$-1` in RESP2.
pub fn null(out: &mut BytesMut, resp: Resp) {
    out.extend_from_slice(null_reply(resp));
}

/// The null of a bulk string.
pub fn null_reply(resp: Resp) -> &'static [u8] {
    match resp {
        Resp::Three => b"_\r\n",
        Resp::Two => b"$-1\r\n",
    }
}

/// Appends an array of bulk strings.
pub fn strings<A: AsRef<[u8]>>(out: &mut BytesMut, items: &[A]) {
    let bytes: usize = items.iter().map(|item| item.as_ref().len() + HEAD_BYTES).sum();
    out.reserve(HEAD_BYTES + bytes);
    array(out, items.len());
    items.iter().for_each(|item| bulk(out, item.as_ref()));
}

/// A request with these arguments, the command's name first.
pub fn request<A: AsRef<[u8]>>(args: &[A]) -> Bytes {
    let mut out = BytesMut::new();
    strings(&mut out, args);
    out.freeze()
}

fn line(out: &mut BytesMut, kind: u8, number: i64) {
    out.put_u8(kind);
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    out.extend_from_slice(b"\r\n");
}
