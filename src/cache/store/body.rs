//! The body of an entry in the words of the log: writes what was asked and the reply, compares the one, and
//! copies the other out.

use std::sync::atomic::{AtomicU64, Ordering};

use super::entry::{EntryHead, HEAD_WORDS, LookupKey};
use crate::protocol::resp::cursor;

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

/// The word of an entry that points to the next reply of its key, if there is one.
#[inline]
pub(super) fn next(words: &[AtomicU64]) -> Option<&AtomicU64> {
    EntryHead::read(words)?.is_chained().then(|| words.get(HEAD_WORDS))?
}

/// The request and the reply of an entry that may answer the query.
#[inline(always)]
pub(super) fn body_of<'a>(
    words: &'a [AtomicU64],
    head: EntryHead,
    lookup_key: &LookupKey<'_>,
) -> Option<&'a [AtomicU64]> {
    let len = (lookup_key.asked.len() + head.reply_len()).div_ceil(8);
    words.get(head.body_at()..head.body_at() + len)
}

/// Whether an entry begins with `asked`: in its whole words, and at the beginning of the bytes behind them.
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

/// The word that begins with these 1 to 7 bytes; its upper bytes mean nothing.
#[inline(always)]
fn first_word(bytes: &[u8]) -> u64 {
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        return u64::from(first) | u64::from(last) << (8 * (bytes.len() - 4));
    }
    let at = |at: usize| u64::from(bytes.get(at).copied().unwrap_or(0)) << (8 * at);
    at(0) | at(1) | at(2)
}

/// The number of words from which on a reply is copied in larger steps.
const MANY_WORDS: usize = 64;

/// Copies a reply that begins in the first of these words, `behind` bytes in, to `to`, and up to seven bytes
/// more.
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

/// Copies words, `COUNT` at once, to a place of their size.
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
    if !head.is_key_only() {
        return *self::key(head, &bytes(body, 0, head.asked_len())) == *key;
    }
    let parts = body.split_at_checked(key.len() / 8).filter(|_| head.asked_len() == key.len());
    parts.is_some_and(|(whole, behind)| is_asked(whole, behind, key))
}

/// The key of an entry: what was asked, or the first argument of that.
pub(super) fn key(head: EntryHead, asked: &[u8]) -> &[u8] {
    if head.is_key_only() { asked } else { cursor::strings(asked).next().unwrap_or_default() }
}

/// The arguments of a query with only a key, as in a request.
pub(in crate::cache) fn sole(key: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", key.len()).as_bytes(), key, b"\r\n"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::entry::{CacheQuery, CommandId, Resp2};
    use crate::cache::store::entry::tests::TERMS;
    use crate::net::write_queue::WriteQueue;

    #[test]
    fn what_was_written_is_read_whatever_the_lengths() {
        for (asked_len, reply_len) in
            (0..20).flat_map(|asked| (0..70).chain(500..680).map(move |reply| (asked, reply)))
        {
            for chained in [false, true] {
                let key: Vec<u8> = (0..asked_len).map(|at| b'a' + at as u8).collect();
                let reply: Vec<u8> = (0..reply_len).map(|at| (at as u8).wrapping_add(1)).collect();
                let tail = format!("${asked_len}\r\n{}\r\n", String::from_utf8_lossy(&key));
                let command = CommandId::of_number(1_023);
                let query = CacheQuery { command, key: &key, args: tail.as_bytes() };
                let lookup_key = LookupKey::new(&query);
                let head = EntryHead::new(&lookup_key, reply_len, chained, &TERMS);
                let words: Vec<AtomicU64> = (0..head.words()).map(|_| AtomicU64::new(u64::MAX)).collect();
                write(&words, head, 77, lookup_key.asked, &reply);
                assert_eq!(EntryHead::read(&words), Some(head).filter(|_| words.len() > 1));
                assert!(head.may_answer(&lookup_key) && head.is_key_only() && head.resp2() == Resp2::Other);
                assert_eq!((head.deadline(), head.epoch_index(), head.slot()), (9, 65_535, 16_383));
                assert_eq!((head.slot_generation(), head.command()), (7, command));
                assert_eq!(next(&words).map(|next| next.load(Ordering::Relaxed)), chained.then_some(77));
                let body = body_of(&words, head, &lookup_key).unwrap();
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
}
