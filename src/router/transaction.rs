//! A transaction on its way: what was queued goes to the slot's node in one write, MULTI and EXEC around it.
//!
//! Nothing in it is answered from L1, and nothing that it reads is kept. It is carried out once or not at
//! all: what was written and lost is never sent again.

use std::rc::Rc;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::future::LocalBoxFuture;

use super::answer::Answer;
use super::caller::Caller;
use super::coherence::inflight::{Hold, InflightKeys};
use super::coverage::{self, is_tracked};
use super::dispatch::Router;
use super::forward::default_ttl::{DueKeys, may_have_written};
use super::forward::fence::Fence;
use super::forward::multi_exec::{EXEC, MULTI};
use super::replies::{failure_reply, in_resp2, odd_reply, stopped};
use super::request_route::{Destination, RequestRoute};
use super::scripting::script_cache::with_body;
use super::turns::give_turn;
use super::watch::{KeyWatch, Watched};
use crate::clock;
use crate::protocol::command::{
    Class, Flags, Keyspace, Learned, RequiredState, ScriptAction, Spec, TtlEffect,
};
use crate::protocol::key::Slot;
use crate::protocol::resp::cursor::ReplyHead;
use crate::protocol::resp::request::{OwnedRequest, Request};
use crate::protocol::resp::{Resp, cursor, encode};
use crate::upstream::{Call, Dedicated, Outcome, UpstreamReply, answers_exec, exec_abort};

/// A command of a transaction that the server carries out.
#[derive(Debug)]
pub struct TransactionPart {
    request: OwnedRequest,
    route: RequestRoute,
    /// It may write keys that it does not name.
    opaque: bool,
    /// It publishes a message.
    publishes: bool,
}

// === impl Part ===

impl TransactionPart {
    /// The command.
    pub fn request(&self) -> Request<'_> {
        self.request.as_request()
    }

    fn only_reads(&self) -> bool {
        !self.opaque && self.route.flags.has(Flags::READ) && !self.route.may_write()
    }

    /// Whether nothing keeps it in its place among others of its session: it names no keys, or is a message,
    /// which is behind all that was written before it.
    pub fn names_no_keys(&self) -> bool {
        self.publishes || self.route.keys.first(&self.request()).is_none()
    }

    /// Whether it publishes a message.
    pub fn publishes(&self) -> bool {
        self.publishes
    }
}

/// What becomes an element of EXEC's reply.
#[derive(Debug)]
pub enum ExecElement {
    /// The daemon's own answer to a command that is its own.
    Made(Bytes),
    /// What the server answers, in this version of the protocol.
    Sent(TransactionPart, Resp),
}

/// A transaction as it goes upstream, as far as it was put together.
struct AssembledTransaction {
    out: BytesMut,
    /// How many commands are in it.
    count: usize,
    /// What is to have a time to live behind it.
    due: DueKeys,
    /// The keys that it may write, and those that it only reads.
    written: InflightKeys,
    read: InflightKeys,
    /// It may write keys that it does not name.
    opaque: bool,
    /// A command of it may have a long reply.
    grows: bool,
}

/// With more elements than these others get their turn while it is put together and answered.
const SMALL_ELEMENTS_MAX: usize = 1024;

/// Why a command cannot be part of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAPart {
    /// Its keys are not in the slot of those before it.
    CrossSlot,
    /// It is about every primary, or about state that a transaction cannot reach.
    NotOneNode,
}

// === impl Proxy ===

impl Router {
    /// The part that a command of the table is. `slot` is that of the parts so far.
    ///
    /// # Errors
    /// The command cannot be carried out together with the others.
    pub fn part(
        &self,
        spec: &'static Spec,
        class: Class,
        request: &Request<'_>,
        slot: &mut Option<Slot>,
    ) -> Result<TransactionPart, NotAPart> {
        let opaque = match class {
            Class::CacheableRead
            | Class::Forward
            | Class::FanOut(_)
            | Class::Database(_)
            | Class::Publish
            | Class::AnyNode => false,
            // Inside a transaction they do not wait.
            Class::Session(RequiredState::Blocking | RequiredState::Wait | RequiredState::Transaction) => {
                false
            }
            Class::Script(ScriptAction::Eval | ScriptAction::EvalSha | ScriptAction::Function) => {
                !spec.flags.has(Flags::READ)
            }
            // FLUSHALL names none of the keys that it removes.
            Class::EveryPrimary(_)
            | Class::Script(_)
            | Class::Keyspace(Keyspace::Keys | Keyspace::RandomKey)
                if self.upstream.has_one_primary() =>
            {
                spec.flags.has(Flags::WRITE)
            }
            Class::EveryPrimary(_)
            | Class::Script(_)
            | Class::Keyspace(_)
            | Class::Session(_)
            | Class::Local(_)
            | Class::Refused(_) => {
                return Err(NotAPart::NotOneNode);
            }
        };
        let route = RequestRoute { form: spec.form_in_transaction(), ..RequestRoute::of(spec) };
        // A node that does not have the script would refuse it when it is too late to load it there.
        let part = match (class, self.scripts.named(request.arg(1))) {
            (Class::Script(ScriptAction::EvalSha), Some(body)) => {
                self.part_by(route, opaque, &with_body(request, &body).as_request(), slot)?
            }
            _ => self.part_by(route, opaque, request, slot)?,
        };
        Ok(TransactionPart { publishes: class == Class::Publish, ..part })
    }

