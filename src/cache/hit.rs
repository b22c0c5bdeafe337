//! A hit: a reply that was copied behind an output, and its form for a client of RESP2.

use bytes::Bytes;

use super::entry::Resp2;
use super::store::FoundReply;
use crate::net::write_queue::WriteQueue;

/// A reply that may be served. It lies behind the waiting bytes of an output, and becomes part of them when
/// it is appended.
#[derive(Debug)]
pub struct Hit<'a> {
    out: &'a mut WriteQueue,
    held: FoundReply,
}

// === impl Hit ===

impl<'a> Hit<'a> {
    #[inline]
    pub(super) fn new(out: &'a mut WriteQueue, held: FoundReply) -> Hit<'a> {
        Hit { out, held }
    }

    /// The reply, in RESP3.
    #[inline]
    pub fn resp3(&self) -> &[u8] {
        match self.held.len_in_room() {
            Ok(len) => self.out.in_room(len),
            Err(bytes) => bytes,
        }
    }

    /// Its form for a client of RESP2.
    #[inline]
    pub fn resp2(&self) -> Resp2 {
        self.held.resp2()
    }

    /// The reply in RESP3, for as long as it is wanted.
    pub fn to_bytes(&self) -> Bytes {
        self.held.to_bytes(self.out)
    }

    /// Appends the reply to the output, in RESP3.
    #[inline(always)]
    pub fn append(self) {
        match self.held.len_in_room() {
            Ok(len) => self.out.push_room(len),
            Err(bytes) => push(self.out, bytes),
        }
    }

    /// Appends the reply as an array, where it is a map or a set ([`Resp2::Head`]).
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

/// The head of an array of `count` elements, without the end of its line, and where it begins.
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
