//! One client's conversation: requests in, answers out, in order.
//!
//! A hit goes from the bytes to the reply without leaving [`Session::poll`]. What cannot be answered on the
//! spot has a place in the pipeline, and the session goes on with the next request. Both sides are bounded:
//! no request is taken while too many answers are outstanding, and a client is dropped for which too many
//! bytes wait, or that reads nothing for too long. Until then its requests are taken, read or not: it may
//! write all of them before it reads anything.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::{LocalBoxFuture, OptionFuture, join};
use tokio::time::{Instant, Sleep};

mod deadlines;
mod ending;
mod farewell;
mod modes;
mod pipeline;
mod state;
mod subscribed;
mod subscriber;
mod tracked_read;
mod transaction;
mod unauthenticated;

use crate::clients::Endpoints;
use crate::clients::mailbox::Mail;
use crate::clock;
use crate::commands::{self, ExecContext, GlobalFlags, LatencyTimer, SessionContext, monitor, pause};
use crate::memory::{HeldByClient, SMALL_BYTES};
use crate::net::connection::{Connection, EndReason, Flow};
use crate::net::write_queue::WriteQueue;
use crate::protocol::command::{self, Class, CommandError, Spec};
use crate::protocol::resp::Resp;
use crate::protocol::resp::encode;
use crate::protocol::resp::request::Request;
use crate::router::{Answer, Caller, ReplyBound, names_very_many};
use crate::upstream::UpstreamError;
use deadlines::{ClientProgress, DeadlineTerms, Deadlines, Late};
use ending::{ShutdownStages, Stage};
use pipeline::Pipeline;
use state::SessionState;
use tracked_read::TrackedRead;

/// After so many bytes of replies the session writes before it looks at the next request.
const BATCH_BYTES: usize = 256 * 1024;

/// A session gives way after so many batches, read or written: others want their turn, and so do the
/// invalidations that wait in the upstream sockets. A client that waits for its replies needs one.
const BATCHES_PER_TURN: u32 = 2;

/// Requests that are sent on, at most, in one batch of a turn; while memory is scarce, of one client at all.
const SENT_AT_ONCE: usize = 64;

/// A session.
pub struct Session {
    context: Rc<SessionContext>,
    connection: Connection,
    state: SessionState,
    pipeline: Pipeline,
    /// What the request at the head of the connection waits for before it can be looked at again.
    waiting: Option<LocalBoxFuture<'static, ()>>,
    /// What it makes the daemon hold.
    held: HeldByClient,
    /// It was not listened to when its requests were looked for last, because memory is scarce.
    was_slowed: bool,
    /// Runs while the client leaves a full socket unread.
    stalled: Option<Pin<Box<Sleep>>>,
    /// What the client takes its time for.
    deadlines: Deadlines,
    /// Since when the client had asked nothing, when the daemon began to end and owed it nothing.
    idle_since: Option<Instant>,
}

