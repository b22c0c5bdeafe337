//! Memory that is taken when it is first written, and can be given back while others look at it.

use std::fmt;
use std::sync::atomic::AtomicU64;

use memmap2::{Advice, MmapOptions, MmapRaw, UncheckedAdvice};

/// Words of zeros. Only written words take memory.
pub(super) struct Pages(MmapRaw);

const WORD_BYTES: usize = size_of::<AtomicU64>();

/// The largest page that the kernel hands out by itself.
const PAGE_BYTES: usize = 64 * 1024;

/// A huge page of the usual CPUs. With them a lookup among very many keys misses the CPU's table of pages
/// less often. The first one is not requested, so that a small store takes only what it writes.
const HUGE_PAGE_BYTES: usize = 2 << 20;

// === impl Pages ===

impl Pages {
    /// Maps `words` words. None of them takes memory yet, and none is guaranteed.
    ///
    /// # Errors
    /// There is no room for them among the addresses, or the kernel promises no more than it has.
    pub(super) fn new(words: usize) -> std::io::Result<Pages> {
        let bytes = words.checked_mul(WORD_BYTES).ok_or(std::io::ErrorKind::OutOfMemory)?;
        let map = MmapOptions::new().len(bytes.max(1)).no_reserve_swap().map_anon()?;
        let map = MmapRaw::from(map);
        if let Some(rest) = bytes.checked_sub(HUGE_PAGE_BYTES).filter(|rest| *rest > 0)
            && let Err(error) = map.advise_range(Advice::HugePage, HUGE_PAGE_BYTES, rest)
        {
            tracing::debug!(%error, "L1: the kernel has no huge pages");
        }
        Ok(Pages(map))
    }

    /// All words.
    #[inline]
    #[expect(unsafe_code, reason = "atomics over memory that the kernel hands out")]
    pub(super) fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping begins at a page, has this many bytes, is readable and writable, has no other
        // owner, and lives as long as this. It is accessed only through these atomics, for which all bytes
        // are valid.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() / WORD_BYTES) }
    }

    /// Makes these words zeros again, and gives the memory of their whole pages back.
    #[expect(unsafe_code, reason = "the kernel changes memory that others may look at")]
    pub(super) fn give_back(&self, words: std::ops::Range<usize>) {
        let start = (words.start * WORD_BYTES).next_multiple_of(PAGE_BYTES);
        let end = (words.end * WORD_BYTES).min(self.0.len());
        // The rest of the last page may be in use, unless these words are the last ones.
        let end = if end == self.0.len() { end } else { end / PAGE_BYTES * PAGE_BYTES };
        if start < end {
            // SAFETY: the range lies in the mapping, and other threads read it only through atomics, for
            // which this is like a store of zeros.
            let advised =
                unsafe { self.0.unchecked_advise_range(UncheckedAdvice::DontNeed, start, end - start) };
            if let Err(error) = advised {
                tracing::debug!(%error, "L1: memory was not given back");
            }
        }
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pages({} words)", self.words().len())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn what_is_given_back_is_zero_and_what_lies_beside_it_is_not() {
        let page = PAGE_BYTES / WORD_BYTES;
        let pages = Pages::new(4 * page).unwrap();
        pages.words().iter().for_each(|word| word.store(7, Ordering::Relaxed));
        pages.give_back(1..3 * page - 1);
        let at = |word: usize| pages.words()[word].load(Ordering::Relaxed);
        assert_eq!((at(0), at(page - 1), at(page), at(2 * page - 1), at(2 * page)), (7, 7, 0, 0, 7));
        pages.give_back(2 * page..4 * page);
        assert_eq!((at(2 * page), at(4 * page - 1)), (0, 0));
        pages.words()[0].store(8, Ordering::Relaxed);
        assert_eq!(at(0), 8);
    }

    #[test]
    fn more_than_there_are_addresses_is_an_error() {
        assert!(Pages::new(usize::MAX).is_err());
        assert!(Pages::new(1 << 58).is_err());
    }
}
