//! The layout of an entry in the log: two words of head, the spot of another reply of its key if there is
//! one, the request, and the reply right behind it.
//!
//! The request is only the key if the command takes nothing else, and otherwise all arguments as in a
//! request, the key first. The reply is in RESP3; a bit says whether it differs in RESP2.

use std::sync::atomic::{AtomicU64, Ordering};

use super::ticks::{TICK_BITS, tick};
use crate::cache::entry::{CacheQuery, CommandId, Resp2};
use crate::clock::Nanos;

/// Words of the head.
pub(super) const HEAD_WORDS: usize = 2;

/// What is asked, or answered, of a greater length is not kept in the log.
pub(super) const PART_BYTES_MAX: usize = (1 << PART_BITS) - 1;

const PART_BITS: u32 = 17;
const REPLY_SHIFT: u32 = PART_BITS;
const SLOT_SHIFT: u32 = 2 * PART_BITS;
const COMMAND_SHIFT: u32 = SLOT_SHIFT + 14;
const SOLE: u64 = 1 << (COMMAND_SHIFT + 10);
const CHAINED: u64 = SOLE << 1;
const RESP2_HEAD: u64 = SOLE << 2;
const RESP2_OTHER: u64 = SOLE << 3;

const PART_MASK: u64 = (1 << PART_BITS) - 1;
const COMMAND_MASK: u64 = 0x3ff << COMMAND_SHIFT;

/// The fields of the head of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) struct EntryHead {
    pub(super) first: u64,
    pub(super) second: u64,
}

/// What an entry is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct EntryTerms {
    /// In ticks.
    pub(super) deadline: u32,
    /// The index of its epoch in the table of epochs.
    pub(super) epoch_index: u16,
    pub(super) slot: u16,
    /// The generation of its slot; the lower half is kept.
    pub(super) slot_generation: u32,
    pub(super) resp2: Resp2,
}

/// What a query looks like to the head of an entry that answers it.
#[derive(Clone, Copy, Debug)]
pub(in crate::cache) struct LookupKey<'a> {
    /// The key alone, or all arguments.
    pub(super) asked: &'a [u8],
    second: u64,
}

// === impl LookupKey ===

