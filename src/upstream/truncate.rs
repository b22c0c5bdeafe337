//! What a server said, cut so that it can be repeated: to clients, and in the log.

use bytes::Bytes;

use crate::protocol::resp::encode;

/// So much of it is repeated.
const WORDS_BYTES_MAX: usize = 200;

/// Reasons that are repeated of those that nodes gave for one thing.
const REASONS_MAX: usize = 8;

/// The beginning of what a server said.
pub(super) fn cut(words: &[u8]) -> String {
    match words.get(..WORDS_BYTES_MAX) {
        Some(beginning) if words.len() > WORDS_BYTES_MAX => {
            format!("{}...", String::from_utf8_lossy(beginning))
        }
        _ => String::from_utf8_lossy(words).into_owned(),
    }
}

/// The text of an error reply, or the beginning of it.
pub(super) fn error_text(reply: &[u8]) -> Option<String> {
    let line = reply.strip_prefix(b"-")?;
    Some(cut(line.strip_suffix(b"\r\n").unwrap_or(line)))
}

/// What each of several nodes said, or of the first of them.
pub(super) fn joined(reasons: &[String]) -> String {
    let text = reasons[..reasons.len().min(REASONS_MAX)].join("; ");
    match reasons.len().saturating_sub(REASONS_MAX) {
        0 => text,
        more => format!("{text}; and {more} more"),
    }
}

/// An error reply as its client gets it. A redirect that cannot be followed may be as long as the host that
/// it names, so it is shortened; any other error is the server's answer, and stays whole.
pub(super) fn redirect_cut(error: Bytes) -> Bytes {
    let is_redirect = [&b"-MOVED "[..], b"-ASK "].iter().any(|kind| error.starts_with(kind));
    if is_redirect && error.len() > WORDS_BYTES_MAX {
        return encode::error_reply(cut(&error[1..]));
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_much_of_what_a_server_said_is_repeated() {
        assert_eq!(cut(b"ERR no"), "ERR no");
        assert_eq!(cut(&[b'x'; 200]), "x".repeat(200));
        assert_eq!(cut(&[b'x'; 100_000]), format!("{}...", "x".repeat(200)));
        assert_eq!(cut("é".repeat(200).as_bytes()), format!("{}...", "é".repeat(100)));
    }

    #[test]
    fn only_so_many_reasons_are_repeated() {
        let reasons: Vec<String> = (0..10).map(|number| format!("r{number}")).collect();
        assert_eq!(joined(&reasons[..2]), "r0; r1");
        assert_eq!(joined(&reasons[..8]), "r0; r1; r2; r3; r4; r5; r6; r7");
        assert_eq!(joined(&reasons), "r0; r1; r2; r3; r4; r5; r6; r7; and 2 more");
    }

    #[test]
    fn a_redirect_is_cut_and_any_other_error_is_not() {
        let long = |kind: &str| Bytes::from(format!("-{kind} 1 {}:1\r\n", "h".repeat(100_000)));
        for kind in ["MOVED", "ASK"] {
            let reply = redirect_cut(long(kind));
            assert!(reply.len() < 300 && reply.starts_with(b"-") && reply.ends_with(b"...\r\n"), "{reply:?}");
        }
        assert_eq!(redirect_cut(long("ERR")), long("ERR"));
        assert_eq!(redirect_cut("-MOVED 1 h:1\r\n".into()), "-MOVED 1 h:1\r\n");
    }
}