    /// The same for a command that a module brought.
    ///
    /// # Errors
    /// Its keys are in another slot.
    pub fn learned_part(
        &self,
        learned: &Learned,
        request: &Request<'_>,
        slot: &mut Option<Slot>,
    ) -> Result<TransactionPart, NotAPart> {
        let route = RequestRoute::learned(learned);
        self.part_by(route, !learned.flags.has(Flags::READ), request, slot)
    }

    fn part_by(
        &self,
        route: RequestRoute,
        opaque: bool,
        request: &Request<'_>,
        slot: &mut Option<Slot>,
    ) -> Result<TransactionPart, NotAPart> {
        let own = route.slot_of(request).map_err(|_| NotAPart::CrossSlot)?;
        match (*slot, own) {
            (Some(slot), Some(own)) if slot != own => return Err(NotAPart::CrossSlot),
            (None, Some(own)) => *slot = Some(own),
            _ => {}
        }
        Ok(TransactionPart { request: request.to_owned(), route, opaque, publishes: false })
    }

    /// Carries out a transaction whose keys are in `slot`; without keys any node will do. With keys that are
    /// watched, no other request of the session may be on its way.
    pub fn transaction(
        self: &Rc<Router>,
        elements: Vec<ExecElement>,
        slot: Option<Slot>,
        watched: Option<&Watched>,
        caller: Caller<'_>,
    ) -> Answer {
        let watch = watched.and_then(Watched::take);
        if elements.len() > SMALL_ELEMENTS_MAX {
            let (hold, coverage) = (Hold::of(caller.own_writes), caller.coverage.cloned());
            let (proxy, resp) = (self.clone(), caller.resp);
            return Answer::Later(Box::pin(async move {
                let mut whole = AssembledTransaction::new();
                for (index, element) in elements.iter().enumerate() {
                    whole.add(&proxy, element);
                    give_turn(index).await;
                }
                // The session is held: nobody has to know which keys are written.
                let written = std::mem::take(&mut whole.written);
                slot.inspect(|slot| hold.session().note_written(*slot));
                proxy.drop_keys(&written).await;
                let coverage = coverage.as_ref();
                let caller = Caller { resp, own_writes: hold.session(), now: clock::now(), coverage };
                let outcome = match watch {
                    Some(watch) => proxy.begin_watched(watch, slot, whole, caller).await,
                    None if whole.count == 0 => Ok(nothing()),
                    None => proxy.begin_transaction(slot, whole, caller).await,
                };
                // Before the reply leaves, its keys are dropped once more (I6).
                proxy.drop_keys(&written).await;
                executed_in_turns(outcome, elements, resp).await
            }));
        }
        let mut whole = AssembledTransaction::new();
        elements.iter().for_each(|element| whole.add(self, element));
        let resp = caller.resp;
        let outcome: LocalBoxFuture<'static, Outcome> = match watch {
            Some(watch) => Box::pin(self.begin_watched(watch, slot, whole, caller)),
            None if whole.count == 0 => return Answer::Now(joined(std::iter::empty(), &elements)),
            None => Box::pin(self.begin_transaction(slot, whole, caller)),
        };
        Answer::Later(Box::pin(async move { executed(outcome.await, &elements, resp) }))
    }

    /// Sends a transaction; what it comes to once all that must have happened before its reply leaves has
    /// happened.
    fn begin_transaction(
        self: &Rc<Router>,
        slot: Option<Slot>,
        whole: AssembledTransaction,
        caller: Caller<'_>,
    ) -> impl Future<Output = Outcome> + use<> {
        let AssembledTransaction { count, opaque, grows, written, read, .. } = whole;
        caller.own_writes.note_sent();
        let write = self.begin_write(written, caller);
        let write = if opaque { write.of_anything() } else { write };
        let (bytes, due) = (ended(whole.out), (!whole.due.is_empty()).then_some(whole.due));
        let apart = due.is_none() && (opaque || grows) && self.upstream.reply_limit(slot).is_some();
        // What was read over another connection than L1 hears of changes on may be newer than what L1 has.
        let read = if apart { read } else { InflightKeys::new() };
        let hold = apart.then(|| Hold::of(caller.own_writes));
        let sent = if apart {
            // What is refused of it is refused before any script of it runs, in the node's own words.
            let call = Call { bytes, slot, reads_only: false, foreign: false };
            self.upstream.send_apart(slot, None, call, count + 1)
        } else {
            self.upstream.send_transaction(slot, bytes, count + 1)
        };
        let following = self.default_ttl.follow(&sent, slot, due, caller.own_writes);
        let to = slot.map(|slot| Destination { slot: Some(slot), node: None });
        let fence = to.filter(|_| opaque).map(|to| Fence::behind(self, to, apart));
        let (proxy, coverage) = (self.clone(), caller.coverage.cloned());
        async move {
            let outcome = sent.reply.await.unwrap_or_else(stopped);
            coverage::note(coverage.as_ref(), is_tracked(&outcome));
            if let Some(following) = following {
                following.settle(&outcome).await;
            }
            if opaque {
                match fence {
                    Some(fence) => fence.settle(&proxy, &outcome).await,
                    None => proxy.invalidate_all(),
                }
            }
            proxy.drop_keys_read_elsewhere(&read).await;
            // Before the reply leaves, its keys are dropped once more (I6).
            drop((write, hold));
            outcome
        }
    }

    /// Carries out a transaction on the connection that watches keys for it, unless one of them has changed.
    fn begin_watched(
        self: &Rc<Router>,
        watch: KeyWatch,
        slot: Option<Slot>,
        whole: AssembledTransaction,
        caller: Caller<'_>,
    ) -> impl Future<Output = Outcome> + use<> {
        let AssembledTransaction { count, due, written, read, opaque, .. } = whole;
        let write = self.begin_write(written, caller);
        let write = if opaque { write.of_anything() } else { write };
        let (bytes, due) = (ended(whole.out), (!due.is_empty()).then_some(due));
        let (proxy, own_writes) = (self.clone(), caller.own_writes.clone());
        async move {
            let outcome = match watch.connection {
                Some(connection) => proxy.execute_on(slot, connection, &bytes, count).await,
                None => Ok(changed()),
            };
            // No other request of the session is on its way: nothing comes in between on another connection.
            if let (Some(slot), Some(due)) = (slot, due)
                && may_have_written(&outcome)
            {
                proxy.default_ttl.give_ttl(slot, due, &own_writes).settle(&outcome).await;
            }
            if opaque {
                // It was not on the connection that hears of it.
                proxy.invalidate_all();
            }
            proxy.drop_keys_read_elsewhere(&read).await;
            drop(write);
            outcome
        }
    }

    async fn execute_on(
        &self,
        slot: Option<Slot>,
        mut connection: Dedicated,
        bytes: &Bytes,
        count: usize,
    ) -> Outcome {
        if !connection.is_quiet() {
            // It was lost before anything of the transaction was sent, and with it what it knew of the keys.
            return Ok(changed());
        }
        let mut replies = connection.round_trip(bytes, count + 2).await?;
        let exec = replies.pop().unwrap_or_default();
        if !exec.starts_with(b"-") {
            if answers_exec(&exec, count) {
                connection.give_back();
            }
            return Ok(UpstreamReply { frame: exec, rerouted: false, tracked: false, by: None });
        }
        let refusal = replies.iter().find(|reply| reply.starts_with(b"-")).unwrap_or(&exec);
        let redirected = self.upstream.redirected(refusal, slot, connection.node(), false).await.is_some();
        let frame = if redirected { return Ok(changed()) } else { exec_abort(refusal) };
        connection.give_back();
        Ok(UpstreamReply { frame, rerouted: false, tracked: false, by: None })
    }
}