impl<'a> LookupKey<'a> {
    #[inline]
    pub(in crate::cache) fn new(query: &CacheQuery<'a>) -> LookupKey<'a> {
        let is_key_only = query.is_key_only();
        let asked = if is_key_only { query.key } else { query.args };
        LookupKey::of(query.command, asked, is_key_only)
    }

    /// A query with only a key.
    #[inline]
    pub(in crate::cache) fn of_key(command: CommandId, key: &'a [u8]) -> LookupKey<'a> {
        LookupKey::of(command, key, true)
    }

    #[inline]
    fn of(command: CommandId, asked: &'a [u8], is_key_only: bool) -> LookupKey<'a> {
        let second = (asked.len() as u64).min(PART_MASK)
            | u64::from(command.number()) << COMMAND_SHIFT & COMMAND_MASK
            | if is_key_only { SOLE } else { 0 };
        LookupKey { asked, second }
    }
}

// === impl EntryHead ===

impl EntryHead {
    pub(super) fn new(
        lookup_key: &LookupKey<'_>,
        reply_len: usize,
        chained: bool,
        terms: &EntryTerms,
    ) -> EntryHead {
        let first = u64::from(terms.deadline)
            | u64::from(terms.epoch_index) << 32
            | u64::from(terms.slot_generation as u16) << 48;
        let second = lookup_key.second
            | (reply_len as u64 & PART_MASK) << REPLY_SHIFT
            | u64::from(terms.slot) << SLOT_SHIFT
            | if chained { CHAINED } else { 0 }
            | match terms.resp2 {
                Resp2::Same => 0,
                Resp2::Head => RESP2_HEAD,
                Resp2::Other => RESP2_OTHER,
            };
        EntryHead { first, second }
    }

    #[inline]
    pub(super) fn read(words: &[AtomicU64]) -> Option<EntryHead> {
        let [first, second, ..] = words else { return None };
        Some(EntryHead { first: first.load(Ordering::Relaxed), second: second.load(Ordering::Relaxed) })
    }

    /// Whether it may answer the query: then the bytes have to be compared.
    #[inline]
    pub(super) fn may_answer(self, lookup_key: &LookupKey<'_>) -> bool {
        self.second & (PART_MASK | COMMAND_MASK | SOLE) == lookup_key.second
    }

    pub(super) fn deadline(self) -> u32 {
        self.first as u32
    }

    /// When its time is over, seen from `now`.
    pub(in crate::cache) fn deadline_after(self, now: Nanos) -> Nanos {
        let left = self.deadline().wrapping_sub(tick(now)) as i32;
        now.saturating_add(u64::try_from(left).unwrap_or(0) << TICK_BITS)
    }

    #[inline]
    pub(in crate::cache) fn is_over(self, tick: u32) -> bool {
        self.deadline().wrapping_sub(tick) as i32 <= 0
    }

    #[inline]
    pub(in crate::cache) fn epoch_index(self) -> u16 {
        (self.first >> 32) as u16
    }

    #[inline]
    pub(super) fn slot(self) -> u16 {
        (self.second >> SLOT_SHIFT) as u16 & 0x3fff
    }

    #[inline]
    pub(super) fn slot_generation(self) -> u16 {
        (self.first >> 48) as u16
    }

    /// The command that it is the reply to, and the database.
    pub(in crate::cache) fn command(self) -> CommandId {
        CommandId::of_number(((self.second & COMMAND_MASK) >> COMMAND_SHIFT) as u16)
    }

    /// Whether what was asked is the key alone.
    pub(super) fn is_key_only(self) -> bool {
        self.second & SOLE != 0
    }

    #[inline]
    pub(super) fn is_chained(self) -> bool {
        self.second & CHAINED != 0
    }

    #[inline]
    pub(in crate::cache) fn resp2(self) -> Resp2 {
        match self.second & (RESP2_HEAD | RESP2_OTHER) {
            0 => Resp2::Same,
            RESP2_HEAD => Resp2::Head,
            _ => Resp2::Other,
        }
    }

    #[inline]
    pub(super) fn asked_len(self) -> usize {
        (self.second & PART_MASK) as usize
    }

    #[inline]
    pub(in crate::cache) fn reply_len(self) -> usize {
        (self.second >> REPLY_SHIFT & PART_MASK) as usize
    }

    /// The offset of the request in an entry, in words of memory.
    #[inline]
    pub(super) fn body_at(self) -> usize {
        HEAD_WORDS + usize::from(self.is_chained())
    }

    /// Words of all of the entry.
    #[inline]
    pub(super) fn words(self) -> usize {
        self.body_at() + (self.asked_len() + self.reply_len()).div_ceil(8)
    }
}

/// Words of an entry with parts of these lengths.
pub(super) fn words_of(asked_len: usize, reply_len: usize, chained: bool) -> usize {
    HEAD_WORDS + usize::from(chained) + (asked_len + reply_len).div_ceil(8)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::cache::store) const TERMS: EntryTerms = EntryTerms {
        deadline: 9,
        epoch_index: 65_535,
        slot: 16_383,
        slot_generation: 0x1_0007,
        resp2: Resp2::Other,
    };

    #[test]
    fn a_question_is_answered_by_nothing_else() {
        let command = CommandId::of_number(5);
        let one = CacheQuery { command, key: b"key", args: b"$3\r\nkey\r\n" };
        let other = CacheQuery { command: CommandId::of_number(6), ..one };
        let longer = CacheQuery { command, key: b"key", args: b"$3\r\nkey\r\n$1\r\n0\r\n" };
        let head = EntryHead::new(&LookupKey::new(&one), 3, false, &TERMS);
        assert!(head.may_answer(&LookupKey::new(&one)));
        assert!(!head.may_answer(&LookupKey::new(&other)) && !head.may_answer(&LookupKey::new(&longer)));
    }

    #[test]
    fn a_deadline_is_a_deadline_also_when_the_clock_has_wrapped() {
        let at = |deadline| EntryHead { first: u64::from(u32::wrapping_add(deadline, 0)), second: 0 };
        assert!(!at(5).is_over(4) && at(5).is_over(5) && at(5).is_over(6));
        assert!(!at(5).is_over(u32::MAX - 5) && at(u32::MAX - 5).is_over(5));
    }
}
