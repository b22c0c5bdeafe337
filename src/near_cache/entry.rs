//! What L1 keeps of one key: its replies, one for each distinct request, and what each depends on.

use std::cell::Ref;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;

use super::explain::KeptReply;
use super::generations::Generation;
use crate::clock::Nanos;
use crate::node::Epoch;
use crate::resp::Resp;
use crate::resp::cursor::{self, Head};

/// What is asked about a key: the command, and all that follows it.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The command's name as the table spells it.
    pub command: &'static str,
    /// The key.
    pub key: &'a [u8],
    /// The arguments after the command's name, as they stand in the request: `$<length>\r\n<bytes>\r\n` each.
    /// Requests are scanned strictly, so equal arguments have equal bytes.
    pub tail: &'a [u8],
}

/// A reply in both versions of the protocol, ready to be sent.
#[derive(Clone, Debug)]
pub struct Reply {
    /// As the node sent it.
    pub resp3: Bytes,
    /// For clients of RESP2, when that differs.
    pub resp2: Option<Bytes>,
}

/// One reply that L1 keeps.
///
/// A hit pays for every line of memory that it touches: what was asked and what is answered lie in one piece.
#[derive(Clone, Debug)]
pub(super) struct Cached {
    command: &'static str,
    /// What is asked, the reply, the reply for clients of RESP2 when that differs, and the key.
    bytes: Arc<[u8]>,
    // An entry is never larger than these can say, and has to fit two lines of memory.
    tail_end: u32,
    resp3_end: u32,
    resp2_end: u32,
    epoch: Epoch,
    since: Nanos,
    deadline: Nanos,
}

/// All that L1 keeps of one key. Never changed: a new reply makes a new entry.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) generation: Generation,
    /// Most keys have one reply, so the latest is not a pointer away.
    latest: Cached,
    /// The replies before it, the oldest first.
    earlier: Box<[Cached]>,
    weight: u32,
    /// How often it was hit, as far as that is counted.
    hits: AtomicU32,
}

/// A reply that may be served.
#[derive(Debug)]
pub struct Hit<'a>(Held<'a>);

#[derive(Debug)]
enum Held<'a> {
    /// Lent from the hot set.
    Hot(Ref<'a, Cached>),
    /// The reply of this entry at this place.
    Stored(Arc<Entry>, usize),
}

/// Replies kept for one key at most; the oldest goes first. A hash read field by field has one for each field.
pub(super) const REPLIES_MAX: usize = 128;

/// What the store spends on an entry beside its bytes: moka's key and value nodes, its hash table, its queues; and the hot set.
/// Measured as resident memory per entry minus the bytes counted here, with `cargo bench --bench memory`.
const STORE_OVERHEAD_BYTES: usize = 300;

/// What the CPU fetches at once.
const LINE_BYTES: usize = 64;

/// The two counters that stand before what an `Arc` holds.
const ARC_BYTES: usize = 2 * size_of::<usize>();

/// The daemon's allocator lays what has this size on the border of a line, so that a hit fetches two of them.
const _: () = assert!(ARC_BYTES + size_of::<Entry>() <= 2 * LINE_BYTES);

// === impl Question ===

impl Question<'_> {
    pub(super) fn len(&self) -> usize {
        self.key.len() + self.tail.len()
    }
}

// === impl Reply ===

impl Reply {
    /// The reply for a client of this version.
    #[inline]
    pub fn for_version(&self, resp: Resp) -> &Bytes {
        match (resp, &self.resp2) {
            (Resp::Two, Some(resp2)) => resp2,
            _ => &self.resp3,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.resp3.len() + self.resp2.as_ref().map_or(0, Bytes::len)
    }

    /// The bytes of a string alone; of anything else, those of the whole reply.
    pub(super) fn value_len(&self) -> usize {
        match cursor::head(&self.resp3) {
            Some(Head::Blob { body, .. }) => body.len(),
            _ => self.resp3.len(),
        }
    }
}

// === impl Cached ===

impl Cached {
    /// Copies what it keeps: a slice of a read buffer would pin the whole buffer. Question and reply together are no
    /// larger than an entry may be.
    pub(super) fn new(
        question: &Question<'_>,
        reply: &Reply,
        epoch: Epoch,
        since: Nanos,
        deadline: Nanos,
    ) -> Cached {
        let Question { command, key, tail } = *question;
        let resp2 = reply.resp2.as_deref().unwrap_or_default();
        let bytes = [tail, &reply.resp3, resp2, key].concat().into();
        let tail_end = tail.len() as u32;
        let resp3_end = tail_end + reply.resp3.len() as u32;
        let resp2_end = resp3_end + resp2.len() as u32;
        Cached { command, bytes, tail_end, resp3_end, resp2_end, epoch, since, deadline }
    }

    fn tail(&self) -> &[u8] {
        &self.bytes[..self.tail_end as usize]
    }

    fn key(&self) -> &[u8] {
        &self.bytes[self.resp2_end as usize..]
    }

