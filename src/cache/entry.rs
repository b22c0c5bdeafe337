//! The key of an entry and its value: a query, and a reply in both versions of the protocol.

use bytes::Bytes;

use crate::protocol::command;
use crate::protocol::db::DbIndex;
use crate::protocol::resp::Resp;
use crate::protocol::resp::cursor::{self, ReplyHead};

/// A command and the database in which it is executed: a number below 1,024 for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CommandId(u16);

/// The lower bits of a [`CommandId`] are those of the command.
const COMMAND_BITS: u32 = 6;

/// Databases whose replies are kept: those from 0 on.
pub const DATABASES_MAX: u32 = 16;

/// Commands whose replies are kept have numbers below this.
pub const COMMANDS_MAX: u8 = 1 << COMMAND_BITS;

/// A cacheable read: the command and all its arguments.
#[derive(Clone, Copy, Debug)]
pub struct CacheQuery<'a> {
    /// The command.
    pub command: CommandId,
    /// The key.
    pub key: &'a [u8],
    /// The arguments after the command's name, the key first, as in the request: `$<length>\r\n<bytes>\r\n`
    /// each. As in Redis the two bytes behind an argument are not checked, so they may be others.
    pub args: &'a [u8],
}

/// A reply in both versions of the protocol, ready to be sent.
#[derive(Clone, Debug)]
pub struct VersionedReply {
    /// As the node sent it.
    pub resp3: Bytes,
    /// For clients of RESP2, when that differs.
    pub resp2: Option<Bytes>,
}

/// The form of the reply in RESP2. No copy of it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resp2 {
    /// As in RESP3.
    Same,
    /// An array in place of a map or a set, with equal elements.
    Head,
    /// Something else: the reply has to be converted.
    Other,
}

// === impl CacheQuery ===

impl CacheQuery<'_> {
    pub(super) fn len(&self) -> usize {
        self.key.len() + self.args.len()
    }

    /// Whether the key is the only argument: any other one takes six bytes at least, and the length of the
    /// key has at most six digits, or is that of a key that is too long to matter.
    #[inline]
    pub(super) fn is_key_only(&self) -> bool {
        self.args.len() - self.key.len() < SOLE_FRAME_BYTES_MAX
    }

    /// Whether the key can be found in the kept arguments: otherwise its entry could never be removed.
    pub(super) fn is_well_formed(&self) -> bool {
        self.is_key_only() || cursor::strings(self.args).next() == Some(self.key)
    }
}

/// What stands around the only argument is shorter than this: `$<length>\r\n` and `\r\n`.
const SOLE_FRAME_BYTES_MAX: usize = 12;

// === impl CommandId ===

impl CommandId {
    /// The command that has this number in the table ([`command::cached`]), in `database`; `None` if no reply
    /// of that is kept.
    #[inline]
    pub fn in_database(command: u8, database: DbIndex) -> Option<CommandId> {
        let database = database.number();
        let number = u16::from(command) | (database as u16) << COMMAND_BITS;
        (database < DATABASES_MAX).then_some(CommandId(number))
    }

    /// The command with its database that an entry has in this number.
    pub(super) const fn of_number(number: u16) -> CommandId {
        CommandId(number)
    }

    /// The number for both.
    #[inline]
    pub(super) fn number(self) -> u16 {
        self.0
    }

    /// The number of the command.
    pub fn command(self) -> u8 {
        (self.0 & (u16::from(COMMANDS_MAX) - 1)) as u8
    }

    /// The name of the command in lower case.
    pub fn name(self) -> &'static str {
        command::cached(self.command()).map_or("", |spec| spec.name)
    }

    /// The database.
    pub fn database(self) -> DbIndex {
        DbIndex::new(u32::from(self.0 >> COMMAND_BITS))
    }
}

// === impl VersionedReply ===

impl VersionedReply {
    /// The reply for a client of this version.
    #[inline]
    pub fn for_version(&self, resp: Resp) -> &Bytes {
        match (resp, &self.resp2) {
            (Resp::Two, Some(resp2)) => resp2,
            _ => &self.resp3,
        }
    }

    /// The form of the reply in RESP2.
    pub(super) fn resp2_form(&self) -> Resp2 {
        let Some(resp2) = &self.resp2 else { return Resp2::Same };
        let behind_head =
            |reply: &Bytes| reply.iter().position(|byte| *byte == b'\n').map(|at| reply.slice(at..));
        let is_aggregate = matches!(self.resp3.first(), Some(b'%' | b'~'));
        if is_aggregate && behind_head(&self.resp3) == behind_head(resp2) {
            Resp2::Head
        } else {
            Resp2::Other
        }
    }

    /// The bytes of a string alone; of anything else, those of the whole reply.
    pub(super) fn value_len(&self) -> usize {
        match cursor::head(&self.resp3) {
            Some(ReplyHead::Blob { body, .. }) => body.len(),
            _ => self.resp3.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_belongs_to_its_database() {
        let of = |database| CommandId::in_database(COMMANDS_MAX - 1, DbIndex::new(database));
        for database in 0..DATABASES_MAX {
            let id = of(database).unwrap();
            assert_eq!((id.command(), id.database()), (COMMANDS_MAX - 1, DbIndex::new(database)));
            assert!((0..database).all(|other| of(other) != Some(id)));
            assert!(id.number() < 1 << 10, "an entry has ten bits for it");
        }
        assert_eq!(of(DATABASES_MAX), None);
    }
}
