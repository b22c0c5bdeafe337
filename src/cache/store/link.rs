//! Puts an entry that was written to the log into the index, and takes entries out of it. Several replies
//! about one key are linked.

use std::sync::atomic::{AtomicU64, Ordering};

use super::body;
use super::entry::{EntryHead, LookupKey};
use super::index::Lines;
use super::insert::{NewEntry, Refused};
use super::large::LargeEntries;
use super::line::{Line, Place};
use super::{REPLIES_MAX, Store};

// === impl Store ===

impl Store {
    /// Whether another query about this key has an entry in the log. Only the holder of the writer's lock
    /// adds one, so no line has to be locked; if that entry goes meanwhile, the new one has an unused link.
    pub(super) fn has_others(&self, fill: &NewEntry<'_>, lookup_key: &LookupKey<'_>) -> bool {
        let is_home_all = self.index.home(fill.hash).head().away() == 0;
        let first = if is_home_all {
            self.first_of(self.index.home(fill.hash), fill)
        } else {
            self.index.all(fill.hash).iter().find_map(|line| self.first_of(*line, fill))
        };
        first.is_some_and(|(_, spot)| {
            let words = self.at(spot);
            EntryHead::read(words)
                .is_some_and(|head| head.is_chained() || !self.answers(words, head, lookup_key))
        })
    }

    fn answers(&self, words: &[AtomicU64], head: EntryHead, lookup_key: &LookupKey<'_>) -> bool {
        let body = || body::body_of(words, head, lookup_key)?.split_at_checked(lookup_key.asked.len() / 8);
        head.may_answer(lookup_key)
            && body().is_some_and(|(whole, behind)| body::is_asked(whole, behind, lookup_key.asked))
    }

    /// The place of the key of `fill` for what it has in the log, and where the first of that lies.
    fn first_of(&self, line: Line<'_>, fill: &NewEntry<'_>) -> Option<(usize, u64)> {
        line.matching(fill.hash).find_map(|at| {
            let spot = line.place(at).spot().filter(|spot| !LargeEntries::has_spot(*spot))?;
            body::is_about(self.at(spot), fill.query.key).then_some((at, spot))
        })
    }

    /// Puts what was written at `spot` into the index, in place of an older reply to the same query and
    /// before others of the same key, if the generation is still the one that the fill noted.
    pub(super) fn link(
        &self,
        fill: &NewEntry<'_>,
        lookup_key: &LookupKey<'_>,
        spot: u64,
    ) -> Result<(), Refused> {
        let mut lines = self.index.lock_all(fill.hash);
        // Under the lock that an invalidation takes: either it comes later and drops what is put here, or it
        // came before and the number is another one (I2).
        if lines.generation() != fill.generation {
            return Err(Refused::Changed);
        }
        if lines.iter().any(|locked| locked.matching(fill.hash).next().is_some())
            && self.link_to_others(&mut lines, fill, lookup_key, spot)
        {
            return Ok(());
        }
        let place = Place::new(fill.hash, spot, 0);
        if !lines.put(place) {
            let (at, gone) = lines.coldest().ok_or(Refused::NoRoom)?;
            lines.clear(0, at);
            self.evict_place(gone);
            if !lines.put(place) {
                return Err(Refused::NoRoom);
            }
        }
        self.entries.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Takes an older reply to the same query out, and puts what was written at `spot` before others of
    /// the same key; whether there are any.
    fn link_to_others(
        &self,
        lines: &mut Lines<'_>,
        fill: &NewEntry<'_>,
        lookup_key: &LookupKey<'_>,
        spot: u64,
    ) -> bool {
        self.unlink_question(lines, fill.hash, lookup_key);
        if LargeEntries::has_spot(spot) {
            return false;
        }
        for locked in lines.iter() {
            if let Some((at, first)) = self.first_of(locked.line(), fill) {
                self.shorten(first);
                let place = locked.place(at);
                if let Some(next) = body::next(self.at(spot)) {
                    next.store(place.word(), Ordering::Relaxed);
                    locked.word(at).store(place.with(spot, place.hits()).word(), Ordering::Relaxed);
                    return true;
                }
            }
        }
        false
    }

    /// Takes the reply to this query out of the index.
    pub(super) fn unlink_question(&self, lines: &mut Lines<'_>, hash: u64, lookup_key: &LookupKey<'_>) {
        let found = lines.iter().find_map(|locked| {
            locked.matching(hash).find_map(|at| {
                let first = locked.place(at).spot()?;
                if LargeEntries::has_spot(first) {
                    let large = self.large.get(first)?;
                    let is_it = large.head.may_answer(lookup_key) && *large.asked == *lookup_key.asked;
                    return is_it.then_some((locked.choice(), at, locked.word(at)));
                }
                let mut pointer = locked.word(at);
                // No chain is longer.
                for _ in 0..=REPLIES_MAX {
                    let spot = Place::from_word(pointer.load(Ordering::Relaxed)).spot()?;
                    let words = self.at(spot);
                    if self.answers(words, EntryHead::read(words)?, lookup_key) {
                        return Some((locked.choice(), at, pointer));
                    }
                    pointer = body::next(words)?;
                }
                None
            })
        });
        if let Some((choice, at, pointer)) = found {
            self.unlink(lines, choice, at, pointer);
        }
    }

    /// Takes what `pointer` points to out of the index: the word of place `at` in the line that is this
    /// choice of the key, or that of an entry that hangs on it.
    pub(super) fn unlink(&self, lines: &mut Lines<'_>, choice: usize, at: usize, pointer: &AtomicU64) {
        let place = Place::from_word(pointer.load(Ordering::Relaxed));
        let Some(spot) = place.spot() else { return };
        let next = if LargeEntries::has_spot(spot) { None } else { body::next(self.at(spot)) };
        let next = next.and_then(|word| Place::from_word(word.load(Ordering::Relaxed)).spot());
        match next {
            Some(next) => pointer.store(place.with(next, place.hits()).word(), Ordering::Relaxed),
            None if lines.word(choice, at).is_some_and(|word| std::ptr::eq(pointer, word)) => {
                self.entries.fetch_sub(1, Ordering::Relaxed);
                lines.clear(choice, at);
            }
            None => pointer.store(Place::EMPTY.word(), Ordering::Relaxed),
        }
        self.let_go(spot);
    }

    /// Lets go of the oldest replies of a key that are too many when one is added.
    fn shorten(&self, first: u64) {
        let mut spot = first;
        for _ in 1..REPLIES_MAX - 1 {
            let next = body::next(self.at(spot));
            let Some(next) = next.and_then(|word| Place::from_word(word.load(Ordering::Relaxed)).spot())
            else {
                return;
            };
            spot = next;
        }
        let last = body::next(self.at(spot)).map(|last| Place::from_word(last.swap(0, Ordering::Relaxed)));
        if let Some(gone) = last.and_then(Place::spot) {
            self.let_go(gone);
        }
    }
}
