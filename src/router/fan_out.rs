//! Commands on many keys, split by slot and joined in order: MGET, MSET, DEL, UNLINK, EXISTS, TOUCH.
//!
//! Each part is atomic, the whole is not. The parts go out at once, each behind what was sent to its slot
//! before.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::LazyLock;

use bytes::{Bytes, BytesMut};
use futures_util::future::{LocalBoxFuture, join_all};

use super::answer::Answer;
use super::caller::Caller;
use super::coherence::inflight::{Dependency, InflightRead};
use super::coverage::{self, Coverage, is_tracked};
use super::dispatch::Router;
use super::forward::default_ttl::TtlFollowUp;
use super::read::{answered, cacheability};
use super::replies::{failure_reply, odd_reply, stopped};
use super::reply_bound::ReplyBound;
use super::request_route::{RequestRoute, WriteSet};
use super::slices;
use super::tiers::RouterCache;
use super::ttl_probe;
use crate::cache::policy::{CacheTerms, TrackingMode, TtlMode};
use crate::cache::{
    CacheQuery, CommandId, Lifetime, Lookup, MissReason, MissToken, Resp2, Ticket, VersionedReply,
};
use crate::clock::Nanos;
use crate::net::write_queue::WriteQueue;
use crate::protocol::command::{Flags, Join, Spec, number_of};
use crate::protocol::key::Slot;
use crate::protocol::resp::cursor;
use crate::protocol::resp::encode;
use crate::protocol::resp::request::{OwnedRequest, Request};
use crate::protocol::resp::scan::AHEAD_MAX;
use crate::protocol::resp::{Resp, encode::null_reply};
use crate::upstream::{Call, Outcome, PendingReply};

/// The positions of keys that share a slot, in the order of the request.
struct SlotPart {
    slot: Slot,
    positions: Vec<usize>,
}

/// One key of an MGET that went upstream.
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
    /// It was not looked up, for another reason.
    Bypass,
}

/// The keys of an MGET that share a slot and went upstream together.
struct SlotBatch {
    slot: Slot,
    reply: PendingReply,
    keys: Vec<Fetched>,
    read: InflightRead,
}

// === impl Proxy ===

impl Router {
    /// Answers a command on many keys; what is joined of their values is held to `bound`. A reply that is
    /// here already is appended to `out`.
    pub fn fan_out(
        self: &Rc<Router>,
        spec: &'static Spec,
        join: Join,
        request: &Request<'_>,
        caller: Caller<'_>,
        bound: ReplyBound,
        out: &mut WriteQueue,
    ) -> Answer {
        if let Some(wait) = self.wait_for_upstream() {
            return wait;
        }
        caller.own_writes.note_sent();
        if slices::is_large(request, join) {
            if join == Join::Mget || (spec.keys.positions(request).is_ok() && !has_one_slot(spec, request)) {
                return self.in_slices(spec, join, request, caller, bound);
            }
            return self.forwarder.forward(RequestRoute::of(spec), WriteSet::Named, request, caller);
        }
        self.fan_out_at_once(spec, join, request, caller, bound, out)
    }

    /// The same, whatever the size of the request: others wait until all of it was looked at.
    pub(super) fn fan_out_at_once(
        self: &Rc<Router>,
        spec: &'static Spec,
        join: Join,
        request: &Request<'_>,
        caller: Caller<'_>,
        bound: ReplyBound,
        out: &mut WriteQueue,
    ) -> Answer {
        let route = RequestRoute::of(spec);
        let Ok(positions) = spec.keys.positions(request) else {
            return self.forwarder.forward(route, WriteSet::Named, request, caller);
        };
        match join {
            Join::Mget => self.mget(request, caller, bound, out),
            // EXISTS of one key is a read like any other.
            Join::Sum if spec.name == "exists" && positions.len() == 1 => {
                self.read(spec, request, caller, out)
            }
            Join::Sum | Join::Mset if has_one_slot(spec, request) => {
                self.forwarder.forward(route, WriteSet::Named, request, caller)
            }
            Join::Sum | Join::Mset => self.split(route, join, request, caller),
        }
    }

