//! The name of a key on the servers, written for a lookup: the prefix stays where it is, so that only the key
//! is copied behind it.

use std::cell::RefCell;

/// Bytes of a key up to which its name is written here.
const KEY_BYTES_MAX: usize = 512;

/// The buffer grows by so many bytes.
const STEP_BYTES: usize = 64;

/// A prefix, and room for a key behind it; nothing at all before the first lookup.
#[derive(Debug, Default)]
pub(super) struct NameBuffer(RefCell<Box<[u8]>>);

// === impl NameBuffer ===

impl NameBuffer {
    /// What `look` finds under the name of `prefix` and `key`. `None` also if there is no room for the key,
    /// which the next one of its length may have. The prefix is the same each time.
    #[inline(always)]
    pub(super) fn look_up<T>(
        &self,
        prefix: &[u8],
        key: &[u8],
        look: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Option<T> {
        let mut name = self.0.borrow_mut();
        let end = prefix.len() + key.len();
        if end > name.len() {
            make_room(&mut name, prefix, key);
            return None;
        }
        copy(key, name.get_mut(prefix.len()..end)?);
        look(name.get(..end)?)
    }
}

#[cold]
#[inline(never)]
fn make_room(name: &mut Box<[u8]>, prefix: &[u8], key: &[u8]) {
    if key.len() <= KEY_BYTES_MAX {
        let mut grown = prefix.to_vec();
        grown.resize(prefix.len() + key.len().next_multiple_of(STEP_BYTES), 0);
        *name = grown.into();
    }
}

/// Copies a key to a place of its length. Most are short, and a call would take longer than the copy.
#[inline(always)]
fn copy(key: &[u8], to: &mut [u8]) {
    match key.len() {
        8..=16 => copy_ends::<8>(key, to),
        4..8 => copy_ends::<4>(key, to),
        _ => to.copy_from_slice(key),
    }
}

/// Copies the first and the last bytes, which overlap where there are fewer than both.
#[inline(always)]
fn copy_ends<const BYTES: usize>(key: &[u8], to: &mut [u8]) {
    if let (Some(from), Some(to)) = (key.first_chunk::<BYTES>(), to.first_chunk_mut()) {
        *to = *from;
    }
    if let (Some(from), Some(to)) = (key.last_chunk::<BYTES>(), to.last_chunk_mut()) {
        *to = *from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_the_prefix_and_the_key_whatever_came_before() {
        let buffer = NameBuffer::default();
        let found = |key: &[u8]| buffer.look_up(b"app:", key, |name| Some(name.to_vec()));
        assert_eq!(found(b"k"), None, "there was no room yet");
        for length in (0..=KEY_BYTES_MAX).chain((0..=KEY_BYTES_MAX).rev().step_by(7)) {
            let key: Vec<u8> = (0..length).map(|at| (at + length) as u8).collect();
            let found = found(&key).or_else(|| found(&key));
            assert_eq!(found, Some([b"app:", &key[..]].concat()), "{length}");
        }
        let long = [0; KEY_BYTES_MAX + 1];
        assert_eq!((found(&long), found(&long)), (None, None));
    }
}
