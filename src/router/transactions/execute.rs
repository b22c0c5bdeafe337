//! A transaction on its way: what was queued goes to the slot's node in one write, MULTI and EXEC around it.
//!
//! Nothing in it is answered from L1, and nothing that it reads is kept. It is carried out once or not at
//! all: what was written and lost is never sent again.

use std::rc::Rc;
use std::sync::Arc;

use futures_util::future::LocalBoxFuture;

use super::assembled::{AssembledTransaction, ended};
use super::exec_reply::{changed, executed, executed_in_turns, joined, nothing};
use super::part::{ExecElement, NotAPart, TransactionPart};
use super::slots::QueuedSlots;
use super::watch::{KeyWatch, Watched};
use crate::clock;
use crate::protocol::command::{
    Class, Database, Flags, Keyspace, Local, ModuleCommand, RequiredState, ScriptAction, Spec,
};
use crate::protocol::key::KeySlots;
use crate::protocol::resp::request::Request;
use crate::router::answer::Answer;
use crate::router::caller::Caller;
use crate::router::coherence::inflight::Hold;
use crate::router::context::RouterContext;
use crate::router::coverage::{self, is_tracked};
use crate::router::forward::default_ttl::{DefaultTtl, may_have_written};
use crate::router::forward::fence::Fence;
use crate::router::replies::stopped;
use crate::router::request_route::{Destination, RequestRoute};
use crate::router::scripting::script_cache::{ScriptCache, with_body};
use crate::router::turns::give_turn;
use crate::upstream::{Call, Dedicated, Outcome, UpstreamReply, answers_exec, exec_abort};

/// With more elements than these others get their turn while it is put together and answered.
const SMALL_ELEMENTS_MAX: usize = 1024;

/// Carries out transactions.
#[derive(Debug)]
pub struct Transactions {
    pub(super) context: Rc<RouterContext>,
    pub(super) default_ttl: Rc<DefaultTtl>,
    scripts: Arc<ScriptCache>,
}

// === impl Transactions ===

impl Transactions {
    /// Sends to `context`; scripts that `scripts` knows go along with their bodies.
    pub(in crate::router) fn new(
        context: Rc<RouterContext>,
        default_ttl: Rc<DefaultTtl>,
        scripts: Arc<ScriptCache>,
    ) -> Rc<Transactions> {
        Rc::new(Transactions { context, default_ttl, scripts })
    }

    /// The part for a command of the table. `slots` are the slots of the parts so far.
    ///
    /// # Errors
    /// The command cannot be carried out together with the others.
    pub fn part(
        &self,
        spec: &'static Spec,
        class: Class,
        request: &Request<'_>,
        slots: &mut QueuedSlots,
    ) -> Result<TransactionPart, NotAPart> {
        let opaque = match class {
            Class::CacheableRead
            | Class::Forward
            | Class::FanOut(_)
            | Class::Database(_)
            | Class::Publish
            | Class::AnyNode
            | Class::AboutCommands(_) => false,
            // The rest of the transaction is executed in another database.
            Class::Local(Local::Select) => false,
            Class::Local(Local::ConfigGet | Local::ConfigSet) => false,
            // Inside a transaction they do not wait.
            Class::Session(RequiredState::Blocking | RequiredState::Wait | RequiredState::Transaction(_)) => {
                false
            }
            Class::Script(ScriptAction::Eval | ScriptAction::EvalSha | ScriptAction::Function) => {
                !spec.flags.has(Flags::READ)
            }
            // FLUSHALL names none of the keys that it removes.
            Class::EveryPrimary(_)
            | Class::Script(_)
            | Class::Keyspace(Keyspace::Keys | Keyspace::RandomKey | Keyspace::Count | Keyspace::Flush)
                if self.context.upstream.has_one_primary() =>
            {
                spec.flags.has(Flags::WRITE)
            }
            Class::Keyspace(Keyspace::Scan) if !self.context.upstream.is_cluster() => false,
            Class::EveryPrimary(_)
            | Class::Script(_)
            | Class::Keyspace(_)
            | Class::Session(_)
            | Class::Local(_)
            | Class::OfServer(_)
            | Class::Refused(_) => {
                return Err(NotAPart::NotOneNode);
            }
        };
        let route = RequestRoute { form: spec.form_in_transaction(), ..RequestRoute::of(spec) };
        // A node that does not have the script would refuse it when it is too late to load it there.
        let part = match (class, self.scripts.named(request.arg(1))) {
            (Class::Script(ScriptAction::EvalSha), Some(body)) => {
                TransactionPart::new(route, opaque, &with_body(spec.flags, request, &body).as_request())
            }
            _ => TransactionPart::new(route, opaque, request),
        };
        let part = part
            .publishing(class == Class::Publish)
            .selecting(class == Class::Local(Local::Select))
            .swapping(class == Class::Database(Database::Swap));
        self.join(part, slots)
    }

