//! What is asked of L1, and what it answers.

use std::cell::Ref;

use bytes::Bytes;

use super::store::Copied;
use crate::resp::Resp;
use crate::resp::cursor::{self, Head};

/// A command, as the table of commands has it.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// Its name in lower case.
    pub name: &'static str,
    /// Stands for it: below 1,024, and never 0.
    pub number: u16,
}

/// What is asked about a key: the command, and all that follows it.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The command.
    pub command: Command,
    /// The key.
    pub key: &'a [u8],
    /// The arguments after the command's name, the key first, as they stand in the request: `$<length>\r\n<bytes>\r\n`
    /// each. As in Redis nobody looks at the two bytes behind an argument, so they may be others.
    pub tail: &'a [u8],
}

/// A reply in both versions of the protocol, ready to be sent.
#[derive(Clone, Debug)]
pub struct Reply {
    /// As the node sent it.
    pub resp3: Bytes,
    /// For clients of RESP2, when that differs.
    pub resp2: Option<Bytes>,
}

/// A reply that may be served.
#[derive(Debug)]
pub struct Hit<'a> {
    reply: Held<'a>,
    resp2: Resp2,
}

/// How the reply looks in RESP2, of which no copy is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resp2 {
    /// The same.
    Same,
    /// An array in place of a map or a set, whose elements are the same.
    Head,
    /// It has to be converted.
    Other,
}

#[derive(Debug)]
pub(super) enum Held<'a> {
    /// Copied out, to be copied on.
    Copied(Ref<'a, Copied>),
    /// In memory of its own.
    Shared(Bytes),
}

// === impl Question ===

impl Question<'_> {
    pub(super) fn len(&self) -> usize {
        self.key.len() + self.tail.len()
    }

    /// Whether the key is the only argument: any other one takes six bytes at least, and the length of the key has at
    /// most six digits, or is that of a key that is too long to matter.
    #[inline]
    pub(super) fn is_sole(&self) -> bool {
        self.tail.len() - self.key.len() < SOLE_FRAME_BYTES_MAX
    }

    /// Whether the key is found in what is kept of this: an entry whose key is not could never be taken out again.
    pub(super) fn is_well_formed(&self) -> bool {
        self.is_sole() || cursor::strings(self.tail).next() == Some(self.key)
    }
}

/// What stands around the only argument is shorter than this: `$<length>\r\n` and `\r\n`.
const SOLE_FRAME_BYTES_MAX: usize = 12;

// === impl Command ===

impl PartialEq for Command {
    fn eq(&self, other: &Command) -> bool {
        self.number == other.number
    }
}

impl Eq for Command {}

impl std::hash::Hash for Command {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.number.hash(state);
    }
}

// === impl Reply ===

impl Reply {
    /// The reply for a client of this version.
    #[inline]
    pub fn for_version(&self, resp: Resp) -> &Bytes {
        match (resp, &self.resp2) {
            (Resp::Two, Some(resp2)) => resp2,
            _ => &self.resp3,
        }
    }

    /// How RESP2 has it.
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
            Some(Head::Blob { body, .. }) => body.len(),
            _ => self.resp3.len(),
        }
    }
}

// === impl Hit ===

impl<'a> Hit<'a> {
    pub(super) fn new(reply: Held<'a>, resp2: Resp2) -> Hit<'a> {
        Hit { reply, resp2 }
    }

    /// The reply, in RESP3.
    #[inline]
    pub fn resp3(&self) -> &[u8] {
        match &self.reply {
            Held::Copied(copied) => copied.bytes(),
            Held::Shared(bytes) => bytes,
        }
    }

    /// How a client of RESP2 has it.
    #[inline]
    pub fn resp2(&self) -> Resp2 {
        self.resp2
    }

    /// The reply in RESP3, for as long as it is wanted.
    pub fn to_bytes(&self) -> Bytes {
        match &self.reply {
            Held::Copied(copied) => copied.to_bytes(),
            Held::Shared(bytes) => bytes.clone(),
        }
    }
}
