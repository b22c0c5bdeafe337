//! What L1 keeps of one key: its replies, one for each distinct request, and what each depends on.

use std::mem::size_of;
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
#[derive(Debug)]
pub(super) struct Cached {
    command: &'static str,
    tail: Box<[u8]>,
    reply: Reply,
    epoch: Epoch,
    since: Nanos,
    deadline: Nanos,
}

/// All that L1 keeps of one key. Never changed: a new reply makes a new entry.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Arc<[u8]>,
    pub(super) generation: Generation,
    replies: Box<[Arc<Cached>]>,
    weight: u32,
    /// How often it was hit, as far as that is counted.
    hits: AtomicU32,
}

/// Replies kept for one key at most; the oldest goes first. A hash read field by field has one for each field.
pub(super) const REPLIES_MAX: usize = 128;

/// What the store spends on an entry beside its bytes: moka's key and value nodes, its hash table, its queues.
/// Measured as resident memory per entry minus the bytes counted here, with `cargo bench --bench memory`.
const STORE_OVERHEAD_BYTES: usize = 440;

/// What a reply takes beside its bytes: the head of an allocation for each part of it.
const REPLY_OVERHEAD_BYTES: usize = size_of::<Cached>() + size_of::<Arc<Cached>>() + 64;

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

    fn len(&self) -> usize {
        self.resp3.len() + self.resp2.as_ref().map_or(0, Bytes::len)
    }

    /// The bytes of a string alone; of anything else, those of the whole reply.
    pub(super) fn value_len(&self) -> usize {
        match cursor::head(&self.resp3) {
            Some(Head::Blob { body, .. }) => body.len(),
            _ => self.resp3.len(),
        }
    }

    /// A copy that holds its bytes alone: a slice of a read buffer would pin the whole buffer.
    fn detached(&self) -> Reply {
        Reply {
            resp3: Bytes::copy_from_slice(&self.resp3),
            resp2: self.resp2.as_deref().map(Bytes::copy_from_slice),
        }
    }
}

// === impl Cached ===

impl Cached {
    pub(super) fn new(
        question: &Question<'_>,
        reply: &Reply,
        epoch: Epoch,
        since: Nanos,
        deadline: Nanos,
    ) -> Cached {
        let Question { command, tail, .. } = *question;
        Cached { command, tail: tail.into(), reply: reply.detached(), epoch, since, deadline }
    }

    /// Whether it may be served at `now`, as far as its connection and its time go (I4, I5).
    #[inline]
    fn is_live(&self, now: Nanos) -> bool {
        now < self.deadline && self.epoch.is_live(now)
    }

    fn answers(&self, question: &Question<'_>) -> bool {
        // The names come from one table, but their addresses may differ between compilation units.
        self.tail.len() == question.tail.len()
            && *self.tail == *question.tail
            && self.command == question.command
    }

    fn explained(&self) -> KeptReply {
        KeptReply {
            command: self.command,
            arguments: cursor::strings(&self.tail).map(<[u8]>::to_vec).collect(),
            since: self.since,
            deadline: self.deadline,
            epoch: self.epoch.number(),
            lease_until: self.epoch.lease_until(),
            bytes: self.reply.resp3.len(),
        }
    }

    fn weight(&self) -> usize {
        self.tail.len() + self.reply.len() + REPLY_OVERHEAD_BYTES
    }
}

/// What an entry has to say to a question.
#[derive(Debug)]
pub(super) enum Found<'a> {
    /// The reply.
    Live(&'a Reply),
    /// It had the reply, but its time is over.
    Expired,
    /// It had the reply, but the connection that filled it is lost or silent.
    Lost,
    /// Nothing.
    Nothing,
}

// === impl Entry ===

impl Entry {
    /// The entry that has `added` beside those replies of `former` that are of the same generation and still live.
    pub(super) fn with(
        former: Option<&Entry>,
        key: Arc<[u8]>,
        generation: Generation,
        added: Cached,
        now: Nanos,
    ) -> Entry {
        let kept =
            former.filter(|former| former.generation == generation).map_or(&[][..], |former| &former.replies);
        let same = |cached: &Cached| cached.command == added.command && cached.tail == added.tail;
        let mut replies: Vec<Arc<Cached>> =
            kept.iter().filter(|cached| cached.is_live(now) && !same(cached)).cloned().collect();
        if replies.len() >= REPLIES_MAX {
            replies.remove(0);
        }
        replies.push(Arc::new(added));
        let bytes = replies.iter().map(|cached| cached.weight()).sum::<usize>();
        let weight = bytes + key.len() + size_of::<Entry>() + STORE_OVERHEAD_BYTES;
        let weight = u32::try_from(weight).unwrap_or(u32::MAX);
        let hits = former.map_or(0, |former| former.hits.load(Ordering::Relaxed)).into();
        Entry { key, generation, replies: replies.into(), weight, hits }
    }

    /// It was hit so often.
    pub(super) fn note_hits(&self, hits: u32) {
        // Far too many are as good as many.
        let _ = self
            .hits
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| Some(count.saturating_add(hits)));
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
        match self.replies.iter().find(|cached| cached.answers(question)) {
            Some(cached) if cached.is_live(now) => Found::Live(&cached.reply),
            Some(cached) if now >= cached.deadline => Found::Expired,
            Some(_) => Found::Lost,
            None => Found::Nothing,
        }
    }

    /// The replies that may be served at `now`. Its generation is the caller's to check.
    pub(super) fn kept(&self, now: Nanos) -> Vec<KeptReply> {
        self.replies.iter().filter(|cached| cached.is_live(now)).map(|cached| cached.explained()).collect()
    }

    /// All its replies, whether they may be served or not.
    pub(super) fn all(&self) -> Vec<KeptReply> {
        self.replies.iter().map(|cached| cached.explained()).collect()
    }

    /// Whether the time of all its replies is over.
    pub(super) fn is_over(&self, now: Nanos) -> bool {
        self.replies.iter().all(|cached| now >= cached.deadline)
    }

    /// Whether any of its replies may still be served at `now`; if none, whether time alone ended it.
    pub(super) fn remains(&self, now: Nanos) -> Result<(), Gone> {
        if self.replies.iter().any(|cached| cached.is_live(now)) {
            return Ok(());
        }
        Err(if self.is_over(now) { Gone::Expired } else { Gone::Lost })
    }
}

/// Why nothing of an entry may be served any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gone {
    /// Its time is over.
    Expired,
    /// The connections that filled it are lost.
    Lost,
}
