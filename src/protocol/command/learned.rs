//! A command that the table does not have, as the server's COMMAND INFO describes it: modules bring their
//! own.

use std::sync::Arc;

use super::{Flags, Keys};
use crate::protocol::resp::cursor::{self, ReplyHead};

/// What is known of a command that a module of the upstream brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleCommand {
    /// Its name, as the server spells it.
    pub name: Arc<str>,
    /// Those of its flags that matter here.
    pub flags: Flags,
    /// Which arguments are keys.
    pub keys: Keys,
}

// === impl ModuleCommand ===

impl ModuleCommand {
    /// Reads the reply to COMMAND INFO with one name, in RESP2 or RESP3. Nothing if the server does not know
    /// the command either, or says it in a way that is not understood.
    pub fn from_command_info(reply: &[u8]) -> Option<ModuleCommand> {
        let description = cursor::elements(reply)?.next()??;
        let mut fields = cursor::elements(description)?;
        let (name, _arity) = (cursor::text(fields.next()??)?, fields.next()??);
        let (flags, movable) = flags(fields.next()??)?;
        let first = cursor::integer(fields.next()??)?;
        let last = cursor::integer(fields.next()??)?;
        let step = cursor::integer(fields.next()??)?;
        let keys = match (usize::try_from(first).ok()?, usize::try_from(step).ok()?) {
            _ if movable => Keys::Movable,
            (0, _) => Keys::None,
            (_, 0) => return None,
            (first, step) => Keys::Range { first, last: isize::try_from(last).ok()?, step },
        };
        Some(ModuleCommand { name: String::from_utf8_lossy(name).into(), flags, keys })
    }
}

/// The flags, and whether `movablekeys` is one of them.
fn flags(names: &[u8]) -> Option<(Flags, bool)> {
    let mut flags = Flags::NONE;
    let mut movable = false;
    for name in cursor::elements(names)? {
        let (ReplyHead::Line { text: name, .. } | ReplyHead::Blob { body: name, .. }) = cursor::head(name?)?
        else {
            return None;
        };
        flags = flags | Flags::named(name);
        movable |= name == b"movablekeys";
    }
    Some((flags, movable))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_command_is_forwarded_by_its_positions() {
        let resp2 = b"*1\r\n*10\r\n$8\r\njson.get\r\n:-2\r\n\
                      *2\r\n+readonly\r\n+module\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*0\r\n*0\r\n";
        let keys = Keys::Range { first: 1, last: 1, step: 1 };
        let learned = ModuleCommand { name: "json.get".into(), flags: Flags::READ, keys };
        assert_eq!(ModuleCommand::from_command_info(resp2), Some(learned));
        let resp3 =
            b"*1\r\n*7\r\n$4\r\nft.x\r\n:-2\r\n~2\r\n+write\r\n+movablekeys\r\n:0\r\n:0\r\n:0\r\n~0\r\n";
        let learned = ModuleCommand { name: "ft.x".into(), flags: Flags::WRITE, keys: Keys::Movable };
        assert_eq!(ModuleCommand::from_command_info(resp3), Some(learned));
    }

    #[test]
    fn what_the_server_does_not_know_is_not_learned() {
        for reply in [
            &b"*1\r\n*-1\r\n"[..],
            b"*1\r\n_\r\n",
            b"*0\r\n",
            b"-ERR no\r\n",
            b"*1\r\n*2\r\n$1\r\na\r\n:1\r\n",
            b"",
        ] {
            assert_eq!(ModuleCommand::from_command_info(reply), None, "{}", reply.escape_ascii());
        }
    }
}