    /// Where the reply for a client of this version lies.
    #[inline]
    fn range(&self, resp: Resp) -> Range<usize> {
        let (from, to) = match resp {
            Resp::Two if self.resp2_end > self.resp3_end => (self.resp3_end, self.resp2_end),
            _ => (self.tail_end, self.resp3_end),
        };
        from as usize..to as usize
    }

    /// Whether it may be served at `now` as it is, as far as its connection and its time go (I4, I5).
    #[inline]
    fn is_seen(&self, now: Nanos) -> bool {
        now < self.deadline && self.epoch.is_seen(now)
    }

    /// Whether it may be served at `now`, once somebody has looked at its connection.
    fn is_live(&self, now: Nanos) -> bool {
        now < self.deadline && self.epoch.is_live(now)
    }

    /// Looks at its connection: whether it may be served at `now`, if its key is still as it was.
    pub(super) fn look(&self, now: Nanos) -> bool {
        self.epoch.look(now)
    }

    fn answers(&self, question: &Question<'_>) -> bool {
        // The names come from one table, but their addresses may differ between compilation units.
        self.tail_end as usize == question.tail.len()
            && (std::ptr::eq(self.command, question.command) || self.command == question.command)
            && *self.tail() == *question.tail
    }

    fn explained(&self) -> KeptReply {
        KeptReply {
            command: self.command,
            arguments: cursor::strings(self.tail()).map(<[u8]>::to_vec).collect(),
            since: self.since,
            deadline: self.deadline,
            epoch: self.epoch.number(),
            lease_until: self.epoch.lease_until(),
            bytes: self.range(Resp::Three).len(),
        }
    }

