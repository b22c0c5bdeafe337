//! Reads that L1 may answer: a hit on the spot, a miss by a fill.
//!
//! Policies are asked after the lookup, so they cost a hit nothing. A read that its policy keeps out of L1
//! goes out behind CLIENT CACHING NO. A read under `tracking = "broadcast"` takes its epoch from the BCAST
//! connection, if that reaches the process that the read reaches (`run_id`); otherwise it is tracked as any
//! other. A reply that was redirected or sent again is never kept. While a slot is moving, its reads pass
//! L1.
//!
//! While a read is on its way, later reads of its key in the same session are not answered from L1 and join
//! no earlier fill, so no reply of a session is older than the one before it.

use std::rc::Rc;

use bytes::Bytes;

use super::cacheability::{answered, cacheability};
use super::hit::append;
use super::ttl_probe;
use crate::cache::policy::{CacheTerms, TrackingMode};
use crate::cache::{
    COMMANDS_MAX, CacheQuery, CommandId, Lead, Lookup, MissReason, MissToken, Ticket, VersionedReply,
};
use crate::clock::{self, Nanos};
use crate::net::write_queue::WriteQueue;
use crate::protocol::command::{CACHED, Flags, Spec};
use crate::protocol::key::{KeySlots, Slot};
use crate::protocol::resp::Resp;
use crate::protocol::resp::cursor;
use crate::protocol::resp::request::{OwnedRequest, Request};
use crate::protocol::resp::scan::keys_ahead;
use crate::router::answer::Answer;
use crate::router::caller::Caller;
use crate::router::coherence::inflight::{Dependency, InflightKeys, InflightRead};
use crate::router::context::{FillResult, RouterCache, RouterContext};
use crate::router::coverage::{self, Coverage, is_tracked};
use crate::router::forward::forwarder::Forwarder;
use crate::router::forward::reply_sizes::ReplySizes;
use crate::router::replies::{failure_reply, in_resp2, render, stopped};
use crate::router::request_route::{KeyAccess, RequestRoute};
use crate::upstream::{Call, PendingReply, UpstreamError};

/// A fill on its way: the value and, right behind it, the lifetime of its key.
struct ReadFill {
    request: OwnedRequest,
    spec: &'static Spec,
    command: CommandId,
    slot: Slot,
    key_at: usize,
    value: PendingReply,
    /// Not asked for when the policy of the key does not want it.
    lifetime: Option<PendingReply>,
    of_fields: bool,
    tracking: TrackingMode,
    ticket: Ticket,
    lead: Lead<Result<FillResult, UpstreamError>>,
    sent_at: Nanos,
}

/// Answers reads that L1 may answer.
#[derive(Debug)]
pub(in crate::router) struct CachedReads {
    context: Rc<RouterContext>,
    forwarder: Rc<Forwarder>,
    reply_sizes: Rc<ReplySizes>,
}

// === impl CachedReads ===

impl CachedReads {
    /// Reads from `context`.
    pub(in crate::router) fn new(
        context: Rc<RouterContext>,
        forwarder: Rc<Forwarder>,
        reply_sizes: Rc<ReplySizes>,
    ) -> Rc<CachedReads> {
        Rc::new(CachedReads { context, forwarder, reply_sizes })
    }

    /// Fetches what the lookups for the requests in `bytes` will need; `prefix` comes in front of their keys.
    #[inline]
    pub(in crate::router) fn prefetch(&self, prefix: &[u8], bytes: &[u8]) {
        if let Some(cache) = &self.context.cache {
            cache.prefetch(prefix, keys_ahead(bytes));
        }
    }

    /// Answers a read whose only argument is its key from L1, in the usual case; `name` is what the servers
    /// call that key. Otherwise nothing was done, and [`CachedReads::read`] has to answer.
    #[inline(never)]
    pub(in crate::router) fn read_at_once(
        &self,
        spec: &'static Spec,
        request: &Request<'_>,
        name: &[u8],
        caller: Caller<'_>,
        out: &mut WriteQueue,
    ) -> Option<Answer> {
        let (cache, command) = (self.context.cache.as_ref()?, command_of(spec, caller)?);
        if !matches!(caller.inflight.dependency(name), Dependency::Nothing) {
            return None;
        }
        let hit = cache.lookup_at_once(command, name, caller.now, out)?;
        Some(append(hit, spec, request, caller.resp))
    }

