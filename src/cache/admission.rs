//! Admission: keys that are invalidated more often than they are read get no entry.
//!
//! Each entry that is invalidated before it was hit adds one to the score of its key; each one that was hit
//! takes one off. At [`REFUSED_AT`] the key is not kept any more, except by every [`TRIAL_EVERY`]th read of
//! it: an entry that is hit then brings the key back. The scores are in a table of fixed size, which is
//! written on misses and invalidations and never on a hit. When two keys share a place, each replaces the
//! score of the other.

use std::sync::atomic::{AtomicU64, Ordering};

/// The score from which on a key is not kept.
const REFUSED_AT: u64 = 4;

/// Reads of such a key from one trial to the next: the reply of a trial is kept.
const TRIAL_EVERY: u64 = 16;

/// Keys with a score at most: 32 KiB.
pub(super) const SCORES_MAX: usize = 1 << 12;

/// The scores of keys. A place is a part of the key's hash, its score, and the number of reads that were
/// refused since the last trial, in one word.
#[derive(Debug)]
pub(super) struct ChurnFilter {
    places: Box<[AtomicU64]>,
}

// === impl ChurnFilter ===

impl ChurnFilter {
    pub(super) fn new() -> ChurnFilter {
        ChurnFilter { places: std::iter::repeat_with(AtomicU64::default).take(SCORES_MAX).collect() }
    }

    /// Notes that an entry of the key with this hash was invalidated; `was_hit` says whether it was ever hit.
    pub(super) fn note_end(&self, hash: u64, was_hit: bool) {
        let (score, turned_away) = self.of(hash);
        // Most keys have no score, and need none.
        if was_hit && score == 0 {
            return;
        }
        let score = if was_hit { score.saturating_sub(1) } else { (score + 1).min(REFUSED_AT) };
        self.put(hash, score, turned_away);
    }

    /// Whether a reply that is read now may be kept.
    pub(super) fn admits(&self, hash: u64) -> bool {
        let (score, turned_away) = self.of(hash);
        if score < REFUSED_AT {
            return true;
        }
        let is_trial = turned_away + 1 >= TRIAL_EVERY;
        self.put(hash, score, if is_trial { 0 } else { turned_away + 1 });
        is_trial
    }

    fn of(&self, hash: u64) -> (u64, u64) {
        let packed = self.place(hash).load(Ordering::Relaxed);
        if tag(packed) == tag(hash) { (packed & 0xff, packed >> 8 & 0xff) } else { (0, 0) }
    }

    /// Two workers at once may lose a count, which costs a fill or two.
    fn put(&self, hash: u64, score: u64, turned_away: u64) {
        self.place(hash).store(tag(hash) | turned_away << 8 | score, Ordering::Relaxed);
    }

    fn place(&self, hash: u64) -> &AtomicU64 {
        &self.places[hash as usize % SCORES_MAX]
    }
}

fn tag(hash: u64) -> u64 {
    hash & !0xffff
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: u64 = 0x1234_5678_9abc_def0;

    #[test]
    fn a_key_that_is_invalidated_unread_is_refused_until_a_trial_is_hit() {
        let scores = ChurnFilter::new();
        for _ in 0..REFUSED_AT {
            assert!(scores.admits(KEY));
            scores.note_end(KEY, false);
        }
        // One of several is tried; one that ends unread changes nothing.
        for _ in 0..3 {
            let admitted = (0..TRIAL_EVERY).filter(|_| scores.admits(KEY)).count();
            assert_eq!(admitted, 1);
            scores.note_end(KEY, false);
        }
        scores.note_end(KEY, true);
        assert!((0..100).all(|_| scores.admits(KEY)), "it was hit");
    }

    #[test]
    fn a_key_that_is_hit_as_often_as_not_is_kept() {
        let scores = ChurnFilter::new();
        for number in 0..1_000 {
            assert!(scores.admits(KEY));
            scores.note_end(KEY, number % 2 == 0);
        }
    }

    #[test]
    fn keys_that_share_a_place_begin_anew() {
        let (scores, other) = (ChurnFilter::new(), KEY ^ 1 << 40);
        (0..REFUSED_AT).for_each(|_| scores.note_end(KEY, false));
        assert!(!scores.admits(KEY) && scores.admits(other));
        scores.note_end(other, false);
        assert!(scores.admits(KEY));
    }
}