/// What EXEC answers that has nothing to carry out.
fn nothing() -> UpstreamReply {
    UpstreamReply { frame: Bytes::from_static(b"*0\r\n"), rerouted: false, tracked: false, by: None }
}

/// What EXEC answers when a watched key has changed, or when nobody can tell any more.
fn changed() -> UpstreamReply {
    UpstreamReply { frame: Bytes::from_static(b"_\r\n"), rerouted: false, tracked: false, by: None }
}

// === impl Whole ===

impl AssembledTransaction {
    fn new() -> AssembledTransaction {
        let (written, read) = (InflightKeys::new(), InflightKeys::new());
        let (out, due) = (BytesMut::from(MULTI), DueKeys::new());
        AssembledTransaction { out, count: 0, due, written, read, opaque: false, grows: false }
    }

    fn add(&mut self, proxy: &Router, element: &ExecElement) {
        let ExecElement::Sent(part, _) = element else { return };
        let request = part.request.as_request();
        let (bytes, of_part) = proxy.default_ttl.apply(part.route, &request, part.request.bytes());
        self.out.put_slice(&bytes);
        self.count += 1;
        // The last word on a key counts.
        if !self.due.is_empty() && matches!(part.route.lasting, TtlEffect::Told | TtlEffect::Options) {
            for key in part.route.keys_of(&request) {
                self.due.remove(&key);
            }
        }
        self.due.extend(of_part.into_iter().flatten());
        let keys = if part.only_reads() { &mut self.read } else { &mut self.written };
        keys.extend(part.route.keys_of(&request));
        self.opaque |= part.opaque;
        self.grows |= part.route.flags.has(Flags::GROWS);
    }
}

