//! How an entry lies in the log: two words of head, the spot of another reply of the same key if there is
//! one, what was asked, and the reply right behind it.
//!
//! What was asked is the key alone where the command takes nothing else, and else all arguments as they stand
//! in a request, the key among them. The reply is in RESP3; whether RESP2 would have it differently is a bit.

use std::sync::atomic::{AtomicU64, Ordering};

use super::ticks::{TICK_BITS, tick};
use crate::cache::entry::{CacheQuery, Resp2};
use crate::clock::Nanos;
use crate::protocol::resp::cursor;

/// Words of the head.
const HEAD_WORDS: usize = 2;

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

/// All that an entry says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) struct EntryHead {
    first: u64,
    second: u64,
}

/// What an entry is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct EntryTerms {
    /// In ticks.
    pub(super) deadline: u32,
    /// The number of its epoch.
    pub(super) lease: u16,
    pub(super) slot: u16,
    /// The generation of its slot, of which the lower half is kept.
    pub(super) slot_generation: u32,
    pub(super) resp2: Resp2,
}

/// What a question looks like to the head of an entry that answers it.
#[derive(Clone, Copy, Debug)]
pub(in crate::cache) struct Sought<'a> {
    /// The key alone, or all arguments.
    pub(super) asked: &'a [u8],
    second: u64,
}

// === impl Sought ===

