//! What was read from a client and is not done with yet.
//!
//! It may be very long, and is used in small parts: the rest is not moved for each of them.

use std::ops::Deref;

/// Bytes at whose end some are added, and whose beginning is done with bit by bit.
#[derive(Debug, Default)]
pub struct UnreadBytes {
    bytes: Vec<u8>,
    /// Bytes at the beginning that were used; 0 when there are no others.
    done: usize,
}

// === impl UnreadBytes ===

impl UnreadBytes {
    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The memory that is held for them.
    #[inline]
    pub fn held(&self) -> usize {
        self.bytes.len()
    }

    /// Adds some at the end.
    pub fn extend_from_slice(&mut self, more: &[u8]) {
        self.bytes.extend_from_slice(more);
    }

    /// How many more there is room for.
    pub fn room(&self) -> usize {
        self.bytes.capacity() - self.bytes.len()
    }

    /// Makes room for `more` bytes.
    pub fn reserve_exact(&mut self, more: usize) {
        self.bytes.reserve_exact(more);
    }

    /// The first `count` are done with.
    pub fn advance(&mut self, count: usize) {
        self.done += count;
        if self.done == self.bytes.len() {
            *self = UnreadBytes::default();
        } else if self.done >= self.bytes.len() / 2 {
            // As many were done with as are moved.
            self.bytes.drain(..self.done);
            self.done = 0;
        }
    }

    /// All of them.
    pub fn take(&mut self) -> Vec<u8> {
        let UnreadBytes { mut bytes, done } = std::mem::take(self);
        bytes.drain(..done);
        bytes
    }
}

impl From<Vec<u8>> for UnreadBytes {
    fn from(bytes: Vec<u8>) -> UnreadBytes {
        UnreadBytes { bytes, done: 0 }
    }
}

impl Deref for UnreadBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.done..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_moved_no_more_often_than_it_gets_half() {
        let mut rest = UnreadBytes::default();
        rest.extend_from_slice(&[7; 1024]);
        let (mut moved, mut left) = (0, 1024);
        while left > 0 {
            let held = rest.held();
            rest.advance(1);
            left -= 1;
            moved += if rest.held() < held { left } else { 0 };
            assert_eq!((rest.len(), rest.is_empty()), (left, left == 0));
            assert!(rest.held() <= 2 * left + 1, "it holds little more than there is");
        }
        assert!(moved <= 1024, "{moved} were moved");
        assert_eq!(rest.held(), 0);
        rest.extend_from_slice(b"abcdef");
        rest.advance(1);
        rest.extend_from_slice(b"g");
        assert_eq!(&rest[..], b"bcdefg");
        assert_eq!(rest.take(), b"bcdefg");
        assert!(rest.is_empty() && UnreadBytes::from(b"x".to_vec())[..] == *b"x");
    }
}
