//! A command as a text: a line of MONITOR, or as it is typed into redis-cli.

use crate::protocol::resp::request::OwnedRequest;

/// A command that a client sent.
#[derive(Debug)]
pub(super) struct SeenCommand<'a> {
    /// Who sent it: an address, or `lua` for what a script called. Empty when the line does not say.
    pub(super) client: &'a [u8],
    /// The database that it was sent to.
    pub(super) database: u32,
    pub(super) request: OwnedRequest,
}

/// The client that MONITOR names for what a script or a function called.
pub(super) const SCRIPT: &[u8] = b"lua";

// === impl SeenCommand ===

impl<'a> SeenCommand<'a> {
    /// Reads a line; `None` when it is no command.
    pub(super) fn read(line: &'a [u8]) -> Option<SeenCommand<'a>> {
        let line = line.trim_ascii();
        let (client, database, words) = match of_monitor(line) {
            Some((client, database, rest)) => (client, database, words(rest)?),
            None => (&b""[..], 0, words(line)?),
        };
        let request = (!words.is_empty()).then(|| OwnedRequest::from_args(words))?;
        Some(SeenCommand { client, database, request })
    }
}

/// Takes `1469940.785623 [0 127.0.0.1:46998] ` from the beginning of a line of MONITOR: the client, the
/// database, and the rest. The line may still have the `+` of a simple string.
fn of_monitor(line: &[u8]) -> Option<(&[u8], u32, &[u8])> {
    let line = line.strip_prefix(b"+").unwrap_or(line);
    let at = line.iter().position(|byte| *byte == b' ')?;
    let (time, rest) = line.split_at(at);
    if !time.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.') {
        return None;
    }
    let rest = rest.strip_prefix(b" [")?;
    // The address of a client may have brackets of its own.
    let end = memchr::memmem::find(rest, b"] \"")?;
    let (head, rest) = (&rest[..end], &rest[end + 2..]);
    let space = head.iter().position(|byte| *byte == b' ')?;
    let database = std::str::from_utf8(&head[..space]).ok()?.parse().ok()?;
    Some((&head[space + 1..], database, rest))
}

/// Splits a line as redis-cli does: words between spaces, `"..."` with escapes, `'...'` with `\'`. `None`
/// when a quote is not closed, or a word goes on behind one.
fn words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line.trim_ascii_start();
    while let Some(first) = rest.first() {
        let (word, behind) = match first {
            b'"' => quoted(&rest[1..])?,
            b'\'' => single_quoted(&rest[1..])?,
            _ => {
                let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
                (rest[..end].to_vec(), &rest[end..])
            }
        };
        if behind.first().is_some_and(|byte| !byte.is_ascii_whitespace()) {
            return None;
        }
        words.push(word);
        rest = behind.trim_ascii_start();
    }
    Some(words)
}

/// A word up to the closing `"`, and what follows. Source of the escapes: `sdscatrepr` of Redis.
fn quoted(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut word = Vec::new();
    let mut rest = text;
    loop {
        let (first, behind) = rest.split_first()?;
        rest = behind;
        match first {
            b'"' => return Some((word, rest)),
            b'\\' => {
                let (escaped, behind) = rest.split_first()?;
                rest = behind;
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'a' => 7,
                    b'b' => 8,
                    b'x' => {
                        let (digits, behind) = rest.split_at_checked(2)?;
                        rest = behind;
                        u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?
                    }
                    other => *other,
                });
            }
            byte => word.push(*byte),
        }
    }
}

/// A word up to the closing `'`, and what follows.
fn single_quoted(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut word = Vec::new();
    let mut rest = text;
    loop {
        let (first, behind) = rest.split_first()?;
        rest = behind;
        match (first, rest.first()) {
            (b'\'', _) => return Some((word, rest)),
            (b'\\', Some(b'\'')) => {
                word.push(b'\'');
                rest = &rest[1..];
            }
            (byte, _) => word.push(*byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &[u8]) -> Option<(Vec<u8>, u32, Vec<Vec<u8>>)> {
        let seen = SeenCommand::read(line)?;
        let args = seen.request.as_request().args().map(<[u8]>::to_vec).collect();
        Some((seen.client.to_vec(), seen.database, args))
    }

    fn args(words: &[&[u8]]) -> Vec<Vec<u8>> {
        words.iter().map(|word| word.to_vec()).collect()
    }

    #[test]
    fn a_line_of_monitor_says_who_and_where() {
        let line = b"+1631469940.785623 [3 127.0.0.1:46998] \"SET\" \"a b\" \"\\x00\\\"\\\\\\n\"\r\n";
        let wanted = (b"127.0.0.1:46998".to_vec(), 3, args(&[b"SET", b"a b", b"\0\"\\\n"]));
        assert_eq!(read(line), Some(wanted));
        let line = b"1.5 [0 [::1]:46998] \"GET\" \"k] \\\"x\"";
        assert_eq!(read(line), Some((b"[::1]:46998".to_vec(), 0, args(&[b"GET", b"k] \"x"]))));
        assert_eq!(read(b"1 [0 lua] \"get\" \"k\"").unwrap().0, SCRIPT);
        assert_eq!(read(b"1 [0 unix:/tmp/a b] \"get\" \"k\"").unwrap().0, b"unix:/tmp/a b");
    }

    #[test]
    fn a_command_may_be_typed() {
        assert_eq!(read(b"  set k 'it\\'s' \"\"  ").unwrap().2, args(&[b"set", b"k", b"it's", b""]));
        for broken in [&b""[..], b"  ", b"set \"k", b"set 'k", b"set \"k\"x", b"set \"\\xZZ\"", b"set \"\\"] {
            assert_eq!(read(broken), None, "{}", String::from_utf8_lossy(broken));
        }
    }
}
