//! Bytes on their way out of one socket: small pieces are joined, large ones are kept as they are and not
//! copied.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::Bytes;

/// From this size on a piece is queued by reference: below it a copy is cheaper than another slice in the
/// write.
const SHARED_BYTES_MIN: usize = 16 * 1024;

/// The joining buffer is given back when it has grown beyond this and is empty again. What it holds beyond
/// this when the socket takes no more becomes a piece of its own, whose memory goes as soon as it was
/// written.
const KEPT_CAPACITY_BYTES_MAX: usize = 64 * 1024;

/// Pieces for which an empty queue keeps its memory.
const KEPT_PIECES_MAX: usize = 64;

/// Slices handed to one vectored write.
const SLICES_MAX: usize = 16;

/// Room behind the requested room: code that copies whole words may write some bytes too many.
pub const SLACK_BYTES: usize = 8;

/// The joining buffer begins with so much.
const JOINED_BYTES_MIN: usize = 32;

/// The outgoing bytes of one socket, in order.
#[derive(Debug, Default)]
pub struct WriteQueue {
    /// Pieces before `joined`, complete.
    before: VecDeque<Bytes>,
    /// The latest small pieces, joined.
    joined: Joined,
    /// How much of the first piece was written already.
    written: usize,
    /// Bytes waiting in all.
    len: usize,
}

/// Bytes one behind the other, and memory behind them that was written to before, so that something can be
/// put there first and counted later.
#[derive(Debug, Default)]
struct Joined {
    memory: Vec<u8>,
    /// How much of it counts.
    len: usize,
}

// === impl Joined ===

impl Joined {
    #[inline]
    fn bytes(&self) -> &[u8] {
        self.memory.get(..self.len).unwrap_or_default()
    }

    /// Makes room for `more` bytes.
    fn grow(&mut self, more: usize) {
        let least = (2 * self.memory.len()).max(JOINED_BYTES_MIN);
        self.memory.resize(least.max(self.len + more), 0);
    }

    /// All of it as a piece, in no more memory than it takes.
    fn take(&mut self) -> Bytes {
        let Joined { mut memory, len } = std::mem::take(self);
        memory.truncate(len);
        memory.shrink_to_fit();
        Bytes::from(memory)
    }
}

// === impl WriteQueue ===

impl WriteQueue {
    /// Bytes that wait.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a copy of `bytes`.
    #[inline]
    pub fn push_copy(&mut self, bytes: &[u8]) {
        if let Some(room) = self.room(bytes.len()).get_mut(..bytes.len()) {
            room.copy_from_slice(bytes);
            self.push_room(bytes.len());
        }
    }

    /// Appends `bytes`, without a copy when they are many.
    #[inline]
    pub fn push(&mut self, bytes: &Bytes) {
        if bytes.len() < SHARED_BYTES_MIN {
            self.push_copy(bytes);
        } else {
            self.push_shared(bytes.clone());
        }
    }

    /// Room for `bytes` bytes and [`SLACK_BYTES`] more behind all that waits. What is put there does not wait
    /// until [`WriteQueue::push_room`] says that it does.
    #[inline(always)]
    pub fn room(&mut self, bytes: usize) -> &mut [u8] {
        let (start, end) = (self.joined.len, self.joined.len + bytes + SLACK_BYTES);
        if end <= self.joined.memory.len() {
            return self.joined.memory.get_mut(start..end).unwrap_or_default();
        }
        self.make_room(bytes)
    }

    /// Appends the first bytes of the room that was asked for last.
    #[inline]
    pub fn push_room(&mut self, bytes: usize) {
        let bytes = bytes.min(self.joined.memory.len() - self.joined.len);
        self.joined.len += bytes;
        self.len += bytes;
    }

    /// The first `bytes` bytes of the room that was asked for last.
    #[inline]
    pub fn in_room(&self, bytes: usize) -> &[u8] {
        self.joined.memory.get(self.joined.len..self.joined.len + bytes).unwrap_or_default()
    }

