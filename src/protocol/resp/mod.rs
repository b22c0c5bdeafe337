//! The wire: requests and replies as bytes. Boundaries are found, what lies between them is left alone.
//!
//! Nothing here knows what a command means. redis-protocol is the oracle for these scanners in tests; it does
//! not stand on the way of a reply, because it refuses some that Redis really sends (error lines that are not
//! UTF-8, `$-1` inside RESP3).

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