    /// Answers a read of one key.
    #[inline]
    pub(in crate::router) fn read(
        self: &Rc<CachedReads>,
        spec: &'static Spec,
        request: &Request<'_>,
        caller: Caller<'_>,
        out: &mut WriteQueue,
    ) -> Answer {
        // The table gives such commands exactly one key; one without it is the server's to judge.
        let key_at = spec.keys.first(request);
        let (Some(cache), Some(key_at)) = (&self.context.cache, key_at) else {
            self.context.stats.l1_bypasses.bump();
            return self.forward_uncached(spec, request, None, caller);
        };
        let key = request.arg(key_at);
        let Some(command) = command_of(spec, caller) else {
            self.context.stats.l1_bypasses.bump();
            return self.forward_uncached(spec, request, Some((key_at, MissReason::Database)), caller);
        };
        let query = CacheQuery { command, key, args: request.tail() };
        let missed = match caller.inflight.dependency(key) {
            Dependency::Write => {
                self.context.stats.l1_bypasses.bump();
                let why = caller.inflight.dependency_reason();
                return self.forward_uncached(spec, request, Some((key_at, why)), caller);
            }
            Dependency::Read(number) => cache.miss_without_lookup(key, caller.now, Slot::of(key), number),
            Dependency::Nothing => match cache.lookup(&query, caller.now, || Slot::of(key), out) {
                Lookup::Hit(hit) => return append(hit, spec, request, caller.resp),
                Lookup::Miss(missed) => missed,
            },
        };
        self.miss(cache, (spec, command), request, key_at, missed, caller)
    }

    /// Answers a read from upstream alone; `why` with the place of the key, if there is one.
    fn forward_uncached(
        self: &Rc<CachedReads>,
        spec: &'static Spec,
        request: &Request<'_>,
        why: Option<(usize, MissReason)>,
        caller: Caller<'_>,
    ) -> Answer {
        caller.inflight.note_sent();
        let route = RequestRoute::of(spec);
        let answer = self.forwarder.forward(route, KeyAccess::Declared, request, caller);
        if let Some((key_at, why)) = why {
            self.context.note(request.arg(key_at), why);
        }
        self.invalidate_after_uncached(|| route.keys_of(request), answer)
    }

    /// Sees to it that nothing older is served after a reply that L1 does not keep.
    fn invalidate_after_uncached(
        self: &Rc<CachedReads>,
        keys: impl FnOnce() -> InflightKeys,
        answer: Answer,
    ) -> Answer {
        let Some(cache) = self.context.cache.as_ref().filter(|cache| cache.shared().is_multi_stream()) else {
            return answer;
        };
        let (shared, keys) = (cache.shared().clone(), keys());
        answer.seen(move |_| keys.iter().for_each(|key| shared.invalidate_if_unordered(key)))
    }

