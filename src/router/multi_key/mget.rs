//! MGET: each key that L1 has is answered by L1, the others by one MGET for each slot, or by one for all in
//! front of one server.

use std::collections::HashMap;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use futures_util::future::LocalBoxFuture;

use super::slot_fetch::{FetchReason, SlotBatch, SlotFetches, get, get_in};
use super::slot_parts::{SlotPart, parts, whole};
use crate::cache::{Lookup, MissReason, MissToken, Resp2};
use crate::clock::Nanos;
use crate::net::write_queue::WriteQueue;
use crate::protocol::key::Slot;
use crate::protocol::resp::encode;
use crate::protocol::resp::request::Request;
use crate::protocol::resp::scan::AHEAD_MAX;
use crate::protocol::resp::{Resp, encode::null_reply};
use crate::router::answer::Answer;
use crate::router::caller::Caller;
use crate::router::coherence::inflight::Dependency;
use crate::router::context::{RouterCache, RouterContext};
use crate::router::coverage::{self, Coverage};
use crate::router::reply_bound::ReplyBound;

/// Answers MGET: hits from L1, the rest from upstream.
#[derive(Debug)]
pub(super) struct Mget {
    context: Rc<RouterContext>,
    fetches: SlotFetches,
}

// === impl Mget ===

impl Mget {
    /// Reads from `context`.
    pub(super) fn new(context: Rc<RouterContext>) -> Rc<Mget> {
        Rc::new(Mget { fetches: SlotFetches { context: context.clone() }, context })
    }

    /// MGET: hits from L1, and one MGET upstream for each slot of the rest.
    pub(super) fn answer(
        self: &Rc<Mget>,
        request: &Request<'_>,
        caller: Caller<'_>,
        bound: ReplyBound,
        out: &mut WriteQueue,
    ) -> Answer {
        let count = request.len() - 1;
        // The hits are appended one behind the other. When there is nothing else, that is the reply.
        let before = out.len();
        let mut number = itoa::Buffer::new();
        [&b"*"[..], number.format(count).as_bytes(), b"\r\n"].iter().for_each(|part| out.push_copy(part));
        let head = out.len() - before;
        // Where each of them ends.
        let mut ends = Vec::with_capacity(count);
        let mut wanted = HashMap::new();
        for index in 0..count {
            if index % AHEAD_MAX == 0 {
                self.context.cache.iter().for_each(|cache| cache.prefetch(b"", request.args_from(index + 1)));
            }
            if let Err(why) = self.find(request, index + 1, caller, out) {
                wanted.insert(index, why);
            }
            let end = out.len() - before;
            if end > bound.bytes {
                drop(out.take_back(before));
                return Answer::Now(bound.exceeded());
            }
            ends.push(end);
        }
        if wanted.is_empty() {
            return Answer::Appended;
        }
        let hits = out.take_back(before);
        let begins = std::iter::once(head).chain(ends.iter().copied());
        let places = begins.zip(&ends).map(|(begin, end)| begin..*end);
        let elements: Vec<Option<Bytes>> =
            places.map(|place| (!place.is_empty()).then(|| hits.slice(place))).collect();
        let missing = (0..count).filter(|index| elements[*index].is_none()).map(|index| index + 1);
        let parts = match self.context.upstream.is_cluster() {
            true => parts(request, missing),
            false => vec![whole(request, missing)],
        };
        let batches = parts.into_iter().flat_map(|part| self.per_key_if_migrating(part, caller.now));
        let batches = batches.map(|part| self.fetches.fetch(request, part, &wanted, caller)).collect();
        let (this, resp, sent_at) = (self.clone(), caller.resp, caller.now);
        let coverage = caller.coverage.cloned();
        let elements = this.finish_mget(batches, elements, resp, sent_at, coverage);
        Answer::Later(Box::pin(async move {
            elements.await.map_or_else(|failed| failed, |elements| joined(elements, bound))
        }))
    }