impl<'a> Sought<'a> {
    #[inline]
    pub(in crate::cache) fn new(question: &CacheQuery<'a>) -> Sought<'a> {
        let is_sole = question.is_sole();
        let asked = if is_sole { question.key } else { question.args };
        let second = (asked.len() as u64).min(PART_MASK)
            | u64::from(question.command.number) << COMMAND_SHIFT & COMMAND_MASK
            | if is_sole { SOLE } else { 0 };
        Sought { asked, second }
    }
}

// === impl EntryHead ===

impl EntryHead {
    pub(super) fn new(sought: &Sought<'_>, reply_len: usize, chained: bool, terms: &EntryTerms) -> EntryHead {
        let first = u64::from(terms.deadline)
            | u64::from(terms.lease) << 32
            | u64::from(terms.slot_generation as u16) << 48;
        let second = sought.second
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

    /// Whether it may answer what is sought: then the bytes have to be compared.
    #[inline]
    pub(super) fn may_answer(self, sought: &Sought<'_>) -> bool {
        self.second & (PART_MASK | COMMAND_MASK | SOLE) == sought.second
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
    pub(in crate::cache) fn lease(self) -> u16 {
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

    pub(super) fn command(self) -> u16 {
        ((self.second & COMMAND_MASK) >> COMMAND_SHIFT) as u16
    }

    /// Whether what was asked is the key alone.
    pub(super) fn is_sole(self) -> bool {
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

    /// Where what was asked begins, in words.
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

/// Writes an entry to the beginning of `to`, which has room for it.
pub(super) fn write(to: &[AtomicU64], head: EntryHead, next: u64, asked: &[u8], reply: &[u8]) {
    let store = |at: usize, word: u64| {
        if let Some(to) = to.get(at) {
            to.store(word, Ordering::Relaxed);
        }
    };
    store(0, head.first);
    store(1, head.second);
    if head.is_chained() {
        store(HEAD_WORDS, next);
    }
    let body = to.get(head.body_at()..).unwrap_or_default();
    let (whole, rest) = asked.as_chunks::<8>();
    for (to, chunk) in body.iter().zip(whole) {
        to.store(u64::from_le_bytes(*chunk), Ordering::Relaxed);
    }
    let mut body = body.get(whole.len()..).unwrap_or_default();
    let mut reply = reply;
    if !rest.is_empty() {
        // The word in which the one ends and the other begins.
        let (begin, later) = reply.split_at(reply.len().min(8 - rest.len()));
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        word[rest.len()..rest.len() + begin.len()].copy_from_slice(begin);
        if let Some((to, behind)) = body.split_first() {
            to.store(u64::from_le_bytes(word), Ordering::Relaxed);
            body = behind;
        }
        reply = later;
    }
    let (whole, rest) = reply.as_chunks::<8>();
    for (to, chunk) in body.iter().zip(whole) {
        to.store(u64::from_le_bytes(*chunk), Ordering::Relaxed);
    }
    if !rest.is_empty()
        && let Some(to) = body.get(whole.len())
    {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        to.store(u64::from_le_bytes(word), Ordering::Relaxed);
    }
}

/// The word that says where the next reply of the same key lies, of an entry that has one.
#[inline]
pub(super) fn next(words: &[AtomicU64]) -> Option<&AtomicU64> {
    EntryHead::read(words)?.is_chained().then(|| words.get(HEAD_WORDS))?
}

/// What was asked and the reply, of an entry that may answer what is sought.
#[inline(always)]
pub(super) fn body_of<'a>(
    words: &'a [AtomicU64],
    head: EntryHead,
    sought: &Sought<'_>,
) -> Option<&'a [AtomicU64]> {
    let len = (sought.asked.len() + head.reply_len()).div_ceil(8);
    words.get(head.body_at()..head.body_at() + len)
}

/// Whether `asked` stands in the whole words of an entry, of which it has as many, and at the beginning of
/// what is behind them.
#[inline(always)]
pub(super) fn is_asked(words: &[AtomicU64], behind: &[AtomicU64], asked: &[u8]) -> bool {
    let (chunks, rest) = asked.as_chunks::<8>();
    let mut differs = 0;
    for (word, chunk) in words.iter().zip(chunks) {
        differs |= word.load(Ordering::Relaxed) ^ u64::from_le_bytes(*chunk);
    }
    if !rest.is_empty() {
        let word = behind.first().map_or(0, |word| word.load(Ordering::Relaxed));
        differs |= (word ^ first_word(rest)) << (64 - 8 * rest.len() as u32);
    }
    differs == 0
}

/// The word that begins with these bytes, of which there are 1 to 7; what is above them means nothing.
#[inline(always)]
fn first_word(bytes: &[u8]) -> u64 {
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        return u64::from(first) | u64::from(last) << (8 * (bytes.len() - 4));
    }
    let at = |at: usize| u64::from(bytes.get(at).copied().unwrap_or(0)) << (8 * at);
    at(0) | at(1) | at(2)
}

/// From so many words on a reply is copied in larger steps.
const MANY_WORDS: usize = 64;

/// Copies a reply that begins in the first of these words, behind so many bytes, to `to`, and up to seven
/// bytes more.
#[inline(never)]
pub(super) fn copy_reply(words: &[AtomicU64], behind: usize, to: &mut [u8]) {
    let (mut words, mut to) = (words, to);
    if behind > 0 {
        let (Some((split, rest)), Some(begin)) = (words.split_first(), to.first_chunk_mut::<8>()) else {
            return;
        };
        *begin = (split.load(Ordering::Relaxed) >> (8 * behind)).to_le_bytes();
        words = rest;
        to = &mut to[8 - behind..];
    }
    let Some(to) = to.get_mut(..words.len() * 8) else { return };
    if words.len() < MANY_WORDS {
        copy_words::<4>(words, to);
    } else {
        copy_many(words, to);
    }
}

#[cold]
#[inline(never)]
fn copy_many(words: &[AtomicU64], to: &mut [u8]) {
    copy_words::<16>(words, to);
}

/// Copies words, so many at once, to a place of their size.
#[inline(always)]
fn copy_words<const COUNT: usize>(words: &[AtomicU64], to: &mut [u8]) {
    let (blocks, rest) = words.as_chunks::<COUNT>();
    let (to_blocks, to_rest) = to.as_chunks_mut::<8>().0.as_chunks_mut::<COUNT>();
    for (to, words) in to_blocks.iter_mut().zip(blocks) {
        for (to, word) in to.iter_mut().zip(words) {
            *to = word.load(Ordering::Relaxed).to_le_bytes();
        }
    }
    for (to, word) in to_rest.iter_mut().zip(rest) {
        *to = word.load(Ordering::Relaxed).to_le_bytes();
    }
}

/// Bytes from `from` to `to` of a body.
pub(super) fn bytes(body: &[AtomicU64], from: usize, to: usize) -> Vec<u8> {
    let words = body.get(from / 8..to.div_ceil(8)).unwrap_or_default();
    let all: Vec<u8> = words.iter().flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes()).collect();
    all.get(from % 8..from % 8 + (to - from)).unwrap_or_default().to_vec()
}

/// Whether an entry is about this key.
pub(super) fn is_about(words: &[AtomicU64], key: &[u8]) -> bool {
    let Some(head) = EntryHead::read(words) else { return false };
    let body = words.get(head.body_at()..).unwrap_or_default();
    if !head.is_sole() {
        return *self::key(head, &bytes(body, 0, head.asked_len())) == *key;
    }
    let parts = body.split_at_checked(key.len() / 8).filter(|_| head.asked_len() == key.len());
    parts.is_some_and(|(whole, behind)| is_asked(whole, behind, key))
}

/// The key of an entry: what was asked, or the first argument of that.
pub(super) fn key(head: EntryHead, asked: &[u8]) -> &[u8] {
    if head.is_sole() { asked } else { cursor::strings(asked).next().unwrap_or_default() }
}

/// The arguments of a question that is the key alone, as they stand in a request.
pub(super) fn sole(key: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", key.len()).as_bytes(), key, b"\r\n"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::entry::CommandId;
    use crate::net::write_queue::WriteQueue;

    const TERMS: EntryTerms = EntryTerms {
        deadline: 9,
        lease: 65_535,
        slot: 16_383,
        slot_generation: 0x1_0007,
        resp2: Resp2::Other,
    };

    #[test]
    fn what_was_written_is_read_whatever_the_lengths() {
        for (asked_len, reply_len) in
            (0..20).flat_map(|asked| (0..70).chain(500..680).map(move |reply| (asked, reply)))
        {
            for chained in [false, true] {
                let key: Vec<u8> = (0..asked_len).map(|at| b'a' + at as u8).collect();
                let reply: Vec<u8> = (0..reply_len).map(|at| (at as u8).wrapping_add(1)).collect();
                let tail = format!("${asked_len}\r\n{}\r\n", String::from_utf8_lossy(&key));
                let command = CommandId { name: "get", number: 1_023 };
                let question = CacheQuery { command, key: &key, args: tail.as_bytes() };
                let sought = Sought::new(&question);
                let head = EntryHead::new(&sought, reply_len, chained, &TERMS);
                let words: Vec<AtomicU64> = (0..head.words()).map(|_| AtomicU64::new(u64::MAX)).collect();
                write(&words, head, 77, sought.asked, &reply);
                assert_eq!(EntryHead::read(&words), Some(head).filter(|_| words.len() > 1));
                assert!(head.may_answer(&sought) && head.is_sole() && head.resp2() == Resp2::Other);
                assert_eq!((head.deadline(), head.lease(), head.slot()), (9, 65_535, 16_383));
                assert_eq!((head.slot_generation(), head.command()), (7, 1_023));
                assert_eq!(next(&words).map(|next| next.load(Ordering::Relaxed)), chained.then_some(77));
                let body = body_of(&words, head, &sought).unwrap();
                let (whole, behind) = body.split_at(asked_len / 8);
                assert!(is_asked(whole, behind, &key));
                for at in 0..asked_len {
                    let mut other = key.clone();
                    other[at] ^= 0x80;
                    assert!(!is_asked(whole, behind, &other), "{at} of {asked_len}");
                }
                let mut out = WriteQueue::default();
                out.push_copy(b"what was there before");
                copy_reply(behind, asked_len % 8, out.room(reply_len));
                assert_eq!(out.in_room(reply_len), reply);
                assert_eq!(bytes(body, asked_len, asked_len + reply_len), reply);
                assert_eq!(bytes(body, 0, asked_len), key);
            }
        }
    }

    #[test]
    fn a_question_is_answered_by_nothing_else() {
        let command = CommandId { name: "get", number: 5 };
        let one = CacheQuery { command, key: b"key", args: b"$3\r\nkey\r\n" };
        let other = CacheQuery { command: CommandId { name: "strlen", number: 6 }, ..one };
        let longer = CacheQuery { command, key: b"key", args: b"$3\r\nkey\r\n$1\r\n0\r\n" };
        let head = EntryHead::new(&Sought::new(&one), 3, false, &TERMS);
        assert!(head.may_answer(&Sought::new(&one)));
        assert!(!head.may_answer(&Sought::new(&other)) && !head.may_answer(&Sought::new(&longer)));
    }

    #[test]
    fn a_deadline_is_a_deadline_also_when_the_clock_has_wrapped() {
        let at = |deadline| EntryHead { first: u64::from(u32::wrapping_add(deadline, 0)), second: 0 };
        assert!(!at(5).is_over(4) && at(5).is_over(5) && at(5).is_over(6));
        assert!(!at(5).is_over(u32::MAX - 5) && at(u32::MAX - 5).is_over(5));
    }
}
