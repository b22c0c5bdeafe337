//! The keys that the requests in a buffer will read, before any of the requests is scanned.
//!
//! This is a guess for prefetching: nothing is checked, and it ends at the first bytes that are not plain.
//! The scanner decides what the requests are.

/// Requests for which keys are prefetched at once: the CPU does not fetch more at the same time, and what was
/// fetched first would be out of its nearest cache again.
pub const AHEAD_MAX: usize = 32;

/// The longest number that is read.
const DIGITS_MAX: usize = 5;

/// The first argument behind the name of each request at the beginning of `bytes`: nearly always its key.
pub fn keys_ahead(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (key, behind) = key_ahead(rest)?;
        rest = behind;
        Some(key)
    })
}

#[inline]
fn key_ahead(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (count, rest) = number(bytes, b'*')?;
    let (_name, rest) = string(rest)?;
    let (key, mut rest) = string(rest)?;
    for _ in 2..count {
        (_, rest) = string(rest)?;
    }
    Some((key, rest))
}

#[inline]
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = number(bytes, b'$')?;
    Some((rest.get(..length)?, rest.get(length + 2..)?))
}

/// The number of a line that begins with `kind`, and what is behind the line.
#[inline]
fn number(bytes: &[u8], kind: u8) -> Option<(usize, &[u8])> {
    if *bytes.first()? != kind {
        return None;
    }
    // Nearly all have one digit.
    if let Some(&[_, digit @ b'0'..=b'9', b'\r', _]) = bytes.first_chunk() {
        return Some((usize::from(digit - b'0'), &bytes[4..]));
    }
    let mut value = 0;
    for (at, byte) in bytes[1..].iter().enumerate().take(DIGITS_MAX + 1) {
        match byte {
            b'0'..=b'9' => value = value * 10 + usize::from(byte - b'0'),
            b'\r' => return Some((value, bytes.get(at + 3..)?)),
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_ahead(bytes: &[u8], wanted: &[&str]) {
        let keys: Vec<&[u8]> = keys_ahead(bytes).collect();
        assert_eq!(
            keys,
            wanted.iter().map(|key| key.as_bytes()).collect::<Vec<_>>(),
            "{}",
            bytes.escape_ascii()
        );
    }

    #[test]
    fn keys_are_found_as_far_as_requests_are_whole_and_plain() {
        let get = b"*2\r\n$3\r\nGET\r\n$3\r\none\r\n";
        let set = b"*3\r\n$3\r\nSET\r\n$3\r\ntwo\r\n$12\r\nvalue\r\n*2\r\n$\r\n";
        assert_ahead(&[&get[..], set, get].concat(), &["one", "two", "one"]);
        assert_ahead(&[&get[..], b"PING\r\n", get].concat(), &["one"]);
        assert_ahead(&[&get[..], b"*1\r\n$4\r\nPING\r\n"].concat(), &["one"]);
        for end in 0..get.len() {
            assert_ahead(&[get, &get[..end]].concat(), &["one"]);
        }
    }

    #[test]
    fn nonsense_is_no_key() {
        for bytes in [
            &b""[..],
            b"*",
            b"*2",
            b"*2\r",
            b"*2\r\n$3\r\nGET\r\n$-1\r\n",
            b"*2\r\n$3\r\nGET\r\n$99999\r\nkey\r\n",
            b"*2\r\n$3\r\nGET\r\n$99999999999999999999\r\nkey\r\n",
            b"*99999\r\n$3\r\nGET\r\n$3\r\nkey\r\n",
        ] {
            assert_ahead(bytes, &[]);
        }
    }
}
