//! A reply as it was sent: both versions of the protocol, with order, digits and stray bytes kept.
//!
//! redis-protocol is not used here, because tests compare replies exactly: it turns maps into hash tables,
//! doubles into `f64`, and refuses error lines that are not UTF-8.

use std::fmt;
use std::io::{self, BufRead, Read};

/// A reply or push.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Reply {
    /// `+`
    Simple(Vec<u8>),
    /// `-` or `!`
    Error(Vec<u8>),
    /// `:`
    Integer(i64),
    /// `$`
    Bulk(Vec<u8>),
    /// `=`, with its format prefix.
    Verbatim(Vec<u8>),
    /// `$-1`, `*-1` or `_`, distinguished by the first byte.
    Nil(u8),
    /// `,`, digits as sent.
    Double(Vec<u8>),
    /// `#`
    Boolean(bool),
    /// `(`
    BigNumber(Vec<u8>),
    /// `*`
    Array(Vec<Reply>),
    /// `~`
    Set(Vec<Reply>),
    /// `>`
    Push(Vec<Reply>),
    /// `%`, in the order it was sent.
    Map(Vec<(Reply, Reply)>),
}

/// How deep arrays may nest: deeper is not a reply of Redis, and must not eat the stack.
const DEPTH_MAX: usize = 64;

/// The longest line that is read before it counts as broken.
const LINE_BYTES_MAX: u64 = 1 << 20;

// === impl Reply ===

impl Reply {
    /// Reads one reply; waits for as long as `from` does.
    pub fn read(from: &mut impl BufRead) -> io::Result<Reply> {
        read_nested(from, 0)
    }

    /// A bulk string.
    pub fn bulk(bytes: impl AsRef<[u8]>) -> Reply {
        Reply::Bulk(bytes.as_ref().to_vec())
    }

    /// Whether this is `+OK`.
    pub fn is_ok(&self) -> bool {
        matches!(self, Reply::Simple(text) if text == b"OK")
    }

    /// Whether this is one of the three forms of nil.
    pub fn is_nil(&self) -> bool {
        matches!(self, Reply::Nil(_))
    }

    /// Whether this is an error.
    pub fn is_error(&self) -> bool {
        matches!(self, Reply::Error(_))
    }

    /// The number, if this is an integer.
    pub fn integer(&self) -> Option<i64> {
        if let Reply::Integer(number) = self { Some(*number) } else { None }
    }

    /// The bytes, if this is a string of any kind or an error.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Reply::Simple(bytes) | Reply::Error(bytes) | Reply::Bulk(bytes) => Some(bytes),
            Reply::Verbatim(bytes) => bytes.get(4..),
            _ => None,
        }
    }

    /// The bytes as text, with bytes that are not UTF-8 replaced; empty when this is not a string.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.bytes().unwrap_or_default()).into_owned()
    }

    /// The elements of an array, a set or a push; empty for anything else.
    pub fn items(&self) -> &[Reply] {
        match self {
            Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => items,
            _ => &[],
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reply::Simple(bytes) => write!(f, "+{}", bytes.escape_ascii()),
            Reply::Error(bytes) => write!(f, "-{}", bytes.escape_ascii()),
            Reply::Integer(number) => write!(f, ":{number}"),
            Reply::Bulk(bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
            Reply::Verbatim(bytes) => write!(f, "=\"{}\"", bytes.escape_ascii()),
            Reply::Nil(form) => write!(f, "nil{}", char::from(*form)),
            Reply::Double(digits) => write!(f, ",{}", digits.escape_ascii()),
            Reply::Boolean(value) => write!(f, "#{value}"),
            Reply::BigNumber(digits) => write!(f, "({}", digits.escape_ascii()),
            Reply::Array(items) => f.debug_list().entries(items).finish(),
            Reply::Set(items) => f.debug_set().entries(items).finish(),
            Reply::Push(items) => f.debug_tuple("Push").field(items).finish(),
            Reply::Map(pairs) => {
                f.debug_map().entries(pairs.iter().map(|(key, value)| (key, value))).finish()
            }
        }
    }
}

