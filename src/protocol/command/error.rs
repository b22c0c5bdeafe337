//! The errors of Redis for a request that it does not recognise, byte for byte.

use bytes::Bytes;

use crate::protocol::resp::encode;
use crate::protocol::resp::request::Request;

/// How much of a name or of all arguments an error shows.
const SHOWN_BYTES_MAX: usize = 128;

/// Why a request is not one of the table's commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// No such command here; a module of the upstream may know it.
    Unknown,
    /// The command is a container and has no such subcommand.
    UnknownSubcommand,
    /// The operator has denied the command of this name, or one that the table does not have.
    Denied(Option<&'static str>),
    /// Too few or too many arguments for the command of this name.
    Arity(&'static str),
}

// === impl CommandError ===

impl CommandError {
    /// Whether a client that has not authenticated may use the command, whose arguments are wrong.
    pub fn is_open(self) -> bool {
        matches!(self, CommandError::Arity("auth" | "hello" | "quit" | "reset"))
    }

    /// Whether this is an EXEC with arguments, which ends a transaction nevertheless.
    pub fn is_of_exec(self) -> bool {
        self == CommandError::Arity("exec")
    }

    /// The error reply of Redis 7.0 to `request`, or the daemon's own to one that is denied.
    pub fn reply(self, request: &Request<'_>) -> Bytes {
        let mut text = b"ERR ".to_vec();
        match self {
            CommandError::Unknown => {
                text.extend_from_slice(b"unknown command '");
                text.extend_from_slice(shown(request.arg(0), SHOWN_BYTES_MAX));
                text.extend_from_slice(b"', with args beginning with: ");
                show_arguments(request, &mut text);
            }
            CommandError::UnknownSubcommand => {
                text.extend_from_slice(b"unknown subcommand '");
                text.extend_from_slice(shown(request.arg(1), SHOWN_BYTES_MAX));
                text.extend_from_slice(b"'. Try ");
                text.extend_from_slice(&request.arg(0).to_ascii_uppercase());
                text.extend_from_slice(b" HELP.");
            }
            CommandError::Denied(name) => {
                let name = name.map_or_else(|| shown(request.arg(0), SHOWN_BYTES_MAX), str::as_bytes);
                let name = String::from_utf8_lossy(name).to_ascii_lowercase();
                return encode::error_reply(format!(
                    "NOPERM nearside: the command '{name}' is denied to clients here (deny_commands)"
                ));
            }
            CommandError::Arity(name) => {
                text.extend_from_slice(b"wrong number of arguments for '");
                text.extend_from_slice(name.as_bytes());
                text.extend_from_slice(b"' command");
            }
        }
        encode::error_reply(text)
    }
}

/// Quotes arguments until 128 bytes are full; the quotes of the last one may stand beyond that.
fn show_arguments(request: &Request<'_>, text: &mut Vec<u8>) {
    let mut used = 0;
    for argument in request.args().skip(1) {
        if used >= SHOWN_BYTES_MAX {
            break;
        }
        let argument = shown(argument, SHOWN_BYTES_MAX - used);
        text.push(b'\'');
        text.extend_from_slice(argument);
        text.extend_from_slice(b"' ");
        used += argument.len() + 3;
    }
}

/// What C's `%.*s` prints of `text`: at most `bytes_max` bytes, and nothing from a zero byte on.
fn shown(text: &[u8], bytes_max: usize) -> &[u8] {
    let text = &text[..text.len().min(bytes_max)];
    &text[..memchr::memchr(0, text).unwrap_or(text.len())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::resp::request::OwnedRequest;

    fn reply(fault: CommandError, args: &[&[u8]]) -> Vec<u8> {
        fault.reply(&OwnedRequest::from_args(args).as_request()).to_vec()
    }

    #[test]
    fn the_texts_are_those_of_redis() {
        assert_eq!(
            reply(CommandError::Unknown, &[b"foo", b"a", b"b"]),
            b"-ERR unknown command 'foo', with args beginning with: 'a' 'b' \r\n"
        );
        assert_eq!(
            reply(CommandError::Arity("config|get"), &[b"CONFIG", b"GET"]),
            b"-ERR wrong number of arguments for 'config|get' command\r\n"
        );
        assert_eq!(
            reply(CommandError::UnknownSubcommand, &[b"conFig", b"x\r\ny"]),
            b"-ERR unknown subcommand 'x  y'. Try CONFIG HELP.\r\n"
        );
    }
}