    /// Looks one key of an MGET up and appends its value to `out`; why it is wanted from upstream when it is
    /// not there.
    fn find(
        &self,
        request: &Request<'_>,
        position: usize,
        caller: Caller<'_>,
        out: &mut WriteQueue,
    ) -> Result<(), FetchReason> {
        let key = request.arg(position);
        let cache = match (&self.context.cache, caller.inflight.dependency(key)) {
            (Some(cache), Dependency::Nothing) => cache,
            (Some(cache), Dependency::Read(number)) if get_in(caller.inflight.database()).is_some() => {
                let missed = cache.miss_without_lookup(key, caller.now, Slot::of(key), number);
                return Err(self.wanted(cache, key, missed, caller.now));
            }
            _ => {
                self.context.stats.l1_bypasses.bump();
                self.context.note(key, caller.inflight.dependency_reason());
                return Err(if self.context.policies.terms(key).is_err() {
                    FetchReason::KeptOut
                } else {
                    FetchReason::Bypass
                });
            }
        };
        let Some(command) = get_in(caller.inflight.database()) else {
            self.context.stats.l1_bypasses.bump();
            self.context.note(key, MissReason::Database);
            return Err(FetchReason::KeptOut);
        };
        let query = get(command, key, request.encoded(position));
        match cache.lookup(&query, caller.now, || Slot::of(key), out) {
            // A string is equal in both versions, and an absent key is a null.
            Lookup::Hit(hit) if caller.resp == Resp::Two && hit.resp2() != Resp2::Same => {
                out.push_copy(null_reply(Resp::Two));
                Ok(())
            }
            Lookup::Hit(hit) => {
                hit.append();
                Ok(())
            }
            Lookup::Miss(missed) => Err(self.wanted(cache, key, missed, caller.now)),
        }
    }

    /// Why a key is wanted from upstream that was not found.
    fn wanted(&self, cache: &RouterCache, key: &[u8], missed: MissToken, now: Nanos) -> FetchReason {
        match self.context.terms(key) {
            Some(terms) if self.context.is_untimed(&terms, missed.slot(), false, now) => {
                self.context.note(key, MissReason::NoLifetime);
                FetchReason::KeptOut
            }
            Some(terms) if cache.admits(&missed, &terms) => FetchReason::Fill(missed, terms),
            Some(_) => FetchReason::KeptOut,
            None => {
                self.context.note(key, MissReason::Policy);
                FetchReason::KeptOut
            }
        }
    }

    /// While a slot moves, a node refuses a command on several keys if some have left, so each key is read by
    /// itself.
    fn per_key_if_migrating(&self, part: SlotPart, now: Nanos) -> Vec<SlotPart> {
        if !part.slots.one().is_some_and(|slot| self.context.upstream.is_moving(slot, now)) {
            return vec![part];
        }
        let single = |position| SlotPart { slots: part.slots, positions: vec![position] };
        part.positions.iter().copied().map(single).collect()
    }

    fn finish_mget(
        self: Rc<Mget>,
        batches: Vec<SlotBatch>,
        mut elements: Vec<Option<Bytes>>,
        resp: Resp,
        sent_at: Nanos,
        coverage: Option<Rc<Coverage>>,
    ) -> LocalBoxFuture<'static, Result<Vec<Option<Bytes>>, Bytes>> {
        Box::pin(async move {
            let (mut failed, mut tracked) = (None, true);
            for batch in batches {
                match self.fetches.finish(batch, &mut elements, resp, sent_at).await {
                    Ok(part) => tracked &= part,
                    Err(reply) => failed = failed.or(Some(reply)),
                }
            }
            coverage::note(coverage.as_ref(), tracked);
            failed.map_or(Ok(elements), Err)
        })
    }
}

/// The array of all elements; every one of them is there.
fn joined(elements: Vec<Option<Bytes>>, bound: ReplyBound) -> Bytes {
    let bytes = elements.iter().flatten().map(Bytes::len).sum::<usize>();
    if bytes > bound.bytes {
        return bound.exceeded();
    }
    let mut out = BytesMut::with_capacity(bytes + 16);
    encode::array(&mut out, elements.len());
    for element in elements.iter().flatten() {
        out.extend_from_slice(element);
    }
    out.freeze()
}