    fn miss(
        self: &Rc<CachedReads>,
        cache: &RouterCache,
        (spec, command): (&'static Spec, CommandId),
        request: &Request<'_>,
        key_at: usize,
        missed: MissToken,
        caller: Caller<'_>,
    ) -> Answer {
        if self.context.upstream.is_moving(missed.slot(), caller.now) {
            return self.forward_uncached(spec, request, Some((key_at, MissReason::Moving)), caller);
        }
        let route = RequestRoute::of(spec);
        if let Some(measured) = self.reply_sizes.measure(route, request, caller) {
            let (this, request, caller) = (self.clone(), request.to_owned(), caller.to_owned());
            return Answer::Exclusive(Box::pin(async move {
                measured.await;
                this.context.pause.pass(spec.flags).await;
                let out = &mut WriteQueue::default();
                let answer = this.read(spec, &request.as_request(), caller.as_caller(), out);
                answer.end(out).await
            }));
        }
        if self.reply_sizes.needs_isolation(route, KeyAccess::Declared, Some(missed.slot()), request, caller)
        {
            self.context.note(request.arg(key_at), MissReason::TooLarge);
            return self.forwarder.forward(route, KeyAccess::Declared, request, caller);
        }
        let query = CacheQuery { command, key: request.arg(key_at), args: request.tail() };
        let (resp, coverage) = (caller.resp, caller.coverage.cloned());
        let begin_read =
            |key, number| InflightRead::begin(caller.inflight, InflightKeys::from_buf([key]), number);
        // Behind the lookup, which noted the generation: what is kept by policies that are replaced now is
        // killed.
        let terms = self.context.terms(query.key);
        if terms.is_none() {
            self.context.note(query.key, MissReason::Policy);
        }
        let fields_expire = self.context.upstream.fields_expire();
        let of_fields = ttl_probe::is_of_fields(spec, fields_expire);
        let is_timed = |terms: &CacheTerms| {
            let is_untimed = self.context.is_untimed(terms, missed.slot(), of_fields, caller.now);
            if is_untimed {
                self.context.note(query.key, MissReason::NoLifetime);
            }
            !is_untimed
        };
        let terms = terms.filter(|terms| cache.admits(&missed, terms) && is_timed(terms));
        let joined = terms.and_then(|_| cache.join(&missed, &query, caller.now));
        if let Some((follower, number)) = joined {
            let read = begin_read(request.arg_bytes(key_at), number);
            return Answer::Later(Box::pin(async move {
                let outcome = follower.await.unwrap_or(Err(UpstreamError::Stopped));
                drop(read);
                render_fill(outcome, resp, coverage.as_ref())
            }));
        }
        let request = request.to_owned();
        let read = begin_read(request.arg_bytes(key_at), cache.next_number());
        let slot = missed.slot();
        let database = caller.inflight.database();
        let call = Call::new(database, KeySlots::One(slot), request.bytes(), true);
        let (mut value, tracking) = match terms {
            Some(terms) => {
                let keys = std::iter::once(query.key);
                self.context.send_to_keep(terms.tracking, Some(slot), keys, call, caller)
            }
            None => (self.context.send_uncached(Some(slot), call, caller), TrackingMode::ByKey),
        };
        let (Some(terms), Some(epoch)) = (terms, value.epoch.take()) else {
            if terms.is_some() {
                self.context.note(query.key, MissReason::NotTracked);
            }
            // The policy keeps it out, or the connection is not tracked at the moment: the reply is an answer
            // and nothing to keep.
            let key = request.arg_bytes(key_at);
            let answer = Answer::Later(Box::pin(async move {
                let outcome = value.reply.await.unwrap_or_else(stopped);
                drop(read);
                coverage::note(coverage.as_ref(), is_tracked(&outcome));
                render(outcome, spec.form, &request, resp)
            }));
            return self.invalidate_after_uncached(|| InflightKeys::from_buf([key]), answer);
        };
        let lifetime = self.context.ask_lifetime(&terms, tracking, Some(slot), database, || {
            ttl_probe::of_read(spec, &request.as_request(), key_at, fields_expire)
        });
        let ticket = cache.ticket(&missed, epoch).on(terms);
        let lead = cache.begin_fill(&query, request.tail_bytes(), ticket.clone());
        let sent_at = caller.now;
        let fill = ReadFill {
            request,
            spec,
            command,
            slot,
            key_at,
            value,
            lifetime,
            of_fields,
            tracking,
            ticket,
            lead,
            sent_at,
        };
        let this = self.clone();
        Answer::Later(Box::pin(async move {
            let outcome = this.finish_fill(fill).await;
            drop(read);
            render_fill(outcome, resp, coverage.as_ref())
        }))
    }

    async fn finish_fill(&self, fill: ReadFill) -> Result<FillResult, UpstreamError> {
        // The reply about the lifetime comes after the value on the same connection: the session that waits
        // for it first is woken once for both.
        let lifetime = answered(fill.lifetime).await;
        let outcome = fill.value.reply.await.unwrap_or_else(stopped);
        self.context.note_lifetime(Some(fill.slot), lifetime.as_ref(), fill.of_fields);
        let looks_absent = |frame: &[u8]| {
            let request = fill.request.as_request();
            cursor::is_absent_form(frame) || is_bitpos_of_absent(fill.spec, &request, frame)
        };
        let kept = outcome.as_ref().map_or(Err(MissReason::Failed), |reply| {
            cacheability(&reply.frame, looks_absent(&reply.frame), reply.rerouted, lifetime.as_ref())
        });
        let result = outcome.map(|reply| {
            let resp2 = in_resp2(&reply.frame, fill.spec.form, &fill.request);
            let tracked = match fill.tracking {
                TrackingMode::ByKey => reply.tracked,
                TrackingMode::Broadcast => !reply.rerouted && fill.ticket.is_live(clock::now()),
            };
            FillResult { reply: VersionedReply { resp3: reply.frame, resp2 }, tracked }
        });
        if let Some(cache) = &self.context.cache {
            let request = fill.request.as_request();
            let (key, tail) = (request.arg(fill.key_at), request.tail());
            match (&result, kept) {
                (Ok(FillResult { reply, .. }), Ok(lifetime)) => {
                    let query = CacheQuery { command: fill.command, key, args: tail };
                    cache.commit(&fill.ticket, &query, reply, lifetime, fill.sent_at);
                }
                (_, kept) => {
                    cache.shared().invalidate_if_unordered(key);
                    kept.err().into_iter().for_each(|why| cache.shared().note(key, why));
                }
            }
            cache.finish_fill(fill.lead, &result);
        }
        result
    }
}

// With a larger number one command would answer for another.
const _: () = assert!(CACHED < COMMANDS_MAX);

/// A command of the caller for the near cache; `None` if nothing of the caller's database is kept.
#[inline]
fn command_of(spec: &'static Spec, caller: Caller<'_>) -> Option<CommandId> {
    CommandId::in_database(spec.cached, caller.inflight.database())
}

/// What a client gets of what a fill brought in.
fn render_fill(
    outcome: Result<FillResult, UpstreamError>,
    resp: Resp,
    coverage: Option<&Rc<Coverage>>,
) -> Bytes {
    match outcome {
        Ok(FillResult { reply, tracked }) => {
            coverage::note(coverage, tracked);
            reply.for_version(resp).clone()
        }
        Err(failure) => failure_reply(&failure),
    }
}

/// Whether a reply is the one of BITPOS for a 1 in an absent key. It is a special case: for all other reads
/// -1 is about a key that exists.
fn is_bitpos_of_absent(spec: &Spec, request: &Request<'_>, frame: &[u8]) -> bool {
    spec.flags.has(Flags::BIT_POSITION) && request.arg(2) == b"1" && frame == b":-1\r\n"
}