fn read_nested(from: &mut impl BufRead, depth: usize) -> io::Result<Reply> {
    if depth > DEPTH_MAX {
        return Err(broken("nested too deeply", b""));
    }
    let line = read_line(from)?;
    let (kind, rest) = line.split_first().ok_or_else(|| broken("empty line", &line))?;
    let text = rest.to_vec();
    Ok(match kind {
        b'+' => Reply::Simple(text),
        b'-' => Reply::Error(text),
        b':' => Reply::Integer(number(rest)?),
        b',' => Reply::Double(text),
        b'(' => Reply::BigNumber(text),
        b'#' => Reply::Boolean(rest == b"t"),
        b'_' => Reply::Nil(b'_'),
        b'$' | b'*' if rest == b"-1" => Reply::Nil(*kind),
        b'$' => Reply::Bulk(read_blob(from, rest)?),
        b'=' => Reply::Verbatim(read_blob(from, rest)?),
        b'!' => Reply::Error(read_blob(from, rest)?),
        b'*' => Reply::Array(read_items(from, number(rest)?, depth)?),
        b'~' => Reply::Set(read_items(from, number(rest)?, depth)?),
        b'>' => Reply::Push(read_items(from, number(rest)?, depth)?),
        b'%' => Reply::Map(read_pairs(from, number(rest)?, depth)?),
        b'|' => {
            // Attributes say something about the reply that follows; nothing here asks for them.
            read_pairs(from, number(rest)?, depth)?;
            return read_nested(from, depth + 1);
        }
        _ => return Err(broken("unknown kind of reply", &line)),
    })
}

fn read_items(from: &mut impl BufRead, count: i64, depth: usize) -> io::Result<Vec<Reply>> {
    (0..count).map(|_| read_nested(from, depth + 1)).collect()
}

fn read_pairs(from: &mut impl BufRead, count: i64, depth: usize) -> io::Result<Vec<(Reply, Reply)>> {
    (0..count).map(|_| Ok((read_nested(from, depth + 1)?, read_nested(from, depth + 1)?))).collect()
}

fn read_blob(from: &mut impl BufRead, length: &[u8]) -> io::Result<Vec<u8>> {
    let length = u64::try_from(number(length)?).map_err(|_| broken("negative length", length))?;
    let mut blob = Vec::new();
    from.take(length + 2).read_to_end(&mut blob)?;
    if blob.len() as u64 != length + 2 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if !blob.ends_with(b"\r\n") {
        return Err(broken("no CRLF after a string", &blob));
    }
    blob.truncate(blob.len() - 2);
    Ok(blob)
}

fn read_line(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    from.take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if !line.ends_with(b"\r\n") {
        return Err(broken("no CRLF after a line", &line));
    }
    line.truncate(line.len() - 2);
    Ok(line)
}

fn number(digits: &[u8]) -> io::Result<i64> {
    std::str::from_utf8(digits)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| broken("not a number", digits))
}

fn broken(what: &str, bytes: &[u8]) -> io::Error {
    let shown = &bytes[..bytes.len().min(64)];
    io::Error::new(io::ErrorKind::InvalidData, format!("broken reply, {what}: {}", shown.escape_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_digits_and_stray_bytes_are_kept() {
        let mut wire: &[u8] = b"%2\r\n$1\r\nz\r\n,0.10\r\n$1\r\na\r\n_\r\n-ERR \xff\r\n*2\r\n$-1\r\n*-1\r\n";
        let map = Reply::read(&mut wire).unwrap();
        assert_eq!(
            map,
            Reply::Map(vec![
                (Reply::bulk("z"), Reply::Double(b"0.10".to_vec())),
                (Reply::bulk("a"), Reply::Nil(b'_'))
            ])
        );
        assert_eq!(Reply::read(&mut wire).unwrap(), Reply::Error(b"ERR \xff".to_vec()));
        assert_eq!(Reply::read(&mut wire).unwrap(), Reply::Array(vec![Reply::Nil(b'$'), Reply::Nil(b'*')]));
        assert_eq!(Reply::read(&mut wire).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn broken_replies_are_errors() {
        let nested = "*1\r\n".repeat(100_000);
        for wire in
            ["\r\n", "$3\r\nabcd\r\n", "$x\r\n", "?\r\n", "+no line end", "$5\r\nab", "$-7\r\n", &nested]
        {
            assert!(Reply::read(&mut wire.as_bytes()).is_err(), "{wire:.20}");
        }
    }
}
