//! MGET: each key that L1 has is answered by L1, the others by one MGET for each slot.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::LazyLock;

use bytes::{Bytes, BytesMut};
use futures_util::future::LocalBoxFuture;

use super::slot_parts::{SlotPart, parts};
use crate::cache::policy::{CacheTerms, TrackingMode, TtlMode};
use crate::cache::{
    CacheQuery, CommandId, Lifetime, Lookup, MissReason, MissToken, Resp2, Ticket, VersionedReply,
};
use crate::clock::Nanos;
use crate::net::write_queue::WriteQueue;
use crate::protocol::command::number_of;
use crate::protocol::key::Slot;
use crate::protocol::resp::cursor;
use crate::protocol::resp::encode;
use crate::protocol::resp::request::{OwnedRequest, Request};
use crate::protocol::resp::scan::AHEAD_MAX;
use crate::protocol::resp::{Resp, encode::null_reply};
use crate::router::answer::Answer;
use crate::router::caller::Caller;
use crate::router::coherence::inflight::{Dependency, InflightRead};
use crate::router::coverage::{self, Coverage};
use crate::router::reads::cacheability::{answered, cacheability};
use crate::router::reads::ttl_probe;
use crate::router::replies::{failure_reply, odd_reply, stopped};
use crate::router::reply_bound::ReplyBound;
use crate::router::tiers::{RouterCache, Tiers};
use crate::upstream::{Call, Outcome, PendingReply};

/// A key of an MGET that went upstream.
struct Fetched {
    /// Which key of the request it is, counted from 0.
    index: usize,
    key: Bytes,
    /// What keeps its value, if that may be kept: the ticket, and the lifetime if it was asked for behind
    /// the value.
    fill: Option<(Ticket, Option<PendingReply>)>,
}

/// Why a key of an MGET goes upstream.
#[derive(Clone, Copy)]
enum FetchReason {
    /// To be brought in, on these terms.
    Fill(MissToken, CacheTerms),
    /// Its policy keeps it out of L1.
    KeptOut,
    /// Not looked up, for another reason.
    Bypass,
}

/// The keys of an MGET that share a slot and went upstream together.
struct SlotBatch {
    slot: Slot,
    reply: PendingReply,
    keys: Vec<Fetched>,
    read: InflightRead,
}

/// Answers MGET: from L1 what is there, the rest from upstream.
#[derive(Debug)]
pub(super) struct Mget {
    tiers: Rc<Tiers>,
}

// === impl Mget ===

impl Mget {
    /// Reads from `tiers`.
    pub(super) fn new(tiers: Rc<Tiers>) -> Rc<Mget> {
        Rc::new(Mget { tiers })
    }