    fn weight(&self) -> usize {
        allocated(ARC_BYTES + self.bytes.len())
    }
}

/// What an entry has to say to a question.
#[derive(Debug)]
pub(super) enum Found<'a> {
    /// The reply, and at which place it is.
    Live(&'a Cached, usize),
    /// The same, but what has arrived on its connection has to be looked at before it is served.
    Unseen(&'a Cached, usize),
    /// It had the reply, but its time is over.
    Expired,
    /// It had the reply, but the connection that filled it is lost or silent.
    Lost,
    /// Nothing.
    Nothing,
}

// === impl Hit ===

impl<'a> Hit<'a> {
    pub(super) fn hot(reply: Ref<'a, Cached>) -> Hit<'a> {
        Hit(Held::Hot(reply))
    }

    /// What stands at `place` of `entry`, which said so.
    pub(super) fn stored(entry: Arc<Entry>, place: usize) -> Hit<'a> {
        Hit(Held::Stored(entry, place))
    }

    /// The reply for a client of this version.
    #[inline]
    pub fn for_version(&self, resp: Resp) -> &[u8] {
        let cached = self.cached();
        &cached.bytes[cached.range(resp)]
    }

    /// The same, not copied, for as long as it is wanted.
    pub fn shared(&self, resp: Resp) -> Bytes {
        let cached = self.cached();
        Bytes::from_owner(cached.bytes.clone()).slice(cached.range(resp))
    }

    #[inline]
    fn cached(&self) -> &Cached {
        match &self.0 {
            Held::Hot(cached) => cached,
            Held::Stored(entry, place) => entry.at(*place),
        }
    }

    /// Whether it was lent from the hot set, for whoever measures that.
    pub fn is_hot(&self) -> bool {
        matches!(self.0, Held::Hot(_))
    }
}

impl Cached {
    /// Both versions of the reply.
    pub(super) fn reply(&self) -> Reply {
        let bytes = |range: Range<usize>| Bytes::copy_from_slice(&self.bytes[range]);
        let resp2 = (self.resp2_end > self.resp3_end).then(|| bytes(self.range(Resp::Two)));
        Reply { resp3: bytes(self.range(Resp::Three)), resp2 }
    }
}

// === impl Entry ===

impl Entry {
    /// The entry that has `added` beside those replies of `former`, of the same key, that are of the same generation and
    /// still live.
    pub(super) fn with(former: Option<&Entry>, generation: Generation, added: Cached, now: Nanos) -> Entry {
        let kept = former.filter(|former| former.generation == generation);
        let same = |cached: &Cached| cached.command == added.command && cached.tail() == added.tail();
        let kept = kept.into_iter().flat_map(Entry::replies);
        let mut earlier: Vec<Cached> =
            kept.filter(|cached| cached.is_live(now) && !same(cached)).cloned().collect();
        if earlier.len() >= REPLIES_MAX {
            earlier.remove(0);
        }
        let replies = earlier.iter().chain([&added]).map(Cached::weight).sum::<usize>();
        let entry = allocated(ARC_BYTES + size_of::<Entry>());
        let weight = entry + allocated(size_of_val(earlier.as_slice())) + replies + STORE_OVERHEAD_BYTES;
        let weight = u32::try_from(weight).unwrap_or(u32::MAX);
        let hits = former.map_or(0, |former| former.hits.load(Ordering::Relaxed)).into();
        Entry { generation, latest: added, earlier: earlier.into(), weight, hits }
    }

    /// The key. Not to be asked for on a hit: what was asked has it as well, and lies at hand.
    pub(super) fn key(&self) -> &[u8] {
        self.latest.key()
    }

    /// The oldest first.
    fn replies(&self) -> impl DoubleEndedIterator<Item = &Cached> {
        self.earlier.iter().chain(std::iter::once(&self.latest))
    }

    fn at(&self, place: usize) -> &Cached {
        self.earlier.get(place).unwrap_or(&self.latest)
    }

    /// Brings the entry into the cache of the CPU, without what it points to. The number means nothing.
    #[inline]
    pub(super) fn touch(&self) -> u64 {
        let (key_number, slot_number) = self.generation.numbers();
        let reply = self.latest.deadline ^ self.latest.bytes.len() as u64 ^ self.latest.tail_end as u64;
        reply ^ u64::from(key_number ^ slot_number ^ self.weight)
    }

    /// The same with what was asked and the beginning of the reply. Where more is read the CPU sees by itself that it is
    /// wanted.
    #[inline]
    pub(super) fn touch_bytes(&self) -> u64 {
        let line =
            |number: usize| self.latest.bytes.get(number * LINE_BYTES).map_or(0, |byte| u64::from(*byte));
        line(0) ^ line(1) ^ line(2) ^ line(3)
    }

    /// It was hit so often.
    pub(super) fn note_hits(&self, hits: u32) {
        // Far too many are as good as many, and one that another worker counts in the same instant may be lost.
        self.hits.store(self.hits.load(Ordering::Relaxed).saturating_add(hits), Ordering::Relaxed);
    }

    /// Whether it was ever hit: the first hit is always counted.
    pub(super) fn was_hit(&self) -> bool {
        self.hits.load(Ordering::Relaxed) > 0
    }

    /// How often it was hit; from here on that counts half.
    pub(super) fn cool(&self) -> u32 {
        let hits = self.hits.load(Ordering::Relaxed);
        self.hits.store(hits.div_ceil(2), Ordering::Relaxed);
        hits
    }

    /// The bytes of memory that keeping it takes, all included.
    pub(super) fn weight(&self) -> u32 {
        self.weight
    }

    /// The reply to `question`, if it has one that may be served at `now`. Its generation is the caller's to check.
    #[inline]
    pub(super) fn find(&self, question: &Question<'_>, now: Nanos) -> Found<'_> {
        let found = if self.latest.answers(question) {
            Some((self.earlier.len(), &self.latest))
        } else {
            self.earlier.iter().enumerate().find(|(_, cached)| cached.answers(question))
        };
        match found {
            Some((place, cached)) if cached.is_seen(now) => Found::Live(cached, place),
            Some((place, cached)) if cached.is_live(now) => Found::Unseen(cached, place),
            Some((_, cached)) if now >= cached.deadline => Found::Expired,
            Some(_) => Found::Lost,
            None => Found::Nothing,
        }
    }

    /// The replies that may be served at `now`. Its generation is the caller's to check.
    pub(super) fn kept(&self, now: Nanos) -> Vec<KeptReply> {
        self.replies().filter(|cached| cached.is_live(now)).map(|cached| cached.explained()).collect()
    }

    /// All its replies, whether they may be served or not.
    pub(super) fn all(&self) -> Vec<KeptReply> {
        self.replies().map(|cached| cached.explained()).collect()
    }

    /// Whether the time of all its replies is over.
    pub(super) fn is_over(&self, now: Nanos) -> bool {
        self.replies().all(|cached| now >= cached.deadline)
    }

    /// Whether any of its replies may still be served at `now`; if none, whether time alone ended it.
    pub(super) fn remains(&self, now: Nanos) -> Result<(), Gone> {
        if self.replies().any(|cached| cached.is_live(now)) {
            return Ok(());
        }
        Err(if self.is_over(now) { Gone::Expired } else { Gone::Lost })
    }
}

/// What the daemon's allocator takes for so many bytes: it has four sizes between one power of two and the next, and none
/// that is no multiple of 16 (SIZE CLASSES in jemalloc(3)).
fn allocated(bytes: usize) -> usize {
    bytes.next_multiple_of((bytes.next_power_of_two() / 8).max(16))
}

/// Why nothing of an entry may be served any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gone {
    /// Its time is over.
    Expired,
    /// The connections that filled it are lost.
    Lost,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allocated_is_one_of_the_sizes_that_jemalloc_lists() {
        let sizes = [
            0, 16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896, 1024,
        ];
        for pair in sizes.windows(2) {
            assert!((pair[0] + 1..=pair[1]).all(|bytes| allocated(bytes) == pair[1]), "up to {}", pair[1]);
        }
        assert_eq!((allocated(0), allocated(8_193), allocated(20_481)), (0, 10_240, 24_576));
    }
}
