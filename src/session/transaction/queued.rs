//! What was queued since MULTI, and how much of EXEC has been carried out.

use std::ops::Range;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::carried_out::CarriedOut;
use crate::commands::SessionContext;
use crate::protocol::command::{Class, Flags, ReplyNames, Spec, numbered, recognise};
use crate::protocol::db::DbIndex;
use crate::protocol::key::KeySlots;
use crate::protocol::resp::encode;
use crate::protocol::resp::request::{OwnedRequest, Request};
use crate::router::{ExecElement, NotAPart, QueuedSlots, TransactionPart, Watched};

const QUEUED: &[u8] = b"+QUEUED\r\n";

/// What a queued command takes beside its bytes: its place in a list that has grown, and its allocations.
const STEP_BYTES: usize = size_of::<QueuedStep>() + 64;

/// What was queued since MULTI.
#[derive(Debug, Default)]
pub(in crate::session) struct Transaction {
    pub(super) steps: Vec<QueuedStep>,
    /// For each of `steps` in a namespace: the request as the client sent it, if the servers get another one.
    pub(super) asked: Vec<Option<OwnedRequest>>,
    /// How many were queued, also when they are not kept because the transaction is aborted.
    pub(super) queued: usize,
    /// The slots of all keys so far.
    pub(super) slots: QueuedSlots,
    /// What its commands may do, for a pause.
    pub(in crate::session) flags: Flags,
    /// A command of it names no keys.
    pub(super) keyless: bool,
    /// What they take.
    pub(super) bytes: usize,
    /// A command was refused, so EXEC will carry out nothing.
    pub(super) aborted: bool,
}

#[derive(Debug)]
pub(super) enum QueuedStep {
    /// The daemon answers it, when EXEC comes.
    Own(&'static Spec, OwnedRequest),
    /// The server carries it out; the number of its command.
    Part(TransactionPart, usize),
    /// Its answer is known before the others are carried out.
    Done(OwnedRequest, Bytes),
}

/// What EXEC carries out, as far as the daemon's own answers were made.
#[derive(Debug)]
pub(in crate::session) struct Executing {
    pub(super) steps: std::vec::IntoIter<QueuedStep>,
    /// As in [`Transaction`].
    pub(super) asked: std::vec::IntoIter<Option<OwnedRequest>>,
    pub(super) elements: Vec<ExecElement>,
    pub(super) slots: KeySlots,
    pub(super) watched: Option<Rc<Watched>>,
    /// What its commands may do, for a pause.
    pub(super) flags: Flags,
    /// What the steps take.
    pub(in crate::session) bytes: usize,
    /// The subscriptions that its messages may go to need not be waited for.
    pub(super) is_settled: bool,
    /// Whether the server was asked for the databases that it selects.
    pub(super) knows_databases: bool,
    /// The places of SELECT among the elements, and the databases.
    pub(super) selects: Vec<(usize, DbIndex)>,
    /// What counts as carried out once EXEC is answered.
    pub(super) carried_out: CarriedOut,
}

/// The second way to have a transaction on several slots carried out.
const OR_PER_SLOT: &str = ", or with transactions = \"per_slot\" each slot's part by itself";

/// The error for keys of several slots of a cluster: what may have them, and where.
fn crossed(what: &str, or: &str) -> String {
    format!(
        "CROSSSLOT Keys in request don't hash to the same slot (nearside: {what} may have any keys in a \
         pinned namespace, pin = true{or})"
    )
}

// === impl QueuedStep ===

impl QueuedStep {
    pub(super) fn request(&self) -> Request<'_> {
        match self {
            QueuedStep::Own(_, request) | QueuedStep::Done(request, _) => request.as_request(),
            QueuedStep::Part(part, _) => part.request(),
        }
    }

    /// Where names of keys stand in its reply.
    pub(super) fn reply_names(&self) -> ReplyNames {
        match self {
            QueuedStep::Part(_, number) => numbered(*number).map_or(ReplyNames::None, |spec| spec.names),
            QueuedStep::Own(..) | QueuedStep::Done(..) => ReplyNames::None,
        }
    }

