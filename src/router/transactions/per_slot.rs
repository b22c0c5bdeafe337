//! A transaction on several slots of a cluster: each slot's part is a transaction of its own, sent once or
//! not at all. A part is atomic, the whole is not.
//!
//! The parts go out at once, each in its slot's place among the commands of its session. Messages leave when
//! all parts were executed: a client that receives one may look at all that was written before it.

use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use futures_util::future::join_all;

use super::exec_reply::join;
use super::execute::Transactions;
use super::part::ExecElement;
use super::part_outcome::PartOutcome;
use super::slot_parts::{PartNumber, SlotParts, TransactionOfSlot};
use crate::protocol::command::Flags;
use crate::protocol::key::KeySlots;
use crate::protocol::resp::encode;
use crate::router::answer::Answer;
use crate::router::caller::{Caller, OwnedCaller};
use crate::router::coherence::inflight::{Hold, InflightKeys};
use crate::router::coverage::{self, Coverage};
use crate::router::turns::{AT_ONCE, give_turn};

/// Parts of one transaction that are in flight at once.
const PARTS_AT_ONCE: usize = AT_ONCE;

/// What a client gets for a message that was not published.
const NOT_PUBLISHED: &str =
    "ERR nearside: the message was not published, because another part of the transaction failed";

/// What has become of the parts of a transaction.
struct Executed {
    parts: Vec<PartOutcome>,
    /// The parts that are made of messages; none if they were not sent because another part failed.
    messages: Vec<PartOutcome>,
}

// === impl Transactions ===

impl Transactions {
    /// Carries out a transaction whose keys lie in several slots of a cluster.
    pub(super) fn execute_per_slot(
        self: &Rc<Transactions>,
        elements: Vec<ExecElement>,
        caller: Caller<'_>,
    ) -> Answer {
        let (this, owned) = (self.clone(), caller.to_owned());
        if elements.len() > AT_ONCE {
            let hold = Hold::of(caller.inflight);
            return Answer::Later(Box::pin(async move {
                let mut split = SlotParts::new();
                for (index, element) in elements.iter().enumerate() {
                    split.add(&this.default_ttl, element);
                    give_turn(index).await;
                }
                let SlotParts { parts, messages, places, .. } = split;
                hold.session().note_written(KeySlots::Several);
                let parts = this.in_batches(parts, &owned).await;
                this.end(parts, messages, &places, &elements, &owned).await
            }));
        }
        let mut split = SlotParts::new();
        elements.iter().for_each(|element| split.add(&self.default_ttl, element));
        let SlotParts { parts, messages, places, .. } = split;
        let hold = (!messages.is_empty()).then(|| Hold::of(caller.inflight));
        let sent: Vec<_> = parts.into_iter().map(|part| self.begin_part(part, caller)).collect();
        Answer::Later(Box::pin(async move {
            let parts = join_all(sent).await;
            let reply = this.end(parts, messages, &places, &elements, &owned).await;
            drop(hold);
            reply
        }))
    }

    /// Sends a part in its slot's place.
    fn begin_part(
        self: &Rc<Transactions>,
        part: TransactionOfSlot,
        caller: Caller<'_>,
    ) -> impl Future<Output = PartOutcome> + use<> {
        let TransactionOfSlot { slots, whole } = part;
        let (count, coverage) = (whole.count, caller.coverage.map(|_| Rc::<Coverage>::default()));
        let outcome = self.begin_transaction(slots, whole, Caller { coverage: coverage.as_ref(), ..caller });
        async move { PartOutcome { slots, count, outcome: outcome.await, coverage } }
    }

    /// Sends parts whose session is held, [`PARTS_AT_ONCE`] at a time, and gives others their turn while the
    /// keys are dropped from L1.
    async fn in_batches(
        self: &Rc<Transactions>,
        parts: Vec<TransactionOfSlot>,
        caller: &OwnedCaller,
    ) -> Vec<PartOutcome> {
        let mut outcomes = Vec::with_capacity(parts.len());
        let mut parts = parts.into_iter();
        while parts.len() > 0 {
            let mut batch: Vec<TransactionOfSlot> = parts.by_ref().take(PARTS_AT_ONCE).collect();
            let written: Vec<InflightKeys> =
                batch.iter_mut().map(|part| std::mem::take(&mut part.whole.written)).collect();
            for keys in &written {
                self.context.drop_keys(keys).await;
            }
            self.context.pause.pass(Flags::WRITE).await;
            let sent: Vec<_> =
                batch.into_iter().map(|part| self.begin_part(part, caller.as_caller())).collect();
            outcomes.extend(join_all(sent).await);
            // Before the reply leaves, its keys are dropped once more (I6).
            for keys in &written {
                self.context.drop_keys(keys).await;
            }
        }
        outcomes
    }

    /// Publishes the messages behind the parts, if all of these were executed, and makes the reply to EXEC.
    async fn end(
        self: &Rc<Transactions>,
        parts: Vec<PartOutcome>,
        messages: Vec<TransactionOfSlot>,
        places: &[PartNumber],
        elements: &[ExecElement],
        caller: &OwnedCaller,
    ) -> Bytes {
        let is_done = parts.iter().all(PartOutcome::is_executed);
        let messages = if is_done { self.in_batches(messages, caller).await } else { Vec::new() };
        let executed = Executed { parts, messages };
        let covered = executed.all().all(|part| part.coverage.as_ref().is_none_or(|given| given.is_given()));
        coverage::note(caller.as_caller().coverage, covered);
        executed.reply(places, elements).await
    }
}

// === impl Executed ===

impl Executed {
    fn all(&self) -> impl Iterator<Item = &PartOutcome> {
        self.parts.iter().chain(&self.messages)
    }

    /// The reply to EXEC: the commands of a part that failed have its error. If nothing at all was executed,
    /// the reply is the error of the first part.
    async fn reply(&self, places: &[PartNumber], elements: &[ExecElement]) -> Bytes {
        if !self.all().any(PartOutcome::may_have_run)
            && let Some(error) = self.all().find_map(PartOutcome::error_of_all)
        {
            return error;
        }
        let mut of_parts: Vec<_> = self.parts.iter().map(PartOutcome::replies).collect();
        let mut of_messages: Vec<_> = self.messages.iter().map(PartOutcome::replies).collect();
        let mut places = places.iter();
        let mut replies = std::iter::from_fn(|| {
            let replies = match *places.next()? {
                PartNumber::Part(number) => of_parts.get_mut(number),
                PartNumber::Message(number) => of_messages.get_mut(number),
            };
            Some(match replies {
                Some(Ok(replies)) => replies.next().unwrap_or_default(),
                Some(Err(error)) => error.clone(),
                None => encode::error_reply(NOT_PUBLISHED),
            })
        });
        let mut out = BytesMut::new();
        encode::array(&mut out, elements.len());
        for (index, element) in elements.iter().enumerate() {
            join(&mut out, &mut replies, element);
            give_turn(index).await;
        }
        out.freeze()
    }
}
