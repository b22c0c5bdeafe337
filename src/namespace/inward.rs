//! The names in a reply, on its way back: each loses the prefix. Names of others are left out.

use bytes::{BufMut, Bytes, BytesMut};

use super::scope::Scope;
use crate::protocol::command::ReplyNames;
use crate::protocol::resp::cursor::{Cursor, ReplyHead};
use crate::protocol::resp::encode;

/// The error for a key that is not there, which is no error for MOVE.
const NO_SUCH_KEY: &[u8] = b"-ERR no such key\r\n";

// === impl Scope ===

impl Scope {
    /// The reply as the client gets it: `names` says where names stand in it.
    pub fn inward(&self, names: ReplyNames, reply: Bytes) -> Bytes {
        if reply.first() == Some(&b'-') {
            return match names {
                ReplyNames::Moved if reply == NO_SUCH_KEY => Bytes::from_static(b":0\r\n"),
                _ => self.error(reply),
            };
        }
        if matches!(names, ReplyNames::None | ReplyNames::Moved | ReplyNames::Script) {
            return reply;
        }
        let mut out = BytesMut::with_capacity(reply.len());
        match self.write(names, &mut Cursor::new(&reply), &mut out) {
            Some(()) => out.freeze(),
            // No reply has this form. What is not understood may have names.
            None => encode::error_reply("ERR nearside: the server answered what is no reply to this command"),
        }
    }

    /// The reply to EXEC, whose elements are the replies to commands with `names`.
    pub fn inward_of_exec(&self, names: &[ReplyNames], reply: Bytes) -> Bytes {
        let mut cursor = Cursor::new(&reply);
        match cursor.head_of_value() {
            Some(ReplyHead::Aggregate { count, .. }) if count == names.len() => {}
            _ => return self.error(reply),
        }
        let mut out = BytesMut::with_capacity(reply.len());
        encode::array(&mut out, names.len());
        for names in names {
            let Some(element) = cursor.element() else { return reply };
            out.put_slice(&self.inward(*names, reply.slice_ref(element)));
        }
        out.freeze()
    }

    /// An error as the client gets it: servers quote names in some.
    pub fn error(&self, reply: Bytes) -> Bytes {
        let quoted = [b"'", &self.prefix()[..]].concat();
        if reply.first() != Some(&b'-') || memchr::memmem::find(&reply, &quoted).is_none() {
            return reply;
        }
        let (mut out, mut rest) = (BytesMut::with_capacity(reply.len()), &reply[..]);
        while let Some(found) = memchr::memmem::find(rest, &quoted) {
            out.put_slice(&rest[..=found]);
            rest = &rest[found + quoted.len()..];
        }
        out.put_slice(rest);
        out.freeze()
    }

    fn write(&self, names: ReplyNames, cursor: &mut Cursor<'_>, out: &mut BytesMut) -> Option<()> {
        match names {
            ReplyNames::None | ReplyNames::Moved | ReplyNames::Script => out.put_slice(cursor.element()?),
            ReplyNames::Whole => self.name(cursor, out)?,
            ReplyNames::Elements => self.names(cursor, out)?,
            ReplyNames::Channels => {
                let ReplyHead::Aggregate { count, .. } = cursor.head_of_value()? else { return None };
                let mut own = Vec::new();
                for _ in 0..count {
                    let ReplyHead::Blob { body, .. } = cursor.head_of_value()? else { return None };
                    own.extend(self.bare_channel(body));
                }
                encode::strings(out, &own);
            }
            ReplyNames::ChannelCounts => {
                let ReplyHead::Aggregate { count, .. } = head(cursor, out)? else { return None };
                for _ in 0..count / 2 {
                    let ReplyHead::Blob { body, .. } = cursor.head_of_value()? else { return None };
                    encode::bulk(out, self.bare_channel(body)?);
                    out.put_slice(cursor.element()?);
                }
            }
            ReplyNames::Page => {
                let ReplyHead::Aggregate { count: 2, .. } = head(cursor, out)? else { return None };
                out.put_slice(cursor.element()?);
                self.names(cursor, out)?;
            }
            ReplyNames::First => {
                if let ReplyHead::Aggregate { count, .. } = head(cursor, out)? {
                    self.name(cursor, out)?;
                    rest(cursor, count.checked_sub(1)?, out)?;
                }
            }
            ReplyNames::Streams => match head(cursor, out)? {
                ReplyHead::Aggregate { kind: b'%', count } => {
                    for _ in 0..count / 2 {
                        self.name(cursor, out)?;
                        out.put_slice(cursor.element()?);
                    }
                }
                ReplyHead::Aggregate { count, .. } => {
                    for _ in 0..count {
                        let ReplyHead::Aggregate { count, .. } = head(cursor, out)? else { return None };
                        self.name(cursor, out)?;
                        rest(cursor, count.checked_sub(1)?, out)?;
                    }
                }
                _ => {}
            },
        }
        Some(())
    }

    /// An array of names, without those of others.
    fn names(&self, cursor: &mut Cursor<'_>, out: &mut BytesMut) -> Option<()> {
        let ReplyHead::Aggregate { count, .. } = cursor.head_of_value()? else { return None };
        let mut own = Vec::new();
        for _ in 0..count {
            let ReplyHead::Blob { body, .. } = cursor.head_of_value()? else { return None };
            own.extend(self.bare(body));
        }
        encode::strings(out, &own);
        Some(())
    }

    fn name(&self, cursor: &mut Cursor<'_>, out: &mut BytesMut) -> Option<()> {
        let start = cursor.rest();
        match cursor.head_of_value()? {
            ReplyHead::Blob { body, .. } => encode::bulk(out, self.bare(body)?),
            ReplyHead::Null { .. } => out.put_slice(&start[..start.len() - cursor.rest().len()]),
            _ => return None,
        }
        Some(())
    }
}

/// Copies the head of a value.
fn head<'a>(cursor: &mut Cursor<'a>, out: &mut BytesMut) -> Option<ReplyHead<'a>> {
    let start = cursor.rest();
    let head = cursor.head_of_value()?;
    out.put_slice(&start[..start.len() - cursor.rest().len()]);
    Some(head)
}

/// Copies `count` elements.
fn rest(cursor: &mut Cursor<'_>, count: usize, out: &mut BytesMut) -> Option<()> {
    let start = cursor.rest();
    cursor.skip(count)?;
    out.put_slice(&start[..start.len() - cursor.rest().len()]);
    Some(())
}