/// The bytes of a transaction that is put together.
fn ended(mut out: BytesMut) -> Bytes {
    out.put_slice(EXEC);
    out.freeze()
}

/// The reply to EXEC.
fn executed(outcome: Outcome, elements: &[ExecElement], resp: Resp) -> Bytes {
    let frame = match outcome {
        Ok(reply) => reply.frame,
        Err(failure) => return failure_reply(&failure),
    };
    match replies_in(&frame, sent(elements), resp) {
        Ok(replies) => joined(replies, elements),
        Err(reply) => reply,
    }
}

/// The same where there are very many. They are let go one by one.
async fn executed_in_turns(outcome: Outcome, elements: Vec<ExecElement>, resp: Resp) -> Bytes {
    let frame = match outcome {
        Ok(reply) => reply.frame,
        Err(failure) => return failure_reply(&failure),
    };
    let mut replies = match replies_in(&frame, sent(&elements), resp) {
        Ok(replies) => replies,
        Err(reply) => return reply,
    };
    let mut out = BytesMut::new();
    encode::array(&mut out, elements.len());
    for (index, element) in elements.into_iter().enumerate() {
        join(&mut out, &mut replies, &element);
        give_turn(index).await;
    }
    out.freeze()
}

/// The server's replies to what was executed, so many commands; otherwise the reply to EXEC.
fn replies_in(frame: &Bytes, count: usize, resp: Resp) -> Result<impl Iterator<Item = Bytes>, Bytes> {
    match (cursor::head(frame), cursor::elements(frame)) {
        (Some(ReplyHead::Null { .. }), _) if resp == Resp::Two => Err(Bytes::from_static(b"*-1\r\n")),
        (Some(ReplyHead::Null { .. }), _) => Err(Bytes::from_static(b"_\r\n")),
        (_, Some(replies)) if answers_exec(frame, count) => {
            Ok(replies.flatten().map(|reply| frame.slice_ref(reply)))
        }
        _ => Err(odd_reply("EXEC", frame)),
    }
}

/// How many of them the server carries out.
fn sent(elements: &[ExecElement]) -> usize {
    elements.iter().filter(|element| matches!(element, ExecElement::Sent(..))).count()
}

/// The daemon's answers and the server's, each at its place.
fn joined(mut replies: impl Iterator<Item = Bytes>, elements: &[ExecElement]) -> Bytes {
    let mut out = BytesMut::new();
    encode::array(&mut out, elements.len());
    elements.iter().for_each(|element| join(&mut out, &mut replies, element));
    out.freeze()
}

fn join(out: &mut BytesMut, replies: &mut impl Iterator<Item = Bytes>, element: &ExecElement) {
    match element {
        ExecElement::Made(reply) => out.put_slice(reply),
        ExecElement::Sent(part, resp) => {
            let reply = replies.next().unwrap_or_default();
            match resp {
                Resp::Three => out.put_slice(&reply),
                Resp::Two => {
                    out.put_slice(&in_resp2(&reply, part.route.form, &part.request).unwrap_or(reply));
                }
            }
        }
    }
}
