//! Bytes on their way out of one socket: small pieces are joined, large ones are kept as they are and not copied.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::Bytes;

/// From this size on a piece is queued by reference: below it a copy is cheaper than another slice in the write.
const SHARED_BYTES_MIN: usize = 16 * 1024;

/// The joining buffer is given back when it has grown beyond this and is empty again. What it holds beyond this when the
/// socket takes no more becomes a piece of its own, whose memory goes as soon as it was written.
const KEPT_CAPACITY_BYTES_MAX: usize = 64 * 1024;

/// Room for so many pieces is kept when none waits.
const KEPT_PIECES_MAX: usize = 64;

/// Slices handed to one vectored write.
const SLICES_MAX: usize = 16;

/// The outgoing bytes of one socket, in order.
#[derive(Debug, Default)]
pub struct WriteQueue {
    /// Pieces before `joined`, complete.
    before: VecDeque<Bytes>,
    /// The latest small pieces, joined.
    joined: Vec<u8>,
    /// How much of the first piece was written already.
    written: usize,
    /// Bytes waiting in all.
    len: usize,
}

// === impl WriteQueue ===

impl WriteQueue {
    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a copy of `bytes`.
    #[inline]
    pub fn push_copy(&mut self, bytes: &[u8]) {
        self.joined.extend_from_slice(bytes);
        self.len += bytes.len();
    }

    /// Appends `bytes`, without a copy when they are many.
    #[inline]
    pub fn push(&mut self, bytes: &Bytes) {
        self.push_lent(bytes, || bytes.clone());
    }

    /// Appends `bytes`; when they are many it takes what `share` makes of them, and does not copy.
    #[inline]
    pub fn push_lent(&mut self, bytes: &[u8], share: impl FnOnce() -> Bytes) {
        if bytes.len() < SHARED_BYTES_MIN {
            self.push_copy(bytes);
        } else {
            self.push_shared(share());
        }
    }

    /// Writes as much as `write` takes in one go; it gets the slices that wait, in order, and says how many bytes
    /// it took. Returns that number; 0 when nothing waited.
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
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let mut count = 0;
        let pieces = self.before.iter().map(|piece| &piece[..]).chain([self.joined.as_slice()]);
        for (slot, piece) in slices.iter_mut().zip(pieces) {
            let skip = if count == 0 { self.written } else { 0 };
            *slot = IoSlice::new(&piece[skip..]);
            count += 1;
        }
        let taken = write(&slices[..count]);
        self.advance(*taken.as_ref().unwrap_or(&0));
        taken
    }

    /// Drops everything that waits.
    pub fn clear(&mut self) {
        self.before.clear();
        self.joined.clear();
        self.written = 0;
        self.len = 0;
    }

    fn push_shared(&mut self, bytes: Bytes) {
        if !self.joined.is_empty() {
            self.close_joined();
        }
        self.len += bytes.len();
        self.before.push_back(bytes);
    }

    /// What was joined so far waits as a piece, in no more memory than it takes.
    fn close_joined(&mut self) {
        let mut joined = std::mem::take(&mut self.joined);
        joined.shrink_to_fit();
        self.before.push_back(Bytes::from(joined));
    }

    fn advance(&mut self, taken: usize) {
        self.len -= taken;
        self.written += taken;
        while let Some(first) = self.before.front() {
            if self.written < first.len() {
                if self.joined.len() > KEPT_CAPACITY_BYTES_MAX {
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
        if self.written == self.joined.len() {
            self.written = 0;
            self.joined.clear();
            if self.joined.capacity() > KEPT_CAPACITY_BYTES_MAX {
                self.joined = Vec::new();
            }
        } else if self.joined.len() > KEPT_CAPACITY_BYTES_MAX {
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
            assert!(queue.joined.len() <= 20_000 * 7 + KEPT_CAPACITY_BYTES_MAX, "it grows in one piece");
        }
        assert_eq!(queue.len(), REPLIES * 7);
        let held =
            |queue: &WriteQueue| queue.before.iter().map(Bytes::len).sum::<usize>() + queue.joined.len();
        let (mut written, mut writes) = (0, 0);
        while !queue.is_empty() {
            written += queue.write_with(|slices| Ok(slices[0].len().min(100_000))).unwrap();
            writes += 1;
            assert!(held(&queue) - queue.len() < 300_000, "what was written is still held");
        }
        assert_eq!(written, REPLIES * 7);
        assert!(writes < 200, "{writes}");
        assert!(queue.before.capacity() <= KEPT_PIECES_MAX);
        assert!(queue.joined.capacity() <= KEPT_CAPACITY_BYTES_MAX);
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
