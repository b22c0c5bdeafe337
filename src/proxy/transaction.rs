//! A transaction on its way: what was queued goes to the slot's node in one write, MULTI and EXEC around it.
//!
//! Nothing in it is answered from L1, and nothing that it reads is kept. It is carried out once or not at all: what was
//! written and lost is never sent again.

use std::rc::Rc;

use bytes::{BufMut, Bytes, BytesMut};

use super::coverage::{self, is_tracked};
use super::default_ttl::{Due, may_have_written};
use super::forward::keys_of;
use super::own_writes::{Hold, Names};
use super::script::with_body;
use super::watch::{Watch, Watched};
use super::{Answer, Caller, Proxy, Route, failure_reply, in_resp2, stopped};
use crate::command::{Class, Flags, Keyspace, Lasting, Learned, Script, Session, Spec};
use crate::key::Slot;
use crate::resp::request::{OwnedRequest, Request};
use crate::resp::{Resp, cursor, encode};
use crate::upstream::{Call, Dedicated, Outcome, UpstreamReply, exec_abort};

pub(super) const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
pub(super) const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";

/// A command of a transaction that the server carries out.
#[derive(Debug)]
pub struct Part {
    request: OwnedRequest,
    route: Route,
    /// It may write keys that it does not name.
    opaque: bool,
    /// It publishes a message.
    publishes: bool,
}

// === impl Part ===

impl Part {
    /// The command.
    pub fn request(&self) -> Request<'_> {
        self.request.as_request()
    }

    fn only_reads(&self) -> bool {
        !self.opaque && self.route.flags.has(Flags::READ) && !self.route.may_write()
    }

    /// Whether it publishes a message.
    pub fn publishes(&self) -> bool {
        self.publishes
    }
}

/// What becomes an element of EXEC's reply.
#[derive(Debug)]
pub enum Element {
    /// The daemon's own answer to a command that is its own.
    Made(Bytes),
    /// What the server answers, in this version of the protocol.
    Sent(Part, Resp),
}

/// A transaction as it goes upstream.
struct Whole {
    bytes: Bytes,
    /// How many commands are in it.
    count: usize,
    /// What is to have a time to live behind it.
    due: Option<Due>,
}

/// Why a command cannot be part of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAPart {
    /// Its keys are not in the slot of those before it.
    CrossSlot,
    /// It is about every primary, or about state that a transaction cannot reach.
    NotOneNode,
}

// === impl Proxy ===

impl Proxy {
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
    ) -> Result<Part, NotAPart> {
        let opaque = match class {
            Class::CacheableRead
            | Class::Forward
            | Class::FanOut(_)
            | Class::Database(_)
            | Class::Publish
            | Class::AnyNode => false,
            // Inside a transaction they do not wait.
            Class::Session(Session::Blocking | Session::Wait | Session::Transaction) => false,
            Class::Script(Script::Eval | Script::EvalSha | Script::Function) => !spec.flags.has(Flags::READ),
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
        let route = Route { form: spec.form_in_transaction(), ..Route::of(spec) };
        // A node that does not have the script would refuse it when it is too late to load it there.
        let part = match (class, self.script_body(request.arg(1))) {
            (Class::Script(Script::EvalSha), Some(body)) => {
                self.part_by(route, opaque, &with_body(request, &body).as_request(), slot)?
            }
            _ => self.part_by(route, opaque, request, slot)?,
        };
        Ok(Part { publishes: class == Class::Publish, ..part })
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
    ) -> Result<Part, NotAPart> {
        let route = Route::learned(learned);
        self.part_by(route, !learned.flags.has(Flags::READ), request, slot)
    }

    fn part_by(
        &self,
        route: Route,
        opaque: bool,
        request: &Request<'_>,
        slot: &mut Option<Slot>,
    ) -> Result<Part, NotAPart> {
        let own = self.slot_of(route, request).map_err(|_| NotAPart::CrossSlot)?;
        match (*slot, own) {
            (Some(slot), Some(own)) if slot != own => return Err(NotAPart::CrossSlot),
            (None, Some(own)) => *slot = Some(own),
            _ => {}
        }
        Ok(Part { request: request.to_owned(), route, opaque, publishes: false })
    }

    /// Carries out a transaction whose keys are in `slot`; without keys any node will do. With keys that are watched, no
    /// other request of the session may be on its way.
    pub fn transaction(
        self: &Rc<Proxy>,
        elements: Vec<Element>,
        slot: Option<Slot>,
        watched: Option<&Watched>,
        caller: Caller<'_>,
    ) -> Answer<'static> {
        let whole = self.whole(&elements);
        if let Some(watch) = watched.and_then(Watched::take) {
            return self.watched_transaction(elements, watch, slot, whole, caller);
        }
        let Whole { bytes, count, due } = whole;
        if count == 0 {
            return Answer::Now(joined(std::iter::empty(), &elements));
        }
        caller.own_writes.note_sent();
        let opaque = elements.iter().any(Element::is_opaque);
        let write = self.begin_write(written_keys(&elements), caller);
        let write = if opaque { write.of_anything() } else { write };
        let grows = due.is_none() && (opaque || elements.iter().any(Element::grows));
        let apart = grows && self.upstream.reply_limit(slot).is_some();
        let hold = apart.then(|| Hold::of(caller.own_writes));
        let sent = if apart {
            let call = Call { bytes, slot, reads_only: false, foreign: opaque };
            self.upstream.send_apart(slot, None, call, count + 1)
        } else {
            self.upstream.send_transaction(slot, bytes, count + 1)
        };
        let following = self.follow(&sent, slot, due, caller.own_writes);
        let fence = slot.filter(|_| opaque).map(|slot| self.fence(Some(slot), None));
        let (proxy, resp, coverage) = (self.clone(), caller.resp, caller.coverage.cloned());
        Answer::Later(Box::pin(async move {
            let outcome = sent.reply.await.unwrap_or_else(stopped);
            coverage::note(coverage.as_ref(), is_tracked(&outcome));
            if let Some(following) = following {
                following.settle(&outcome).await;
            }
            if opaque {
                proxy.hear_out(fence, &outcome).await;
            }
            // Before the reply leaves, its keys are dropped once more (I6).
            drop((write, hold));
            executed(outcome, &elements, resp)
        }))
    }
}