    #[cold]
    #[inline(never)]
    fn make_room(&mut self, bytes: usize) -> &mut [u8] {
        // Much is not moved about as more comes behind it.
        if self.joined.len >= KEPT_CAPACITY_BYTES_MAX || (self.joined.len > 0 && bytes >= SHARED_BYTES_MIN) {
            self.close_joined();
        }
        self.joined.grow(bytes + SLACK_BYTES);
        &mut self.joined.memory[self.joined.len..]
    }

    /// Writes as much as `write` takes in one go; it gets the slices that wait, in order, and says how many
    /// bytes it took. Returns that number; 0 when nothing waited.
    ///
    /// # Errors
    /// Whatever `write` failed with.
    pub fn write_with(
        &mut self,
        write: impl FnOnce(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if self.len == 0 {
            return Ok(0);
        }
        let joined = self.joined.bytes();
        let taken = if self.before.is_empty() {
            write(&[IoSlice::new(&joined[self.written..])])
        } else {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let mut count = 0;
            let pieces = self.before.iter().map(|piece| &piece[..]).chain([joined]);
            for (slot, piece) in slices.iter_mut().zip(pieces) {
                let skip = if count == 0 { self.written } else { 0 };
                *slot = IoSlice::new(&piece[skip..]);
                count += 1;
            }
            write(&slices[..count])
        };
        self.advance(*taken.as_ref().unwrap_or(&0));
        taken
    }

    /// Drops everything that waits.
    pub fn clear(&mut self) {
        self.before.clear();
        self.joined.len = 0;
        self.written = 0;
        self.len = 0;
    }

    /// Takes back what was appended since `len` bytes waited. None of it may have been written.
    pub fn take_back(&mut self, len: usize) -> Bytes {
        let mut wanted = self.len.saturating_sub(len);
        self.len -= wanted;
        let of_joined = wanted.min(self.joined.len);
        wanted -= of_joined;
        let joined = self.joined.bytes();
        let mut pieces = vec![Bytes::copy_from_slice(&joined[joined.len() - of_joined..])];
        self.joined.len -= of_joined;
        while wanted > 0
            && let Some(mut piece) = self.before.pop_back()
        {
            let of_piece = wanted.min(piece.len());
            wanted -= of_piece;
            pieces.push(piece.split_off(piece.len() - of_piece));
            if !piece.is_empty() {
                self.before.push_back(piece);
            }
        }
        pieces.retain(|piece| !piece.is_empty());
        match pieces.as_mut_slice() {
            [one] => std::mem::take(one),
            several => {
                several.reverse();
                several.concat().into()
            }
        }
    }

    /// Appends `bytes` without a copy.
    pub fn push_shared(&mut self, bytes: Bytes) {
        if self.joined.len > 0 {
            self.close_joined();
        }
        self.len += bytes.len();
        self.before.push_back(bytes);
    }

    /// What was joined so far waits as a piece.
    fn close_joined(&mut self) {
        let joined = self.joined.take();
        self.before.push_back(joined);
    }

    fn advance(&mut self, taken: usize) {
        self.len -= taken;
        self.written += taken;
        while let Some(first) = self.before.front() {
            if self.written < first.len() {
                if self.joined.len > KEPT_CAPACITY_BYTES_MAX {
                    self.close_joined();
                }
                return;
            }
            self.written -= first.len();
            self.before.pop_front();
            if self.before.is_empty() && self.before.capacity() > KEPT_PIECES_MAX {
                self.before = VecDeque::new();
            }
        }
        if self.written == self.joined.len {
            self.written = 0;
            self.joined.len = 0;
            if self.joined.memory.len() > KEPT_CAPACITY_BYTES_MAX {
                self.joined = Joined::default();
            }
        } else if self.joined.len > KEPT_CAPACITY_BYTES_MAX {
            self.close_joined();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_in_order_however_little_each_write_takes() {
        let large = Bytes::from(vec![b'L'; SHARED_BYTES_MIN]);
        let small = Bytes::from_static(b"small");
        let mut expected = Vec::new();
        let mut queue = WriteQueue::default();
        for _ in 0..3 {
            for piece in [&small, &large, &small, &small, &large] {
                queue.push(piece);
                expected.extend_from_slice(piece);
            }
            queue.push_copy(b"copied");
            expected.extend_from_slice(b"copied");
        }
        assert_eq!(queue.len(), expected.len());
        let mut got = Vec::new();
        for take in (1..).step_by(977) {
            let taken = queue
                .write_with(|slices| {
                    let before = got.len();
                    for slice in slices {
                        let room = (take - (got.len() - before)).min(slice.len());
                        got.extend_from_slice(&slice[..room]);
                    }
                    Ok(got.len() - before)
                })
                .unwrap();
            if taken == 0 {
                break;
            }
        }
        assert!(queue.is_empty());
        assert_eq!(got, expected);
    }

    #[test]
    fn what_waits_long_gives_its_memory_back_as_it_leaves() {
        const REPLIES: usize = 1_000_000;
        let mut queue = WriteQueue::default();
        let full = |_: &[IoSlice<'_>]| Err(io::ErrorKind::WouldBlock.into());
        for number in 0..REPLIES {
            queue.push_copy(b"reply\r\n");
            // Now and then it is tried, and the socket is full.
            if number % 20_000 == 0 {
                assert!(queue.write_with(full).is_err());
            }
            assert!(queue.joined.len <= 20_000 * 7 + KEPT_CAPACITY_BYTES_MAX, "it grows in one piece");
        }
        assert_eq!(queue.len(), REPLIES * 7);
        let held = |queue: &WriteQueue| queue.before.iter().map(Bytes::len).sum::<usize>() + queue.joined.len;
        let (mut written, mut writes) = (0, 0);
        while !queue.is_empty() {
            written += queue.write_with(|slices| Ok(slices[0].len().min(100_000))).unwrap();
            writes += 1;
            assert!(held(&queue) - queue.len() < 300_000, "what was written is still held");
        }
        assert_eq!(written, REPLIES * 7);
        assert!(writes < 200, "{writes}");
        assert!(queue.before.capacity() <= KEPT_PIECES_MAX);
        assert!(queue.joined.memory.capacity() <= KEPT_CAPACITY_BYTES_MAX);
    }

    #[test]
    fn what_is_in_the_room_waits_only_when_it_is_said_to() {
        let mut queue = WriteQueue::default();
        queue.push_copy(b"first");
        for (number, count) in [3, 900, SHARED_BYTES_MIN, 7].into_iter().enumerate() {
            queue.room(count)[..count].fill(b'x');
            assert_eq!(queue.in_room(count), vec![b'x'; count]);
            queue.push_copy(b"instead");
            assert_eq!(queue.len(), 5 + 7 * (number + 1), "what was not said to wait");
        }
        queue.room(4)[..8].copy_from_slice(b"pushroom");
        queue.push_room(4);
        let expected = [&b"first"[..], &b"instead".repeat(4), b"push"].concat();
        assert_eq!(queue.take_back(0), expected);
        assert!(queue.is_empty());
    }

    #[test]
    fn what_was_appended_last_is_taken_back_however_it_lies() {
        let large = Bytes::from(vec![b'L'; SHARED_BYTES_MIN]);
        let pieces = [&large[..], b"small", b"", &large[..9], &large, &large, b"end"];
        let all = pieces.concat();
        for at in (0..=all.len()).step_by(333).chain([all.len() - 1, all.len() - 3, all.len() - 4]) {
            let mut queue = WriteQueue::default();
            pieces.iter().for_each(|piece| queue.push(&Bytes::copy_from_slice(piece)));
            assert_eq!(queue.write_with(|_| Ok(0)).unwrap(), 0);
            assert_eq!(queue.take_back(at), all[at..], "{at}");
            assert_eq!(queue.len(), at);
            queue.push_copy(b"more");
            assert_eq!(queue.take_back(0), [&all[..at], b"more"].concat());
        }
    }

    #[test]
    fn a_large_piece_is_not_copied() {
        let large = Bytes::from(vec![b'L'; SHARED_BYTES_MIN]);
        let mut queue = WriteQueue::default();
        queue.push(&large);
        queue
            .write_with(|slices| {
                assert_eq!(slices[0].as_ptr(), large.as_ptr());
                Ok(slices[0].len())
            })
            .unwrap();
        assert!(queue.is_empty());
    }
}
