//! What is asked of L1, and what it answers.

use bytes::Bytes;

use super::store::FoundReply;
use crate::net::write_queue::WriteQueue;
use crate::protocol::resp::Resp;
use crate::protocol::resp::cursor::{self, ReplyHead};

/// A command, as the table of commands has it.
#[derive(Clone, Copy, Debug)]
pub struct CommandId {
    /// Its name in lower case.
    pub name: &'static str,
    /// Stands for it: below 1,024, and never 0.
    pub number: u16,
}

/// What is asked about a key: the command, and all that follows it.
#[derive(Clone, Copy, Debug)]
pub struct CacheQuery<'a> {
    /// The command.
    pub command: CommandId,
    /// The key.
    pub key: &'a [u8],
    /// The arguments after the command's name, the key first, as they stand in the request:
    /// `$<length>\r\n<bytes>\r\n` each. As in Redis nobody looks at the two bytes behind an argument, so
    /// they may be others.
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

/// A reply that may be served. It lies behind what waits in an output, and waits itself only when it is
/// appended.
#[derive(Debug)]
pub struct Hit<'a> {
    out: &'a mut WriteQueue,
    held: FoundReply,
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

// === impl Question ===

impl CacheQuery<'_> {
    pub(super) fn len(&self) -> usize {
        self.key.len() + self.args.len()
    }

    /// Whether the key is the only argument: any other one takes six bytes at least, and the length of the
    /// key has at most six digits, or is that of a key that is too long to matter.
    #[inline]
    pub(super) fn is_sole(&self) -> bool {
        self.args.len() - self.key.len() < SOLE_FRAME_BYTES_MAX
    }

    /// Whether the key is found in what is kept of this: an entry whose key is not could never be taken out
    /// again.
    pub(super) fn is_well_formed(&self) -> bool {
        self.is_sole() || cursor::strings(self.args).next() == Some(self.key)
    }
}

/// What stands around the only argument is shorter than this: `$<length>\r\n` and `\r\n`.
const SOLE_FRAME_BYTES_MAX: usize = 12;

// === impl Command ===

impl PartialEq for CommandId {
    fn eq(&self, other: &CommandId) -> bool {
        self.number == other.number
    }
}

impl Eq for CommandId {}

impl std::hash::Hash for CommandId {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.number.hash(state);
    }
}

// === impl Reply ===

impl VersionedReply {
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
            Some(ReplyHead::Blob { body, .. }) => body.len(),
            _ => self.resp3.len(),
        }
    }
}

// === impl Hit ===

impl<'a> Hit<'a> {
    #[inline]
    pub(super) fn new(out: &'a mut WriteQueue, held: FoundReply, resp2: Resp2) -> Hit<'a> {
        Hit { out, held, resp2 }
    }

    /// The reply, in RESP3.
    #[inline]
    pub fn resp3(&self) -> &[u8] {
        match self.held.len_in_room() {
            Ok(len) => self.out.in_room(len),
            Err(bytes) => bytes,
        }
    }

    /// How a client of RESP2 has it.
    #[inline]
    pub fn resp2(&self) -> Resp2 {
        self.resp2
    }

    /// The reply in RESP3, for as long as it is wanted.
    pub fn to_bytes(&self) -> Bytes {
        self.held.to_bytes(self.out)
    }

    /// Appends the reply to the output, as RESP3 has it.
    #[inline(always)]
    pub fn append(self) {
        match self.held.len_in_room() {
            Ok(len) => self.out.push_room(len),
            Err(bytes) => push(self.out, bytes),
        }
    }

    /// The same as an array, where it is a map or a set ([`Resp2::Head`]).
    ///
    /// # Errors
    /// It is neither, and nothing is done.
    pub fn append_as_array(self) -> Result<(), Hit<'a>> {
        let reply = self.resp3();
        let Some((old, count)) = aggregate(reply) else { return Err(self) };
        let (bytes, (head, at)) = (reply.len(), array_head(count));
        let new = head.len() - at;
        match self.held.len_in_room() {
            Ok(_) => {
                let room = self.out.room(bytes + new - old);
                if new != old {
                    room.copy_within(old..bytes, new);
                }
                for (to, byte) in room.iter_mut().zip(&head[at..]) {
                    *to = *byte;
                }
                self.out.push_room(bytes + new - old);
            }
            Err(bytes) => {
                self.out.push_copy(&head[at..]);
                self.out.push(&bytes.slice(old..));
            }
        }
        Ok(())
    }
}

/// No more digits are looked at: elements of three bytes each would not fit into memory.
const DIGITS_MAX: usize = 18;

/// How long the head of a map or a set is, without the end of its line, and how many elements an array of the
/// same has.
#[inline]
fn aggregate(reply: &[u8]) -> Option<(usize, usize)> {
    let (kind, digits) = reply.split_first()?;
    let times = match kind {
        b'%' => 2,
        b'~' => 1,
        _ => return None,
    };
    let mut count = 0;
    for (at, byte) in digits.iter().enumerate().take(DIGITS_MAX) {
        match byte {
            b'0'..=b'9' => count = 10 * count + usize::from(byte - b'0'),
            b'\r' if at > 0 => return Some((1 + at, times * count)),
            _ => return None,
        }
    }
    None
}

/// The head of an array of so many elements, without the end of its line, and where it begins.
#[inline]
fn array_head(count: usize) -> ([u8; DIGITS_MAX + 3], usize) {
    let (mut head, mut at, mut rest) = ([b'*'; DIGITS_MAX + 3], DIGITS_MAX + 2, count);
    loop {
        head[at] = b'0' + (rest % 10) as u8;
        at -= 1;
        rest /= 10;
        if rest == 0 {
            return (head, at);
        }
    }
}

#[cold]
fn push(out: &mut WriteQueue, bytes: &Bytes) {
    out.push(bytes);
}
