//! The part of an MGET that goes upstream as one command: one MGET, and behind it a query for the lifetime
//! of each key that L1 may keep.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::LazyLock;

use bytes::{Bytes, BytesMut};

use super::slot_parts::SlotPart;
use crate::cache::policy::{CacheTerms, TrackingMode, TtlMode};
use crate::cache::{CacheQuery, CommandId, Lifetime, MissReason, MissToken, Ticket, VersionedReply};
use crate::clock::Nanos;
use crate::protocol::command::cached_number_of;
use crate::protocol::db::DbIndex;
use crate::protocol::key::{KeySlots, Slot};
use crate::protocol::resp::cursor;
use crate::protocol::resp::encode;
use crate::protocol::resp::request::{OwnedRequest, Request};
use crate::protocol::resp::{Resp, encode::null_reply};
use crate::router::caller::Caller;
use crate::router::coherence::inflight::InflightRead;
use crate::router::context::RouterContext;
use crate::router::reads::cacheability::{answered, cacheability};
use crate::router::reads::ttl_probe;
use crate::router::replies::{failure_reply, odd_reply, stopped};
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
pub(super) enum FetchReason {
    /// To be brought in, on these terms.
    Fill(MissToken, CacheTerms),
    /// Its policy keeps it out of L1.
    KeptOut,
    /// Not looked up, for another reason.
    Bypass,
}

/// The keys of an MGET that went upstream together.
pub(super) struct SlotBatch {
    slots: KeySlots,
    database: DbIndex,
    reply: PendingReply,
    keys: Vec<Fetched>,
    read: InflightRead,
}

/// Fetches keys that go to one node together.
#[derive(Debug)]
pub(super) struct SlotFetches {
    pub(super) context: Rc<RouterContext>,
}

// === impl SlotFetches ===