    /// A database that servers should be asked for before it is carried out.
    pub(super) fn database(&self) -> Option<DbIndex> {
        let is_about_others =
            |number: &usize| numbered(*number).is_some_and(|spec| matches!(spec.class, Class::Database(_)));
        match self {
            QueuedStep::Part(_, number) if is_about_others(number) => Some(DbIndex::new(1)),
            step => step.selected(),
        }
    }

    /// The number of its command.
    pub(super) fn number(&self) -> usize {
        match self {
            QueuedStep::Part(_, number) => *number,
            QueuedStep::Own(spec, _) => spec.number(),
            QueuedStep::Done(request, _) => recognise(&request.as_request()).map_or(0, Spec::number),
        }
    }

    /// The database that it selects.
    pub(super) fn selected(&self) -> Option<DbIndex> {
        match self {
            QueuedStep::Part(part, _) if part.selects() => DbIndex::read(part.request().arg(1)),
            _ => None,
        }
    }
}

// === impl Transaction ===

impl Transaction {
    /// A command was refused: nothing will be carried out, so nothing is kept.
    pub(super) fn abort(&mut self) {
        self.aborted = true;
        (self.steps, self.asked) = Default::default();
        self.bytes = 0;
    }

    /// The bytes that what was queued takes.
    pub(in crate::session) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a command of it names a database.
    pub(super) fn names_databases(&self) -> bool {
        self.steps.iter().any(|step| step.database().is_some())
    }

    /// The bytes of a transaction which no slot keeps in its place: a command of it names no keys, or their
    /// keys lie in several.
    pub(super) fn placeless(&self) -> Option<usize> {
        (self.keyless || self.slots.all() == KeySlots::Several).then_some(self.bytes)
    }

    /// Whether EXEC will publish a message.
    pub(super) fn publishes(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, QueuedStep::Part(part, _) if part.publishes()))
    }

    pub(super) fn push(
        &mut self,
        step: Result<QueuedStep, NotAPart>,
        flags: Flags,
        name: &str,
        request: &Request<'_>,
        context: &SessionContext,
    ) -> Bytes {
        let bytes_max = context.limits.transaction_bytes_max;
        let bytes = self.bytes + request.raw().len() + request.len() * size_of::<Range<usize>>() + STEP_BYTES;
        let refusal = match step {
            // As in Redis, what comes behind a refusal is no longer queued, though the reply says so.
            Ok(_) if self.aborted => return Bytes::from_static(QUEUED),
            Ok(_) if bytes > bytes_max => format!(
                "ERR nearside: the transaction takes more than {bytes_max} bytes (transaction_bytes_max); \
                 nothing of it will be executed"
            ),
            Ok(_) if !context.ceiling.fits(bytes - self.bytes) => {
                context.ceiling.counts.requests_refused.fetch_add(1, Ordering::Relaxed);
                context.ceiling.refusal("a transaction", bytes, "nothing of it will be executed")
            }
            Ok(step) => {
                self.bytes = bytes;
                self.queued += 1;
                self.keyless |= matches!(&step, QueuedStep::Part(part, _) if part.names_no_keys());
                self.flags = self.flags.with(flags);
                self.steps.push(step);
                return Bytes::from_static(QUEUED);
            }
            Err(NotAPart::OwnKeysCross) => crossed("one command of a transaction", ""),
            Err(NotAPart::OthersCross) => crossed("the commands of a transaction", OR_PER_SLOT),
            Err(NotAPart::WatchedCross) => crossed("a transaction and what is watched for it", ""),
            Err(NotAPart::NotOneNode) => format!(
                "ERR {} is not available inside MULTI through nearside: a transaction is carried out by the server \
                 of its keys, and this is not about keys alone",
                name.to_ascii_uppercase().replace('|', " ")
            ),
        };
        self.abort();
        encode::error_reply(refusal)
    }
}