    /// MGET: from L1 what is there, and one MGET upstream for each slot of the rest.
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
                self.tiers.cache.iter().for_each(|cache| cache.prefetch(request.args_from(index + 1)));
            }
            if let Err(why) = self.look(request, index + 1, caller, out) {
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
        let batches =
            parts(request, missing).into_iter().flat_map(|part| self.per_key_if_migrating(part, caller.now));
        let batches = batches.map(|part| self.fetch(request, part, &wanted, caller)).collect();
        let (this, resp, sent_at) = (self.clone(), caller.resp, caller.now);
        let coverage = caller.coverage.cloned();
        let elements = this.finish_mget(batches, elements, resp, sent_at, coverage);
        Answer::Later(Box::pin(async move {
            elements.await.map_or_else(|failed| failed, |elements| joined(elements, bound))
        }))
    }

    /// Looks one key of an MGET up and appends its value to `out`; why it is wanted from upstream when it is
    /// not there.
    fn look(
        &self,
        request: &Request<'_>,
        position: usize,
        caller: Caller<'_>,
        out: &mut WriteQueue,
    ) -> Result<(), FetchReason> {
        let key = request.arg(position);
        let cache = match (&self.tiers.cache, caller.own_writes.behind(key)) {
            (Some(cache), Dependency::Nothing) => cache,
            (Some(cache), Dependency::Read(number)) => {
                let missed = cache.miss_without_lookup(key, caller.now, Slot::of(key), number);
                return Err(self.wanted(cache, key, missed, caller.now));
            }
            _ => {
                self.tiers.stats.l1_bypasses.bump();
                self.tiers.note(key, caller.own_writes.why_behind());
                return Err(if self.tiers.policies.terms(key).is_err() {
                    FetchReason::KeptOut
                } else {
                    FetchReason::Bypass
                });
            }
        };
        match cache.lookup(&get(key, request.encoded(position)), caller.now, || Slot::of(key), out) {
            // A string is the same for all, and what is not there is a null.
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
        match self.tiers.terms(key) {
            Some(terms) if self.tiers.is_untimed(&terms, missed.slot(), false, now) => {
                self.tiers.note(key, MissReason::NoLifetime);
                FetchReason::KeptOut
            }
            Some(terms) if cache.admits(&missed, &terms) => FetchReason::Fill(missed, terms),
            Some(_) => FetchReason::KeptOut,
            None => {
                self.tiers.note(key, MissReason::Policy);
                FetchReason::KeptOut
            }
        }
    }

    /// Sends the MGET of one slot, and behind it the questions for the lifetimes of its keys.
    fn fetch(
        self: &Rc<Mget>,
        request: &Request<'_>,
        part: SlotPart,
        wanted: &HashMap<usize, FetchReason>,
        caller: Caller<'_>,
    ) -> SlotBatch {
        let slot = part.slot;
        let args = part.positions.iter().map(|position| request.arg(*position));
        let bytes = OwnedRequest::from_args(std::iter::once(&b"MGET"[..]).chain(args)).bytes();
        let call = Call { bytes, slot: Some(slot), reads_only: true, foreign: false };
        // Each lifetime is a question of its own, and there may be no room for those of all keys.
        let mut room = self.tiers.upstream.spare_room(slot);
        let wants = part.positions.iter().map(|position| match wanted.get(&(position - 1)).copied() {
            Some(FetchReason::Fill(missed, terms)) if terms.mode == TtlMode::Exact => {
                match room.checked_sub(1) {
                    Some(rest) => {
                        room = rest;
                        FetchReason::Fill(missed, terms)
                    }
                    None => {
                        self.tiers.note(request.arg(*position), MissReason::Crowded);
                        FetchReason::KeptOut
                    }
                }
            }
            wants => wants.unwrap_or(FetchReason::Bypass),
        });
        let wants: Vec<FetchReason> = wants.collect();
        let is_kept_out = |wants: &FetchReason| matches!(wants, FetchReason::KeptOut);
        let is_heard = |wants: &FetchReason| match wants {
            FetchReason::Fill(_, terms) => terms.tracking == TrackingMode::Broadcast,
            _ => false,
        };
        let (mut reply, tracking) = if wants.iter().all(is_kept_out) {
            (self.tiers.send_unkept(slot, call, caller), TrackingMode::ByKey)
        } else if wants.iter().all(is_heard) {
            let keys = part.positions.iter().map(|position| request.arg(*position));
            self.tiers.send_to_keep(TrackingMode::Broadcast, slot, keys, call, caller)
        } else {
            // What one of them needs does for all.
            (self.tiers.upstream.send(slot, call), TrackingMode::ByKey)
        };
        let is_moving = self.tiers.upstream.is_moving(slot, caller.now);
        let epoch = reply.epoch.take().filter(|_| !is_moving);
        let keys = part.positions.iter().zip(&wants).map(|(position, wants)| {
            let (index, key) = (position - 1, Bytes::copy_from_slice(request.arg(*position)));
            let fill = match (&self.tiers.cache, wants, &epoch) {
                (Some(cache), FetchReason::Fill(missed, terms), Some(epoch)) => {
                    let ticket = cache.ticket(missed, epoch.clone()).on(*terms);
                    Some((ticket, self.tiers.ask_lifetime(terms, tracking, slot, || ttl_probe::of_key(&key))))
                }
                (_, FetchReason::Fill(..), None) => {
                    self.tiers
                        .note(&key, if is_moving { MissReason::Moving } else { MissReason::NotTracked });
                    None
                }
                _ => None,
            };
            Fetched { index, key, fill }
        });
        let keys: Vec<Fetched> = keys.collect();
        let names = keys.iter().map(|fetched| fetched.key.clone()).collect();
        let number = self.tiers.cache.as_ref().map_or(0, |cache| cache.next_number());
        let read = InflightRead::begin(caller.own_writes, names, number);
        SlotBatch { slot, reply, keys, read }
    }

    /// While a slot moves, a node refuses a command on several keys of which some have left, so each is asked
    /// for alone.
    fn per_key_if_migrating(&self, part: SlotPart, now: Nanos) -> Vec<SlotPart> {
        if !self.tiers.upstream.is_moving(part.slot, now) {
            return vec![part];
        }
        let alone = |position| SlotPart { slot: part.slot, positions: vec![position] };
        part.positions.iter().copied().map(alone).collect()
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
                match self.finish_batch(batch, &mut elements, resp, sent_at).await {
                    Ok(part) => tracked &= part,
                    Err(reply) => failed = failed.or(Some(reply)),
                }
            }
            coverage::note(coverage.as_ref(), tracked);
            failed.map_or(Ok(elements), Err)
        })
    }

    /// Puts the values of a batch into their places; whether they are tracked, or the error reply when there
    /// are none.
    async fn finish_batch(
        &self,
        batch: SlotBatch,
        elements: &mut [Option<Bytes>],
        resp: Resp,
        sent_at: Nanos,
    ) -> Result<bool, Bytes> {
        let read = batch.read;
        let outcome = batch.reply.reply.await.unwrap_or_else(stopped);
        let reply = outcome.map_err(|failure| failure_reply(&failure))?;
        if reply.frame.starts_with(b"-TRYAGAIN") {
            self.tiers.upstream.note_moving(batch.slot);
            if !read.is_latest() {
                // What is asked again now would come behind what the session sent after it (I6).
                return Err(reply.frame);
            }
            return self.fetch_one_by_one(batch.slot, batch.keys, elements, resp).await;
        }
        let values: Option<Vec<&[u8]>> = cursor::elements(&reply.frame).and_then(Iterator::collect);
        let count = batch.keys.len();
        let values = values.filter(|values| values.len() == count && values.iter().all(is_value));
        let values = values.ok_or_else(|| odd_reply("MGET", &reply.frame))?;
        for (fetched, value) in batch.keys.into_iter().zip(values) {
            let value = reply.frame.slice_ref(value);
            elements[fetched.index] = Some(in_version(&value, resp));
            let Some(cache) = &self.tiers.cache else { continue };
            let Some((ticket, lifetime)) = fetched.fill else {
                cache.shared().invalidate_if_unordered(&fetched.key);
                continue;
            };
            let lifetime = answered(lifetime).await;
            self.tiers.note_lifetime(batch.slot, lifetime.as_ref(), false);
            let kept = self.keep(&ticket, &fetched.key, value, reply.rerouted, lifetime.as_ref(), sent_at);
            if let Err(why) = kept {
                cache.shared().invalidate_if_unordered(&fetched.key);
                cache.shared().note(&fetched.key, why);
            }
        }
        Ok(reply.tracked)
    }

    /// Keeps an element of an MGET as the reply to GET, or says why it is none to keep.
    fn keep(
        &self,
        ticket: &Ticket,
        key: &Bytes,
        value: Bytes,
        rerouted: bool,
        lifetime: Option<&Outcome>,
        sent_at: Nanos,
    ) -> Result<(), MissReason> {
        let asked = lifetime.is_some();
        let lifetime = cacheability(&value, cursor::is_absent_form(&value), rerouted, lifetime)?;
        // MGET gives null for a key that is no string, where GET gives an error: only a missing key is kept
        // as null.
        let is_null = cursor::head(&value).is_some_and(|head| matches!(head, cursor::ReplyHead::Null { .. }));
        let is_absent = asked && lifetime == Lifetime::Absent;
        let cache = self.tiers.cache.as_ref().filter(|_| !is_null || is_absent).ok_or(MissReason::Torn)?;
        let resp2 = is_null.then(|| Bytes::from_static(null_reply(Resp::Two)));
        let mut tail = BytesMut::with_capacity(key.len() + 16);
        encode::bulk(&mut tail, key);
        cache.commit(ticket, &get(key, &tail), &VersionedReply { resp3: value, resp2 }, lifetime, sent_at);
        Ok(())
    }

    /// While a slot moves, a node refuses a command on several keys of which some have left; for each alone
    /// it says where to go.
    async fn fetch_one_by_one(
        &self,
        slot: Slot,
        keys: Vec<Fetched>,
        elements: &mut [Option<Bytes>],
        resp: Resp,
    ) -> Result<bool, Bytes> {
        let fetches: Vec<(usize, PendingReply)> = keys
            .iter()
            .map(|fetched| {
                let bytes = encode::request(&[b"MGET", &fetched.key[..]]);
                (
                    fetched.index,
                    self.tiers
                        .upstream
                        .send(slot, Call { bytes, slot: Some(slot), reads_only: true, foreign: false }),
                )
            })
            .collect();
        let mut tracked = true;
        for (index, sent) in fetches {
            let reply =
                sent.reply.await.unwrap_or_else(stopped).map_err(|failure| failure_reply(&failure))?;
            let value = cursor::elements(&reply.frame).and_then(|mut values| values.next()?);
            let value = value.filter(is_value).ok_or_else(|| odd_reply("MGET", &reply.frame))?;
            tracked &= reply.tracked;
            elements[index] = Some(in_version(&reply.frame.slice_ref(value), resp));
        }
        if let Some(cache) = &self.tiers.cache {
            for fetched in &keys {
                cache.shared().invalidate_if_unordered(&fetched.key);
                cache.shared().note(&fetched.key, MissReason::Moving);
            }
        }
        Ok(tracked)
    }
}

/// Whether an element of a reply to MGET is one: a string or null.
fn is_value(element: &&[u8]) -> bool {
    matches!(element.first(), Some(b'$' | b'_'))
}

/// The command that an element of MGET is the reply to.
static GET: LazyLock<CommandId> =
    LazyLock::new(|| CommandId { name: "get", number: number_of("get") as u16 });

/// The question that an element of MGET answers.
fn get<'a>(key: &'a [u8], tail: &'a [u8]) -> CacheQuery<'a> {
    CacheQuery { command: *GET, key, args: tail }
}

fn in_version(value: &Bytes, resp: Resp) -> Bytes {
    match (resp, value.first()) {
        (Resp::Two, Some(b'_')) => Bytes::from_static(null_reply(Resp::Two)),
        _ => value.clone(),
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