// === impl Proxy ===

impl Proxy {
    /// Carries out a transaction on the connection that watches keys for it, unless one of them has changed.
    fn watched_transaction(
        self: &Rc<Proxy>,
        elements: Vec<Element>,
        watch: Watch,
        slot: Option<Slot>,
        whole: Whole,
        caller: Caller<'_>,
    ) -> Answer<'static> {
        let opaque = elements.iter().any(Element::is_opaque);
        let (written, read) = (written_keys(&elements), keys_read(&elements));
        let write = self.begin_write(written, caller);
        let write = if opaque { write.of_anything() } else { write };
        let Whole { bytes, count, due } = whole;
        let (proxy, resp, own_writes) = (self.clone(), caller.resp, caller.own_writes.clone());
        Answer::Later(Box::pin(async move {
            let outcome = match watch.connection {
                Some(connection) => proxy.execute_on(slot, connection, &bytes, count).await,
                None => Ok(changed()),
            };
            // No other request of the session is on its way: nothing comes in between on another connection.
            if let (Some(slot), Some(due)) = (slot, due)
                && may_have_written(&outcome)
            {
                proxy.give_ttl(slot, due, &own_writes).settle(&outcome).await;
            }
            if opaque {
                // It was not on the connection that hears of it.
                proxy.invalidate_all();
            }
            proxy.answered_past_lane(&read);
            drop(write);
            executed(outcome, &elements, resp)
        }))
    }

    fn whole(&self, elements: &[Element]) -> Whole {
        let mut out = BytesMut::new();
        out.put_slice(MULTI);
        let (mut count, mut due) = (0, Due::new());
        for element in elements {
            let Element::Sent(part, _) = element else { continue };
            let (bytes, of_part) =
                self.with_default_ttl(part.route, &part.request.as_request(), part.request.bytes());
            out.put_slice(&bytes);
            count += 1;
            // The last word on a key counts.
            if !due.is_empty() && matches!(part.route.lasting, Lasting::Told | Lasting::Options) {
                for key in keys_of(part.route, &part.request.as_request()) {
                    due.remove(&key);
                }
            }
            due.extend(of_part.into_iter().flatten());
        }
        out.put_slice(EXEC);
        Whole { bytes: out.freeze(), count, due: (!due.is_empty()).then_some(due) }
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
        let mut replies = connection.converse(bytes, count + 2).await?;
        let exec = replies.pop().unwrap_or_default();
        if !exec.starts_with(b"-") {
            connection.give_back();
            return Ok(UpstreamReply { frame: exec, rerouted: false, tracked: false, by: None });
        }
        let refusal = replies.iter().find(|reply| reply.starts_with(b"-")).unwrap_or(&exec);
        let redirected = self.upstream.redirected(refusal, slot, connection.node()).await.is_some();
        let frame = if redirected { return Ok(changed()) } else { exec_abort(refusal) };
        connection.give_back();
        Ok(UpstreamReply { frame, rerouted: false, tracked: false, by: None })
    }
}

/// What EXEC answers when a watched key has changed, or when nobody can tell any more.
fn changed() -> UpstreamReply {
    UpstreamReply { frame: Bytes::from_static(b"_\r\n"), rerouted: false, tracked: false, by: None }
}

// === impl Element ===

impl Element {
    fn grows(&self) -> bool {
        matches!(self, Element::Sent(part, _) if part.route.flags.has(Flags::GROWS))
    }

    fn is_opaque(&self) -> bool {
        matches!(self, Element::Sent(part, _) if part.opaque)
    }
}

fn written_keys(elements: &[Element]) -> Names {
    keys_in(elements, |part| !part.only_reads())
}

fn keys_read(elements: &[Element]) -> Names {
    keys_in(elements, Part::only_reads)
}

fn keys_in(elements: &[Element], of: impl Fn(&Part) -> bool) -> Names {
    let mut keys = Names::new();
    for element in elements {
        if let Element::Sent(part, _) = element
            && of(part)
        {
            keys.extend(keys_of(part.route, &part.request.as_request()));
        }
    }
    keys
}

/// The reply to EXEC.
fn executed(outcome: Outcome, elements: &[Element], resp: Resp) -> Bytes {
    let frame = match outcome {
        Ok(reply) => reply.frame,
        Err(failure) => return failure_reply(&failure),
    };
    match cursor::head(&frame) {
        Some(cursor::Head::Null { .. }) if resp == Resp::Two => Bytes::from_static(b"*-1\r\n"),
        _ => match cursor::elements(&frame) {
            Some(replies) => joined(replies.flatten().map(|reply| frame.slice_ref(reply)), elements),
            None => frame,
        },
    }
}

/// The daemon's answers and the server's, each at its place.
fn joined(mut replies: impl Iterator<Item = Bytes>, elements: &[Element]) -> Bytes {
    let mut out = BytesMut::new();
    encode::array(&mut out, elements.len());
    for element in elements {
        match element {
            Element::Made(reply) => out.put_slice(reply),
            Element::Sent(part, resp) => {
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
    out.freeze()
}