    /// Sends one command for each slot.
    fn split(
        self: &Rc<Router>,
        route: RequestRoute,
        join: Join,
        request: &Request<'_>,
        caller: Caller<'_>,
    ) -> Answer {
        let reads_only = route.flags.has(Flags::READ);
        let values = if join == Join::Mset { 1 } else { 0 };
        let positions = route.keys.positions(request).into_iter().flatten();
        let write = (!reads_only).then(|| self.begin_write(route.copied_keys_of(request), caller));
        let (sent, following): (Vec<PendingReply>, Vec<Option<TtlFollowUp>>) = parts(request, positions)
            .into_iter()
            .map(|part| {
                let args = part.positions.iter().flat_map(|position| *position..=position + values);
                let args = std::iter::once(0).chain(args).map(|index| request.arg(index));
                let request = OwnedRequest::from_args(args);
                let (bytes, due) = self.default_ttl.apply(route, &request.as_request(), request.bytes());
                let sent = self
                    .upstream
                    .send(part.slot, Call { bytes, slot: Some(part.slot), reads_only, foreign: false });
                let following = self.default_ttl.follow(&sent, Some(part.slot), due, caller.own_writes);
                (sent, following)
            })
            .unzip();
        let coverage = caller.coverage.cloned();
        Answer::Later(Box::pin(async move {
            let outcomes = join_all(sent.into_iter().map(|sent| sent.reply)).await;
            let outcomes: Vec<Outcome> =
                outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(stopped)).collect();
            for (following, outcome) in following.into_iter().zip(&outcomes) {
                if let Some(following) = following {
                    following.settle(outcome).await;
                }
            }
            drop(write);
            coverage::note(coverage.as_ref(), outcomes.iter().all(is_tracked));
            match join {
                Join::Sum => sum(outcomes.into_iter()),
                Join::Mset | Join::Mget => first_error_or(outcomes.into_iter(), b"+OK\r\n"),
            }
        }))
    }

    /// MGET: from L1 what is there, and one MGET upstream for each slot of the rest.
    fn mget(
        self: &Rc<Router>,
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
                self.cache.iter().for_each(|cache| cache.prefetch(request.args_from(index + 1)));
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
        let (proxy, resp, sent_at) = (self.clone(), caller.resp, caller.now);
        let coverage = caller.coverage.cloned();
        let elements = proxy.finish_mget(batches, elements, resp, sent_at, coverage);
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
        let cache = match (&self.cache, caller.own_writes.behind(key)) {
            (Some(cache), Dependency::Nothing) => cache,
            (Some(cache), Dependency::Read(number)) => {
                let missed = cache.miss_without_lookup(key, caller.now, Slot::of(key), number);
                return Err(self.wanted(cache, key, missed, caller.now));
            }
            _ => {
                self.stats.l1_bypasses.bump();
                self.note(key, caller.own_writes.why_behind());
                return Err(if self.uncached(key).is_some() {
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
        match self.terms(key) {
            Some(terms) if self.is_untimed(&terms, missed.slot(), false, now) => {
                self.note(key, MissReason::NoLifetime);
                FetchReason::KeptOut
            }
            Some(terms) if cache.admits(&missed, &terms) => FetchReason::Fill(missed, terms),
            Some(_) => FetchReason::KeptOut,
            None => {
                self.note(key, MissReason::Policy);
                FetchReason::KeptOut
            }
        }
    }

    /// Sends the MGET of one slot, and behind it the questions for the lifetimes of its keys.
    fn fetch(
        self: &Rc<Router>,
        request: &Request<'_>,
        part: SlotPart,
        wanted: &HashMap<usize, FetchReason>,
        caller: Caller<'_>,
    ) -> SlotBatch {
        let slot = part.slot;
        let args = part.positions.iter().map(|position| request.arg(*position));
        let bytes = OwnedRequest::from_args(std::iter::once(&b"MGET"[..]).chain(args)).bytes();
        let call = Call { bytes, slot: Some(slot), reads_only: true, foreign: false };
        // Each lifetime is a question of its own, and so many keys may be asked for that there is no room for
        // all.
        let mut room = self.upstream.spare_room(slot);
        let wants = part.positions.iter().map(|position| match wanted.get(&(position - 1)).copied() {
            Some(FetchReason::Fill(missed, terms)) if terms.mode == TtlMode::Exact => {
                match room.checked_sub(1) {
                    Some(rest) => {
                        room = rest;
                        FetchReason::Fill(missed, terms)
                    }
                    None => {
                        self.note(request.arg(*position), MissReason::Crowded);
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
            (self.send_unkept(slot, call, caller), TrackingMode::ByKey)
        } else if wants.iter().all(is_heard) {
            let keys = part.positions.iter().map(|position| request.arg(*position));
            self.send_to_keep(TrackingMode::Broadcast, slot, keys, call, caller)
        } else {
            // What one of them needs does for all.
            (self.upstream.send(slot, call), TrackingMode::ByKey)
        };
        let is_moving = self.upstream.is_moving(slot, caller.now);
        let epoch = reply.epoch.take().filter(|_| !is_moving);
        let keys = part.positions.iter().zip(&wants).map(|(position, wants)| {
            let (index, key) = (position - 1, Bytes::copy_from_slice(request.arg(*position)));
            let fill = match (&self.cache, wants, &epoch) {
                (Some(cache), FetchReason::Fill(missed, terms), Some(epoch)) => {
                    let ticket = cache.ticket(missed, epoch.clone()).on(*terms);
                    Some((ticket, self.ask_lifetime(terms, tracking, slot, || ttl_probe::of_key(&key))))
                }
                (_, FetchReason::Fill(..), None) => {
                    self.note(&key, if is_moving { MissReason::Moving } else { MissReason::NotTracked });
                    None
                }
                _ => None,
            };
            Fetched { index, key, fill }
        });
        let keys: Vec<Fetched> = keys.collect();
        let names = keys.iter().map(|fetched| fetched.key.clone()).collect();
        let number = self.cache.as_ref().map_or(0, |cache| cache.next_number());
        let read = InflightRead::begin(caller.own_writes, names, number);
        SlotBatch { slot, reply, keys, read }
    }

    /// While a slot moves, a node refuses a command on several keys of which some have left, so each is asked
    /// for alone.
    fn per_key_if_migrating(&self, part: SlotPart, now: Nanos) -> Vec<SlotPart> {
        if !self.upstream.is_moving(part.slot, now) {
            return vec![part];
        }
        let alone = |position| SlotPart { slot: part.slot, positions: vec![position] };
        part.positions.iter().copied().map(alone).collect()
    }

    fn finish_mget(
        self: Rc<Router>,
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
            self.upstream.note_moving(batch.slot);
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
            let Some(cache) = &self.cache else { continue };
            let Some((ticket, lifetime)) = fetched.fill else {
                cache.shared().invalidate_if_unordered(&fetched.key);
                continue;
            };
            let lifetime = answered(lifetime).await;
            self.note_lifetime(batch.slot, lifetime.as_ref(), false);
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
        let cache = self.cache.as_ref().filter(|_| !is_null || is_absent).ok_or(MissReason::Torn)?;
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
                    self.upstream
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
        if let Some(cache) = &self.cache {
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

/// Whether all keys of a request are in one slot.
fn has_one_slot(spec: &Spec, request: &Request<'_>) -> bool {
    let mut slots = spec.keys.positions(request).into_iter().flatten().map(|at| Slot::of(request.arg(at)));
    let first = slots.next();
    slots.all(|slot| Some(slot) == first)
}

/// Groups positions by the slot of their key, in the order in which each slot is first seen.
fn parts(request: &Request<'_>, positions: impl Iterator<Item = usize>) -> Vec<SlotPart> {
    let mut parts: Vec<SlotPart> = Vec::new();
    let mut place = HashMap::new();
    for position in positions {
        let slot = Slot::of(request.arg(position));
        let index = *place.entry(slot).or_insert_with(|| {
            parts.push(SlotPart { slot, positions: Vec::new() });
            parts.len() - 1
        });
        parts[index].positions.push(position);
    }
    parts
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

/// The sum of all integers, or the first reply that is none.
fn sum(outcomes: impl Iterator<Item = Outcome>) -> Bytes {
    let mut total = 0;
    for outcome in outcomes {
        match outcome {
            Ok(reply) => match cursor::integer(&reply.frame) {
                Some(number) => total = number.saturating_add(total),
                None => return odd_reply("a part of the command", &reply.frame),
            },
            Err(failure) => return failure_reply(&failure),
        }
    }
    let mut out = BytesMut::new();
    encode::integer(&mut out, total);
    out.freeze()
}

/// `reply`, or the first error.
fn first_error_or(outcomes: impl Iterator<Item = Outcome>, reply: &'static [u8]) -> Bytes {
    for outcome in outcomes {
        match outcome {
            Ok(reply) if reply.frame.starts_with(b"-") => return reply.frame,
            Ok(_) => {}
            Err(failure) => return failure_reply(&failure),
        }
    }
    Bytes::from_static(reply)
}
