//! Recognises a server that is not Redis: an HTTP server, an SSH server, a port that wants TLS.
//!
//! The text of such a server is never repeated: it may echo our first request, which has the password.

use std::io;

/// What may begin a reply or push.
const RESP_TYPES: &[u8] = b"+-:$*_#,(!=%~>|";

/// The first bytes of other kinds of servers, and their names.
const STRANGERS: [(&[u8], &str); 3] =
    [(b"HTTP/", "an HTTP server"), (b"SSH-", "an SSH server"), (b"\x15\x03", "a port that wants TLS")];

/// Bytes that suffice to tell other servers from Redis.
pub(in crate::upstream) const TELLING_BYTES: usize = 5;

/// Where to look. The address may be the configuration's or one that a node named.
const HINT: &str = "look at the port in upstream, or at address_map";

/// What nearside cannot do, and what can.
const NO_TLS: &str = "TLS upstream is not supported yet: name a port without TLS in upstream, or a local \
                      proxy that speaks TLS to it";

/// The name of the kind of server that has sent `first` at the beginning of a connection; `None` for a server
/// that speaks RESP, and while too little has come. `is_all` says that no more will come.
pub(in crate::upstream) fn describe(first: &[u8], is_all: bool) -> Option<String> {
    let byte = *first.first().filter(|byte| !RESP_TYPES.contains(byte))?;
    match STRANGERS.iter().find(|(beginning, _)| first.starts_with(beginning)) {
        Some((b"\x15\x03", who)) => Some(format!("it is {who}: {NO_TLS}")),
        Some((_, who)) => Some(format!("it is {who} and no Redis: {HINT}")),
        None if is_all || first.len() >= TELLING_BYTES => {
            Some(format!("it is no Redis, its answer begins with the byte 0x{byte:02x}: {HINT}"))
        }
        None => None,
    }
}

/// The error for a connection that ended with `error` before any byte came, as with a server that wants TLS,
/// or a proxy without a server behind it.
pub(in crate::upstream) fn unanswered(error: io::Error) -> io::Error {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    match error.kind() {
        kind @ (UnexpectedEof | ConnectionReset | BrokenPipe) => {
            io::Error::new(kind, format!("{error} without an answer to HELLO; if it wants TLS: {NO_TLS}"))
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_answers_is_told_by_the_first_bytes_wherever_they_are_cut() {
        let cases: [(&[u8], &str); 5] = [
            (
                b"HTTP/1.1 400 Bad Request\r\n",
                "it is an HTTP server and no Redis: look at the port in upstream",
            ),
            (b"SSH-2.0-OpenSSH_9.6\r\n", "it is an SSH server and no Redis"),
            (b"\x15\x03\x01\x00\x02\x02\x46", "it is a port that wants TLS: TLS upstream is not supported"),
            (b"220 mail ready\r\n", "it is no Redis, its answer begins with the byte 0x32"),
            (b"\x4a\x00\x00\x00\x0a8.0", "the byte 0x4a"),
        ];
        for (answer, text) in cases {
            for length in 1..=answer.len() {
                let said = describe(&answer[..length], false);
                assert!(said.is_none_or(|said| said.contains(text)), "{answer:?} {length}");
            }
            assert!(
                describe(answer, false).is_some() && describe(&answer[..1], true).is_some(),
                "{answer:?}"
            );
        }
    }

    #[test]
    fn a_server_that_speaks_resp_is_no_stranger() {
        for kind in RESP_TYPES {
            assert_eq!(describe(&[*kind, b'H', b'T', b'T', b'P', b'/'], true), None);
        }
        assert_eq!(describe(b"", true), None);
    }

    #[test]
    fn only_an_end_is_told_as_one() {
        let text = |kind: io::ErrorKind| unanswered(kind.into()).to_string();
        assert!(text(io::ErrorKind::UnexpectedEof).contains("if it wants TLS"));
        assert!(text(io::ErrorKind::ConnectionReset).contains("if it wants TLS"));
        assert!(!text(io::ErrorKind::OutOfMemory).contains("TLS"));
    }
}