    /// The part that a command of a module is.
    ///
    /// # Errors
    /// Its keys are in another slot.
    pub fn learned_part(
        &self,
        learned: &ModuleCommand,
        request: &Request<'_>,
        slots: &mut QueuedSlots,
    ) -> Result<TransactionPart, NotAPart> {
        let route = RequestRoute::learned(learned);
        self.join(TransactionPart::new(route, !learned.flags.has(Flags::READ), request), slots)
    }

    /// Takes the slots of a part to those of the parts before it.
    fn join(&self, part: TransactionPart, slots: &mut QueuedSlots) -> Result<TransactionPart, NotAPart> {
        let own = self.context.slots(part.route, &part.request()).map_err(|_| NotAPart::OwnKeysCross)?;
        if self.context.upstream.is_cluster() {
            slots.add_in_cluster(own, self.context.settings.transactions_per_slot)?;
        } else {
            slots.add(own);
        }
        Ok(part)
    }

    /// Carries out a transaction whose keys are in `slots`; without keys any node will do. With keys that are
    /// watched, no other request of the session may be on its way.
    pub fn execute(
        self: &Rc<Transactions>,
        elements: Vec<ExecElement>,
        slots: KeySlots,
        watched: Option<&Watched>,
        caller: Caller<'_>,
    ) -> Answer {
        let watch = watched.and_then(Watched::take);
        if slots == KeySlots::Several && self.context.upstream.is_cluster() {
            return self.execute_per_slot(elements, caller);
        }
        if elements.len() > SMALL_ELEMENTS_MAX {
            let (hold, coverage) = (Hold::of(caller.inflight), caller.coverage.cloned());
            let (this, resp) = (self.clone(), caller.resp);
            return Answer::Later(Box::pin(async move {
                let mut whole = AssembledTransaction::new();
                for (index, element) in elements.iter().enumerate() {
                    whole.add(&this.default_ttl, element);
                    give_turn(index).await;
                }
                // The session is held, so it need not be known which keys are written.
                let written = std::mem::take(&mut whole.written);
                hold.session().note_written(slots);
                this.context.drop_keys(&written).await;
                this.context.pause.pass(Flags::WRITE).await;
                let coverage = coverage.as_ref();
                let caller = Caller { resp, inflight: hold.session(), now: clock::now(), coverage };
                let outcome = match watch {
                    Some(watch) => this.begin_watched(watch, slots, whole, caller).await,
                    None if whole.count == 0 => Ok(nothing()),
                    None => this.begin_transaction(slots, whole, caller).await,
                };
                // Before the reply leaves, its keys are dropped once more (I6).
                this.context.drop_keys(&written).await;
                executed_in_turns(outcome, elements, resp).await
            }));
        }
        let mut whole = AssembledTransaction::new();
        elements.iter().for_each(|element| whole.add(&self.default_ttl, element));
        let resp = caller.resp;
        let outcome: LocalBoxFuture<'static, Outcome> = match watch {
            Some(watch) => Box::pin(self.begin_watched(watch, slots, whole, caller)),
            None if whole.count == 0 => return Answer::Now(joined(std::iter::empty(), &elements)),
            None => Box::pin(self.begin_transaction(slots, whole, caller)),
        };
        Answer::Later(Box::pin(async move { executed(outcome.await, &elements, resp) }))
    }

    /// Sends a transaction; what it comes to once all that must have happened before its reply leaves has
    /// happened.
    pub(super) fn begin_transaction(
        self: &Rc<Transactions>,
        slots: KeySlots,
        whole: AssembledTransaction,
        caller: Caller<'_>,
    ) -> impl Future<Output = Outcome> + use<> {
        let AssembledTransaction { count, opaque, grows, selects, swaps, written, read, .. } = whole;
        caller.inflight.note_sent();
        let write = self.context.begin_write(written, None, caller);
        let write = if opaque || swaps { write.of_anything() } else { write };
        let (bytes, due) = (ended(whole.out), (!whole.due.is_empty()).then_some(whole.due));
        let call = Call { selects, ..Call::new(caller.inflight.database(), slots, bytes, false) };
        let isolated =
            due.is_none() && (opaque || grows) && self.context.upstream.reply_limit(slots.one()).is_some();
        let hold = isolated.then(|| Hold::of(caller.inflight));
        // A session that is held reads nothing meanwhile.
        let is_held = caller.inflight.is_held();
        let reading = if is_held { None } else { self.context.begin_read(read.clone(), caller) };
        let sent = if isolated {
            // What is refused of it is refused before any script of it runs, in the node's own words.
            self.context.upstream.send_isolated(slots.one(), None, call, count + 1)
        } else {
            self.context.upstream.send_transaction(call, count + 1)
        };
        let following = self.default_ttl.follow(&sent, slots, due, caller.inflight);
        // With several nodes it is unknown to which one a transaction without keys went.
        let node = if slots == KeySlots::Several { self.context.upstream.any_node() } else { None };
        let to = Destination { slots, node };
        let fence = (opaque && slots != KeySlots::None).then(|| Fence::after(&self.context, to, isolated));
        let (this, coverage) = (self.clone(), caller.coverage.cloned());
        async move {
            let outcome = sent.reply.await.unwrap_or_else(stopped);
            coverage::note(coverage.as_ref(), is_tracked(&outcome));
            if let Some(following) = following {
                following.finish(&outcome).await;
            }
            if opaque {
                match fence {
                    Some(fence) => fence.finish(&this.context, &outcome).await,
                    None => this.context.invalidate_all(),
                }
            }
            if swaps {
                this.context.invalidate_all();
            }
            if isolated || this.context.is_multi_stream() {
                this.context.drop_keys_read_elsewhere(&read).await;
            }
            // Before the reply leaves, its keys are dropped once more (I6).
            drop((write, reading, hold));
            outcome
        }
    }

    /// Carries out a transaction on the connection that watches keys for it, unless one of them has changed.
    fn begin_watched(
        self: &Rc<Transactions>,
        watch: KeyWatch,
        slots: KeySlots,
        whole: AssembledTransaction,
        caller: Caller<'_>,
    ) -> impl Future<Output = Outcome> + use<> {
        let AssembledTransaction { count, due, written, read, opaque, selects, swaps, .. } = whole;
        let write = self.context.begin_write(written, None, caller);
        let write = if opaque || swaps { write.of_anything() } else { write };
        let (bytes, due) = (ended(whole.out), (!due.is_empty()).then_some(due));
        let call = Call { selects, ..Call::new(caller.inflight.database(), slots, bytes, false) };
        let (this, inflight) = (self.clone(), caller.inflight.clone());
        async move {
            let outcome = match watch.connection {
                Some(connection) => this.execute_on(connection, &call, count).await,
                None => Ok(changed()),
            };
            // No other request of the session is on its way: nothing comes in between on another connection.
            if let Some(due) = due.filter(|_| may_have_written(&outcome)) {
                this.default_ttl.give_ttl(slots, due, &inflight).finish(&outcome).await;
            }
            if opaque || swaps {
                // The invalidations went to another connection than the one that the transaction was on.
                this.context.invalidate_all();
            }
            this.context.drop_keys_read_elsewhere(&read).await;
            drop(write);
            outcome
        }
    }

    async fn execute_on(&self, mut connection: Dedicated, call: &Call, count: usize) -> Outcome {
        if !connection.is_quiet() {
            // The connection was lost before anything of the transaction was sent, and its watch with it.
            return Ok(changed());
        }
        if let Some(refusal) = connection.select(call.database).await? {
            let frame = exec_abort(&refusal);
            return Ok(UpstreamReply { frame, rerouted: false, tracked: false, by: None });
        }
        let mut replies = connection.round_trip(&call.bytes, count + 2).await?;
        let exec = replies.pop().unwrap_or_default();
        if !exec.starts_with(b"-") {
            if answers_exec(&exec, count) && !call.selects {
                connection.give_back();
            }
            return Ok(UpstreamReply { frame: exec, rerouted: false, tracked: false, by: None });
        }
        let refusal = replies.iter().find(|reply| reply.starts_with(b"-")).unwrap_or(&exec);
        let redirected = self
            .context
            .upstream
            .redirected(refusal, call.slots.one(), connection.node(), false)
            .await
            .is_some();
        let frame = if redirected { return Ok(changed()) } else { exec_abort(refusal) };
        connection.give_back();
        Ok(UpstreamReply { frame, rerouted: false, tracked: false, by: None })
    }
}