/// Why a session is over.
#[derive(Debug)]
enum SessionEnd {
    /// All was answered, and no more will come.
    Done,
    /// The socket failed.
    Failed(io::Error),
    /// The client reads too little.
    NotReading(&'static str),
    /// The client sends too much while it is not listened to.
    Ahead(&'static str),
    /// Somebody ended it.
    Told(&'static str),
}

// === impl Session ===

impl Session {
    /// A session over `connection`, whose ends are `endpoints`.
    pub fn new(context: Rc<SessionContext>, connection: Connection, endpoints: Endpoints) -> Session {
        context.stats.connections_accepted.bump();
        let client = context.clients.enter(endpoints, context.desk.settings.client_output_max.size());
        let state = SessionState::new(client, context.desk.asks_password(), context.desk.denied.clone());
        let held = context.ceiling.hold_for_client();
        Session {
            context,
            connection,
            state,
            pipeline: Pipeline::default(),
            waiting: None,
            held,
            was_slowed: false,
            stalled: None,
            deadlines: Deadlines::new(),
            idle_since: None,
        }
    }

    /// Runs until the client leaves, the connection fails, or the drain has begun and all is answered.
    pub async fn run(mut self) {
        let context = self.context.clone();
        let mut ending = ShutdownStages::of(&context.drain);
        let end = poll_fn(|cx| match ending.look(cx).map(|stage| self.enter(stage)) {
            Some(Err(end)) => Poll::Ready(end),
            Some(Ok(())) | None => self.poll(cx),
        })
        .await;
        let answered = matches!(end, SessionEnd::Done);
        match end {
            SessionEnd::Done => {}
            SessionEnd::Told(by) => {
                tracing::info!(
                    client = self.state.client.entry.endpoints.address,
                    by,
                    "a client was told to leave"
                )
            }
            SessionEnd::Ahead(bound) => {
                context.stats.clients_dropped.bump();
                tracing::info!(
                    client = self.state.client.entry.endpoints.address,
                    bound,
                    "a client sends more than can wait: dropped"
                );
            }
            SessionEnd::Failed(error) => {
                tracing::debug!(client = self.state.client.entry.endpoints.address, %error, "a client's connection failed")
            }
            SessionEnd::NotReading(bound) => {
                context.stats.clients_dropped.bump();
                tracing::info!(
                    client = self.state.client.entry.endpoints.address,
                    bound,
                    "a client does not read its replies: dropped"
                );
            }
        }
        context.stats.connections_closed.bump();
        let Session { connection, mut state, pipeline, idle_since, .. } = self;
        let heard = idle_since.unwrap_or_else(Instant::now);
        let farewell = answered.then(|| farewell::say(connection, heard, &context.drain));
        if let Some(leaving) = subscriber::leave(&state) {
            leaving.await;
        }
        state.modes = None;
        // Behind all that others may count: whoever ended this session hears of it now.
        state.client.entry.wait.abandon();
        drop(state);
        join(OptionFuture::from(farewell), pipeline.run_out()).await;
    }

    /// A stage of the daemon's end begins. What has arrived until the first is answered; what comes later is
    /// never carried out.
    fn enter(&mut self, stage: Stage) -> Result<(), SessionEnd> {
        self.state.client.entry.wait.stop();
        match stage {
            Stage::Draining => {
                let left = self.connection.take_no_more().map_err(SessionEnd::Failed)?;
                let owes = left > 0 || !self.pipeline.is_empty() || !self.connection.out.is_empty();
                let (_, asked_at) = self.state.client.entry.last_request();
                self.idle_since = (!owes).then(|| clock::instant(asked_at));
                Ok(())
            }
            Stage::Over => {
                self.state.client.leaving = true;
                let error = encode::error_reply(UpstreamError::Stopped.to_string());
                self.pipeline.give_up(&error);
                Ok(())
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<SessionEnd> {
        let end = self.take_turn(cx);
        if end.is_pending() {
            self.count_held();
        }
        end
    }

    #[inline(always)]
    fn take_turn(&mut self, cx: &mut Context<'_>) -> Poll<SessionEnd> {
        let mut batches = 0;
        loop {
            let answered = self.collect_answers(cx);
            if let Err(end) = self.take_mail(cx) {
                return Poll::Ready(end);
            }
            let taken = match self.take_requests(cx) {
                Ok(taken) => taken,
                Err(end) => return Poll::Ready(end),
            };
            let output = self.output();
            let mut room = false;
            if output > 0 {
                let bound = output_bound(&self.state, &self.context);
                if output > bound.bytes {
                    return Poll::Ready(SessionEnd::NotReading(bound.name));
                }
                room = match self.send(cx, taken) {
                    Ok(room) => room,
                    Err(end) => return Poll::Ready(end),
                };
            }
            if self.state.client.leaving && self.pipeline.is_empty() && self.connection.out.is_empty() {
                return Poll::Ready(SessionEnd::Done);
            }
            if !(answered || taken || room) {
                // Once for each look at its requests, so that this ends whatever the next one finds.
                if std::mem::take(&mut self.was_slowed) && !self.is_slowed() {
                    // It has just taken what it had: nothing else would look at what it asks.
                    continue;
                }
                if !self.deadlines.is_quiet(self.connection.has_half()) && self.is_late(cx) {
                    continue;
                }
                return Poll::Pending;
            }
            batches += u32::from(taken || room);
            if batches == BATCHES_PER_TURN {
                give_way(cx);
                return Poll::Pending;
            }
        }
    }

    /// Bytes of replies that the client has not taken, or that wait for an earlier one.
    #[inline]
    fn output(&self) -> usize {
        self.connection.out.len() + self.pipeline.bytes()
    }

    /// Counts what it makes the daemon hold: for a client that reads what it asks for, nothing.
    #[inline]
    fn count_held(&mut self) {
        let output = self.output();
        let kept = self.state.modes.as_ref().map_or(0, |modes| modes.kept_bytes());
        if let Some(sum) = self.held.set(self.connection.kept(), output, kept) {
            self.state.client.entry.held.store(sum, Ordering::Relaxed);
        }
    }

    /// Whether it is not listened to for now: memory is scarce, and it does not take the replies that it has,
    /// or waits for many.
    #[inline]
    fn is_slowed(&self) -> bool {
        self.output() > SMALL_BYTES && self.context.ceiling.is_pressed()
            || waits_for_too_many(&self.pipeline, &self.context)
    }

    /// Whether so much of what it asked is on its way that no more is taken.
    #[inline]
    fn is_full(&self) -> bool {
        let limits = &self.context.limits;
        !self.pipeline.is_empty()
            && (self.pipeline.len() >= limits.pipeline_depth_max
                || self.pipeline.in_flight_bytes() >= limits.in_flight_bytes_max)
    }

    /// Looks whether the client takes too long, and if it does, tells it so and takes no more of it.
    #[cold]
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let (state, limits) = (&self.state, &self.context.limits);
        if state.client.leaving {
            return false;
        }
        let (half, waits) = (self.connection.half_len(), self.waiting.is_some());
        let takes = !waits
            && !state.alone
            && !self.is_slowed()
            && !state.client.own_writes.is_held()
            && !self.is_full();
        let is_owed = waits || !self.pipeline.is_empty() || !self.connection.out.is_empty();
        let (_, asked_at) = state.client.entry.last_request();
        let standing = ClientProgress {
            locked_since: state.client.is_locked().then_some(state.client.entry.connected_at),
            half: Some(half).filter(|half| *half > 0 && takes),
            idle_since: (!is_owed && half == 0 && !modes::listens(state)).then_some(asked_at),
            asked_at,
        };
        let terms = DeadlineTerms { arrival: limits.arrival_timeout, idle: limits.idle_timeout };
        let Some(late) = self.deadlines.look(standing, terms, cx) else { return false };
        self.context.stats.clients_timed_out.bump();
        let millis = terms.arrival.as_millis();
        let (bound, error) = match late {
            Late::Idle => ("client_idle_timeout", None),
            Late::Password => (
                "request_arrival_timeout",
                Some(format!(
                    "NOAUTH nearside: no password came within {millis} ms (request_arrival_timeout)"
                )),
            ),
            Late::Request => (
                "request_arrival_timeout",
                Some(format!(
                    "ERR nearside: a request did not arrive within {millis} ms (request_arrival_timeout); it was not executed"
                )),
            ),
        };
        tracing::info!(
            client = state.client.entry.endpoints.address,
            bound,
            "a client takes too long: closed"
        );
        if let Some(error) = error {
            self.pipeline.push_now(encode::error_reply(error));
        }
        self.state.client.leaving = true;
        true
    }

    /// Moves the answers that have come, in order, to the connection; whether there were any.
    #[inline]
    fn collect_answers(&mut self, cx: &mut Context<'_>) -> bool {
        let mut any = false;
        while !self.pipeline.is_empty() {
            let Poll::Ready((command, reply)) = self.pipeline.poll_next(cx) else { break };
            if command > 0 && reply.first() == Some(&b'-') {
                self.context.desk.tallies.failed(&self.context.tally, command, false, &reply);
            }
            self.connection.out.push(&reply);
            any = true;
        }
        any
    }

    /// Takes what has come from elsewhere.
    #[inline]
    fn take_mail(&mut self, cx: &Context<'_>) -> Result<(), SessionEnd> {
        let Some(taken) = self.state.client.entry.mailbox.take(cx) else { return Ok(()) };
        if taken.overflown {
            return Err(SessionEnd::NotReading(output_bound(&self.state, &self.context).name));
        }
        for mail in taken.mail {
            match mail {
                // No message comes before its subscription is confirmed.
                Mail::Now(push) if self.pipeline.is_confirming() => self.push_behind(push),
                Mail::Now(push) => push_in_version(&mut self.connection.out, push, self.state.client.resp()),
                Mail::Behind(push) => self.push_behind(push),
                Mail::BehindInResp3(push) if self.state.client.resp() == Resp::Three => {
                    self.push_behind(push)
                }
                Mail::BehindInResp3(_) => {}
                Mail::Redirected(keys) => {
                    if let Some(push) = tracked_read::redirected(&keys, &self.state) {
                        self.push_behind(push);
                    }
                }
            }
        }
        match taken.end {
            Some(by) => Err(SessionEnd::Told(by)),
            None => Ok(()),
        }
    }

    /// Sends `push` behind every reply that is outstanding.
    fn push_behind(&mut self, push: Bytes) {
        if self.pipeline.is_empty() {
            push_in_version(&mut self.connection.out, push, self.state.client.resp());
        } else {
            self.pipeline.push_now(in_version(push, self.state.client.resp()));
        }
    }

    /// Waits for the answer to a request that is carried out alone, and for the client to leave meanwhile.
    fn wait_alone(&mut self, cx: &mut Context<'_>) -> Result<(), SessionEnd> {
        match self.connection.poll_ahead(cx, self.context.limits.ahead_bytes_max) {
            // Nobody waits upstream for a client that may be gone.
            Poll::Ready(EndReason::Closed) if self.state.client.entry.wait.is_waiting() => {
                Err(SessionEnd::Done)
            }
            // What it asked for before it closed its side is still answered.
            Poll::Pending
            | Poll::Ready(EndReason::Closed | EndReason::Broken(_) | EndReason::Skipped(..)) => Ok(()),
            Poll::Ready(EndReason::Failed(error)) => Err(SessionEnd::Failed(error)),
            Poll::Ready(EndReason::Ahead(bound)) => Err(SessionEnd::Ahead(bound)),
        }
    }

    /// Whoever waits for a turn to say a password and leaves takes no place from others meanwhile.
    #[cold]
    fn wait_for_turn(&mut self, cx: &mut Context<'_>) -> Result<bool, SessionEnd> {
        match self.connection.poll_ahead(cx, SMALL_BYTES) {
            Poll::Ready(EndReason::Closed) => Err(SessionEnd::Done),
            Poll::Ready(EndReason::Failed(error)) => Err(SessionEnd::Failed(error)),
            // It may send no more now.
            Poll::Ready(EndReason::Ahead(_) | EndReason::Broken(_) | EndReason::Skipped(..))
            | Poll::Pending => Ok(false),
        }
    }

    /// Takes what requests there are; whether there were any.
    #[inline]
    fn take_requests(&mut self, cx: &mut Context<'_>) -> Result<bool, SessionEnd> {
        if let Some(waiting) = &mut self.waiting {
            if waiting.as_mut().poll(cx).is_pending() {
                return if self.state.client.is_locked() { self.wait_for_turn(cx) } else { Ok(false) };
            }
            self.waiting = None;
        }
        if self.state.alone {
            if !self.pipeline.is_empty() {
                self.wait_alone(cx)?;
                return Ok(false);
            }
            self.state.alone = false;
            self.connection.limit_unauthenticated(self.state.client.is_locked());
        }
        self.was_slowed = self.is_slowed();
        if self.state.client.leaving
            || self.is_full()
            || self.state.client.own_writes.is_held()
            || self.was_slowed
        {
            return Ok(false);
        }
        let batch_end = self.output() + BATCH_BYTES;
        let Session { context, connection, state, pipeline, waiting, .. } = self;
        // The clock is read once, after the bytes were: all that is shown had arrived by then.
        let (clock, locked) = (Cell::new(None), state.client.is_locked());
        let put_off = Cell::new(false);
        let mut handle = |request: Request<'_>, out: &mut WriteQueue| {
            let now = clock.get().unwrap_or_else(clock::now);
            clock.set(Some(now));
            let mut flow = serve(context, state, pipeline, waiting, request, out, now);
            if flow == Flow::Next && out.len() + pipeline.bytes() >= batch_end {
                flow = Flow::Pause;
            }
            put_off.set(flow != Flow::Next);
            flow
        };
        let mut ahead = |bytes: &[u8]| {
            if !locked {
                context.proxy.prefetch(bytes);
            }
        };
        let mut result =
            if connection.has_rest() { connection.walk_rest(&mut ahead, &mut handle) } else { Ok(()) };
        if result.is_ok() && !put_off.get() {
            // At most half a request is left: more is needed from the socket.
            match connection.poll_requests(cx, &mut ahead, &mut handle) {
                Poll::Ready(read) => result = read,
                Poll::Pending => return Ok(clock.get().is_some()),
            }
        }
        match result {
            Ok(()) => {}
            // What was asked before is still answered: a client may close its sending side only.
            Err(EndReason::Closed | EndReason::Ahead(_)) => state.client.leaving = true,
            Err(EndReason::Skipped(bytes, bound)) => {
                context.ceiling.counts.requests_refused.fetch_add(1, Ordering::Relaxed);
                transaction::abort(state);
                if state.client.wants_reply() {
                    pipeline.push_now(skipped(bytes, bound, context));
                }
            }
            Err(EndReason::Failed(error)) => return Err(SessionEnd::Failed(error)),
            Err(EndReason::Broken(error)) => {
                context.stats.protocol_errors.bump();
                tracing::debug!(client = state.client.entry.endpoints.address, %error, "a client sent what is no request");
                pipeline.push_now(encode::error_reply([b"ERR ", &error.text()[..]].concat()));
                state.client.leaving = true;
            }
        }
        Ok(true)
    }

    /// Writes what waits; whether the socket has room for more of what is left. `taken` says whether the
    /// client has just asked something: one that asks is not idle, read or not.
    #[inline]
    fn send(&mut self, cx: &mut Context<'_>, taken: bool) -> Result<bool, SessionEnd> {
        if self.connection.out.is_empty() {
            return Ok(false);
        }
        let progress = self.connection.flush().map_err(SessionEnd::Failed)?;
        self.state.client.entry.unread.store(self.connection.out.len(), Ordering::Relaxed);
        if progress || taken {
            self.stalled = None;
        }
        if self.connection.out.is_empty() {
            return Ok(false);
        }
        if self.connection.poll_room(cx).map_err(SessionEnd::Failed)?.is_ready() {
            return Ok(true);
        }
        let timeout = self.context.desk.settings.client_stall_timeout.duration();
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        match stalled.as_mut().poll(cx) {
            Poll::Ready(()) => Err(SessionEnd::NotReading("client_stall_timeout")),
            Poll::Pending => Ok(false),
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session({:?})", self.state)
    }
}

/// Has the session polled again once the sockets of all others were looked at.
fn give_way(cx: &mut Context<'_>) {
    let _ = std::pin::pin!(tokio::task::yield_now()).poll(cx);
}

/// How many bytes may wait for the client.
#[inline]
fn output_bound(state: &SessionState, context: &SessionContext) -> ReplyBound {
    if state.modes.is_some() && state.is_subscribed() {
        ReplyBound { bytes: context.limits.subscribed_output_bytes_max, name: "pubsub_output_max" }
    } else {
        ReplyBound { bytes: context.desk.settings.client_output_max.size(), name: "client_output_max" }
    }
}

/// Answers one request, or gives the answer its place.
#[inline(always)]
fn serve(
    context: &SessionContext,
    state: &mut SessionState,
    pipeline: &mut Pipeline,
    waiting: &mut Option<LocalBoxFuture<'static, ()>>,
    request: Request<'_>,
    out: &mut WriteQueue,
    now: clock::Nanos,
) -> Flow {
    let own_writes = state.client.own_writes.clone();
    let attention = context.desk.attention();
    let recognised = state.recogniser.recognise(&request);
    let command = recognised.map_or(0, Spec::number);
    state.client.entry.note(command, now);
    let watch = TrackedRead::begin(recognised, &request, state, context);
    let coverage = watch.as_ref().map(TrackedRead::coverage);
    let caller = Caller { resp: state.client.resp(), own_writes: &own_writes, now, coverage };
    // What is carried out is shown to MONITOR, and what is waited for is measured for SLOWLOG.
    let (mut shown, mut measured) = (true, true);
    // Number 0 counts what is not carried out, or not now.
    let mut called = command;
    let waited = out.len();
    let answer = match recognised {
        Ok(spec) => match intercepted(spec, &request, state, context, attention) {
            Some(answer) => {
                shown = false;
                called = 0;
                answer
            }
            None => match spec.class_of(&request) {
                Class::Local(local) => {
                    let was_locked = state.client.is_locked();
                    let client = &mut state.client;
                    let answer = commands::answer(local, spec, &request, client, context, ExecContext::None);
                    // The next request is held to other bounds.
                    state.alone |= was_locked != state.client.is_locked();
                    answer
                }
                Class::Session(kind)
                    if modes::is_exclusive(kind, spec, &request, state, context) && !pipeline.is_empty() =>
                {
                    state.alone = true;
                    return Flow::Again;
                }
                Class::Session(kind) => {
                    measured =
                        !matches!(kind, command::RequiredState::Blocking | command::RequiredState::Wait);
                    state.alone = modes::is_exclusive(kind, spec, &request, state, context);
                    modes::answer(kind, spec, &request, state, context, caller)
                }
                Class::FanOut(join) => {
                    let bound = output_bound(state, context);
                    context.proxy.fan_out(spec, join, &request, caller, bound, out)
                }
                Class::AnyNode if names_very_many(spec, &request) => {
                    let bound = output_bound(state, context);
                    context.proxy.about_commands(spec, &request, caller, bound)
                }
                class => {
                    let may_need_its_place = matches!(
                        class,
                        Class::EveryPrimary(_)
                            | Class::Script(_)
                            | Class::AnyNode
                            | Class::Keyspace(_)
                            | Class::Publish
                    );
                    if may_need_its_place && context.proxy.may_overtake(spec, &request) {
                        state.alone = true;
                        if !pipeline.is_empty() {
                            return Flow::Again;
                        }
                    }
                    context.proxy.call(spec, class, &request, caller, out)
                }
            },
        },
        Err(CommandError::Unknown) if is_http(&request) => {
            context.stats.protocol_errors.bump();
            tracing::debug!(client = state.client.entry.endpoints.address, "a client sent HTTP: closed");
            state.client.leaving = true;
            Answer::Now(Bytes::new())
        }
        Err(fault) if state.client.is_locked() => {
            shown = false;
            unauthenticated::refuse_unrecognised(fault, &request, context)
        }
        Err(fault) => {
            shown = fault == CommandError::Unknown;
            match transaction::queue_unrecognised(fault, &request, state, context, now) {
                Some(answer) => answer,
                None => {
                    if fault == CommandError::Unknown && context.proxy.may_overtake_unknown(&request) {
                        state.alone = true;
                        if !pipeline.is_empty() {
                            return Flow::Again;
                        }
                    }
                    context.proxy.fault(fault, &request, caller)
                }
            }
        }
    };
    let answer = match &watch {
        Some(watch) => watch.follow(answer, &request, state),
        None => answer,
    };
    if let Answer::NotYet(until) = answer {
        *waiting = Some(until);
        return Flow::Again;
    }
    context.stats.commands.bump();
    context.tally.call(called);
    if attention.has(GlobalFlags::MONITORED) && shown && (recognised.is_ok() || answer.is_later()) {
        monitor::show(recognised.ok(), &request, &state.client.entry, &context.desk);
    }
    let wanted = state.client.wants_reply();
    let mailed = matches!(answer, Answer::Mailed);
    let mut held = false;
    match answer {
        Answer::Confirmation(reply) => pipeline.push_confirmation(command, reply),
        Answer::Mailed => {}
        _ if !wanted => {
            drop(out.take_back(waited));
            discard(answer, pipeline, request.raw().len());
            held = is_held(state, pipeline, context);
        }
        // It stands where it belongs, or has to wait for others.
        Answer::Appended if pipeline.is_empty() => {}
        Answer::Appended => pipeline.push_now(out.take_back(waited)),
        Answer::Now(reply) => {
            if reply.first() == Some(&b'-') {
                refused(recognised, called == 0, &reply, context);
            }
            if pipeline.is_empty() { out.push(&reply) } else { pipeline.push_now(reply) }
        }
        Answer::Later(reply) => {
            let start =
                || LatencyTimer::start(recognised.ok(), &request, &state.client.entry, &context.desk, now);
            pipeline.push_later(command, reply, measured.then(start).flatten(), request.raw().len());
            held = is_held(state, pipeline, context);
        }
        Answer::NotYet(_) => {}
    }
    let full = pipeline.len() >= context.limits.pipeline_depth_max;
    if state.client.leaving || full || state.alone || mailed || held { Flow::Pause } else { Flow::Next }
}

#[inline]
fn intercepted(
    spec: &'static Spec,
    request: &Request<'_>,
    state: &mut SessionState,
    context: &SessionContext,
    attention: GlobalFlags,
) -> Option<Answer> {
    if state.client.is_locked() {
        return unauthenticated::refuse(spec).map(Answer::Now);
    }
    if attention.has(GlobalFlags::PAUSED)
        && let Some(wait) = pause::wait(spec, &context.desk)
    {
        return Some(Answer::NotYet(wait));
    }
    state.modes.as_ref()?;
    modes::intercept(spec, request, state, context)
}

/// Counts an error that was answered on the spot, `rejected` or not, for the command that it was about.
#[cold]
fn refused(
    recognised: Result<&'static Spec, CommandError>,
    rejected: bool,
    reply: &[u8],
    context: &SessionContext,
) {
    let command = match recognised {
        Ok(spec) => spec.number(),
        Err(CommandError::Arity(name) | CommandError::Denied(Some(name))) => command::number_of(name),
        Err(_) => 0,
    };
    context.desk.tallies.failed(&context.tally, command, rejected, reply);
}

/// What a client is told whose request was not looked at because it has more than `bound` lets it.
#[cold]
fn skipped(bytes: usize, bound: &'static str, context: &SessionContext) -> Bytes {
    const UNDONE: &str = "the command was not executed";
    encode::error_reply(match bound {
        "memory_max" => context.ceiling.refusal("a request", bytes, UNDONE),
        bound => format!(
            "OOM nearside: a request of {bytes} bytes at least is larger than {bound} ({} bytes); {UNDONE}",
            context.limits.ahead_bytes_max
        ),
    })
}

/// A push as a client of this version of the protocol gets it.
fn in_version(push: Bytes, resp: Resp) -> Bytes {
    match (resp, push.split_first()) {
        (Resp::Two, Some((b'>', rest))) => [b"*", rest].concat().into(),
        _ => push,
    }
}

/// The same, straight on its way: a message for many clients is not copied for each.
fn push_in_version(out: &mut WriteQueue, push: Bytes, resp: Resp) {
    if resp == Resp::Two && push.first() == Some(&b'>') {
        out.push_copy(b"*");
        out.push(&push.slice(1..));
    } else {
        out.push(&push);
    }
}

/// Whether a browser was made to send this: its body could hold commands. Redis closes such a connection as
/// well.
fn is_http(request: &Request<'_>) -> bool {
    let name = request.arg(0);
    name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:")
}

/// Whether so many answers are outstanding that what they take matters now: memory is scarce.
#[inline]
fn waits_for_too_many(pipeline: &Pipeline, context: &SessionContext) -> bool {
    pipeline.len() >= SENT_AT_ONCE && context.ceiling.is_scarce()
}

/// Whether the request that was taken last has to be answered, or some before it, before the next one is; or
/// others have to get their turn.
fn is_held(state: &SessionState, pipeline: &Pipeline, context: &SessionContext) -> bool {
    let full = pipeline.in_flight_bytes() >= context.limits.in_flight_bytes_max;
    if full {
        context.stats.client_in_flight_waits.bump();
    }
    // Each of those that are sent on takes as long as many hits.
    full || state.client.own_writes.is_held() || pipeline.len().is_multiple_of(SENT_AT_ONCE)
}

/// The client wants no reply; what was sent upstream still comes to its end.
fn discard(answer: Answer, pipeline: &mut Pipeline, bytes: usize) {
    if let Answer::Later(reply) = answer {
        pipeline.push_later(
            0,
            Box::pin(async move {
                drop(reply.await);
                Bytes::new()
            }),
            None,
            bytes,
        );
    }
}
