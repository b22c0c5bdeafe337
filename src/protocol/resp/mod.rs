//! The wire: requests and replies as bytes. Their boundaries are found, their contents are left as they are.
//!
//! The crate redis-protocol checks these scanners in tests. The daemon does not use it, because it refuses
//! some replies that Redis really sends (error lines that are not UTF-8, `$-1` inside RESP3).
//!
//! Must never know: what a command means. Begin with `scan/` (requests), `frame.rs` (where a reply ends) and
//! `cursor.rs` (what a reply says); `resp2.rs` makes RESP2 of RESP3.

pub mod cursor;
pub mod encode;
pub mod frame;
mod inline;
pub mod reply;
pub mod request;
pub mod resp2;
pub mod scan;

/// The version of the protocol that a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resp {
    /// RESP2, how every conversation begins.
    Two,
    /// RESP3, after `HELLO 3`.
    Three,
}

/// The number that `digits` spell, as strictly as Redis reads it (`string2ll`): no sign but `-`, no leading
/// zeros, no spaces, within 64 bits.
pub fn parse_integer(digits: &[u8]) -> Option<i64> {
    let (negative, magnitude) = match digits.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, digits),
    };
    match magnitude {
        b"0" if !negative => return Some(0),
        [b'1'..=b'9', ..] => {}
        _ => return None,
    }
    let value = magnitude.iter().try_fold(0u64, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })?;
    if negative { 0i64.checked_sub_unsigned(value) } else { i64::try_from(value).ok() }
}

#[cfg(test)]
mod tests {
    use super::parse_integer;

    #[test]
    fn integers_are_read_as_strictly_as_redis_reads_them() {
        let cases: [(&[u8], Option<i64>); 14] = [
            (b"0", Some(0)),
            (b"7", Some(7)),
            (b"-7", Some(-7)),
            (b"9223372036854775807", Some(i64::MAX)),
            (b"-9223372036854775808", Some(i64::MIN)),
            (b"9223372036854775808", None),
            (b"", None),
            (b"-", None),
            (b"-0", None),
            (b"00", None),
            (b"01", None),
            (b"+1", None),
            (b" 1", None),
            (b"1a", None),
        ];
        for (digits, expected) in cases {
            assert_eq!(parse_integer(digits), expected, "{}", digits.escape_ascii());
        }
    }
}