impl SlotFetches {
    /// Sends the MGET of one part, and behind it the queries for the lifetimes of its keys.
    pub(super) fn fetch(
        &self,
        request: &Request<'_>,
        part: SlotPart,
        wanted: &HashMap<usize, FetchReason>,
        caller: Caller<'_>,
    ) -> SlotBatch {
        let slot = part.slots.one();
        let args = part.positions.iter().map(|position| request.arg(*position));
        let bytes = OwnedRequest::from_args(std::iter::once(&b"MGET"[..]).chain(args)).bytes();
        let database = caller.inflight.database();
        let call = Call::new(database, part.slots, bytes, true);
        // Each lifetime takes a command of its own, and there may be no room for all of them.
        let mut room = self.context.upstream.spare_room(slot);
        let wants = part.positions.iter().map(|position| match wanted.get(&(position - 1)).copied() {
            Some(FetchReason::Fill(missed, terms)) if terms.mode == TtlMode::Exact => {
                match room.checked_sub(1) {
                    Some(rest) => {
                        room = rest;
                        FetchReason::Fill(missed, terms)
                    }
                    None => {
                        self.context.note(request.arg(*position), MissReason::Crowded);
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
            (self.context.send_uncached(slot, call, caller), TrackingMode::ByKey)
        } else if wants.iter().all(is_heard) {
            let keys = part.positions.iter().map(|position| request.arg(*position));
            self.context.send_to_keep(TrackingMode::Broadcast, slot, keys, call, caller)
        } else {
            // What one of them needs does for all.
            (self.context.upstream.send(slot, call), TrackingMode::ByKey)
        };
        let is_moving = slot.is_some_and(|slot| self.context.upstream.is_moving(slot, caller.now));
        let epoch = reply.epoch.take().filter(|_| !is_moving);
        let keys = part.positions.iter().zip(&wants).map(|(position, wants)| {
            let (index, key) = (position - 1, Bytes::copy_from_slice(request.arg(*position)));
            let fill = match (&self.context.cache, wants, &epoch) {
                (Some(cache), FetchReason::Fill(missed, terms), Some(epoch)) => {
                    let ticket = cache.ticket(missed, epoch.clone()).on(*terms);
                    Some((
                        ticket,
                        self.context
                            .ask_lifetime(terms, tracking, slot, database, || ttl_probe::of_key(&key)),
                    ))
                }
                (_, FetchReason::Fill(..), None) => {
                    self.context
                        .note(&key, if is_moving { MissReason::Moving } else { MissReason::NotTracked });
                    None
                }
                _ => None,
            };
            Fetched { index, key, fill }
        });
        let keys: Vec<Fetched> = keys.collect();
        let names = keys.iter().map(|fetched| fetched.key.clone()).collect();
        let number = self.context.cache.as_ref().map_or(0, |cache| cache.next_number());
        let read = InflightRead::begin(caller.inflight, names, number);
        SlotBatch { slots: part.slots, database, reply, keys, read }
    }

    /// Puts the values of a batch into their places; whether they are tracked, or the error reply when there
    /// are none.
    pub(super) async fn finish(
        &self,
        batch: SlotBatch,
        elements: &mut [Option<Bytes>],
        resp: Resp,
        sent_at: Nanos,
    ) -> Result<bool, Bytes> {
        let read = batch.read;
        let outcome = batch.reply.reply.await.unwrap_or_else(stopped);
        let reply = outcome.map_err(|failure| failure_reply(&failure))?;
        if let Some(slot) = batch.slots.one().filter(|_| reply.frame.starts_with(b"-TRYAGAIN")) {
            self.context.upstream.note_moving(slot);
            if !read.is_latest() {
                // What is asked again now would come behind what the session sent after it (I6).
                return Err(reply.frame);
            }
            return self.fetch_one_by_one(slot, batch.database, batch.keys, elements, resp).await;
        }
        let values: Option<Vec<&[u8]>> = cursor::elements(&reply.frame).and_then(Iterator::collect);
        let count = batch.keys.len();
        let values = values.filter(|values| values.len() == count && values.iter().all(is_value));
        let values = values.ok_or_else(|| odd_reply("MGET", &reply.frame))?;
        for (fetched, value) in batch.keys.into_iter().zip(values) {
            let value = reply.frame.slice_ref(value);
            elements[fetched.index] = Some(in_version(&value, resp));
            let Some(cache) = &self.context.cache else { continue };
            let Some((ticket, lifetime)) = fetched.fill else {
                cache.shared().invalidate_if_unordered(&fetched.key);
                continue;
            };
            let lifetime = answered(lifetime).await;
            self.context.note_lifetime(batch.slots.one(), lifetime.as_ref(), false);
            let query = (get_in(batch.database), &fetched.key);
            let kept = self.keep(&ticket, query, value, reply.rerouted, lifetime.as_ref(), sent_at);
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
        (command, key): (Option<CommandId>, &Bytes),
        value: Bytes,
        rerouted: bool,
        lifetime: Option<&Outcome>,
        sent_at: Nanos,
    ) -> Result<(), MissReason> {
        let command = command.ok_or(MissReason::Database)?;
        let asked = lifetime.is_some();
        let lifetime = cacheability(&value, cursor::is_absent_form(&value), rerouted, lifetime)?;
        // MGET gives null for a key that is no string, where GET gives an error: only a missing key is kept
        // as null.
        let is_null = cursor::head(&value).is_some_and(|head| matches!(head, cursor::ReplyHead::Null { .. }));
        let is_absent = asked && lifetime == Lifetime::Absent;
        let cache = self
            .context
            .cache
            .as_ref()
            .filter(|_| !is_null || is_absent)
            .ok_or(MissReason::ChangedLifetime)?;
        let resp2 = is_null.then(|| Bytes::from_static(null_reply(Resp::Two)));
        let mut tail = BytesMut::with_capacity(key.len() + 16);
        encode::bulk(&mut tail, key);
        cache.commit(
            ticket,
            &get(command, key, &tail),
            &VersionedReply { resp3: value, resp2 },
            lifetime,
            sent_at,
        );
        Ok(())
    }

    /// While a slot moves, a node refuses a command on several keys if some have left; for a single key it
    /// answers with a redirect.
    async fn fetch_one_by_one(
        &self,
        slot: Slot,
        database: DbIndex,
        keys: Vec<Fetched>,
        elements: &mut [Option<Bytes>],
        resp: Resp,
    ) -> Result<bool, Bytes> {
        let fetches: Vec<(usize, PendingReply)> = keys
            .iter()
            .map(|fetched| {
                let bytes = encode::request(&[b"MGET", &fetched.key[..]]);
                let call = Call::new(database, KeySlots::One(slot), bytes, true);
                (fetched.index, self.context.upstream.send(Some(slot), call))
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
        if let Some(cache) = &self.context.cache {
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

/// The number of GET for the near cache.
static GET: LazyLock<u8> = LazyLock::new(|| cached_number_of("get"));

/// The command that an element of MGET is the reply to; `None` if nothing of `database` is kept.
pub(super) fn get_in(database: DbIndex) -> Option<CommandId> {
    CommandId::in_database(*GET, database)
}

/// The query that an element of MGET answers.
pub(super) fn get<'a>(command: CommandId, key: &'a [u8], tail: &'a [u8]) -> CacheQuery<'a> {
    CacheQuery { command, key, args: tail }
}

fn in_version(value: &Bytes, resp: Resp) -> Bytes {
    match (resp, value.first()) {
        (Resp::Two, Some(b'_')) => Bytes::from_static(null_reply(Resp::Two)),
        _ => value.clone(),
    }
}
