//! The parts of a transaction: what EXEC sends to the server, and what is answered here.

use bytes::Bytes;

use crate::protocol::command::Flags;
use crate::protocol::resp::Resp;
use crate::protocol::resp::request::{OwnedRequest, Request};
use crate::router::request_route::RequestRoute;

/// A command of a transaction that the server carries out.
#[derive(Debug)]
pub struct TransactionPart {
    pub(in crate::router) request: OwnedRequest,
    pub(in crate::router) route: RequestRoute,
    /// Whether it may write keys that it does not name.
    pub(in crate::router) opaque: bool,
    /// Whether it publishes a message.
    publishes: bool,
    /// Whether it selects another database.
    selects: bool,
    /// Whether it swaps databases, for which a server pushes no invalidation.
    swaps: bool,
}

/// What becomes an element of EXEC's reply.
#[derive(Debug)]
pub enum ExecElement {
    /// The daemon's own answer to a command that is its own.
    Made(Bytes),
    /// What the server answers, in this version of the protocol.
    Sent(TransactionPart, Resp),
}

/// Why a command cannot be part of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAPart {
    /// Its own keys are in several slots.
    OwnKeysCross,
    /// The keys are not in the slot of those before them.
    OthersCross,
    /// The keys are not in the slot of those that are watched.
    WatchedCross,
    /// The command is about every primary, or about state that a transaction cannot reach.
    NotOneNode,
}

// === impl TransactionPart ===

impl TransactionPart {
    /// A part that sends this request.
    pub(in crate::router) fn new(
        route: RequestRoute,
        opaque: bool,
        request: &Request<'_>,
    ) -> TransactionPart {
        TransactionPart {
            request: request.to_owned(),
            route,
            opaque,
            publishes: false,
            selects: false,
            swaps: false,
        }
    }

    /// The part, which publishes a message or not.
    pub(in crate::router) fn publishing(self, publishes: bool) -> TransactionPart {
        TransactionPart { publishes, ..self }
    }

    /// The part, which selects another database or not.
    pub(in crate::router) fn selecting(self, selects: bool) -> TransactionPart {
        TransactionPart { selects, ..self }
    }

    /// The part, which swaps databases or not.
    pub(in crate::router) fn swapping(self, swaps: bool) -> TransactionPart {
        TransactionPart { swaps, ..self }
    }

    /// Whether it swaps databases.
    pub(in crate::router) fn swaps(&self) -> bool {
        self.swaps
    }

    /// Whether it selects another database.
    pub fn selects(&self) -> bool {
        self.selects
    }

    /// The command.
    pub fn request(&self) -> Request<'_> {
        self.request.as_request()
    }

    pub(in crate::router) fn only_reads(&self) -> bool {
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
