//! The database in which one connection executes its commands: SELECT goes before a command of another one.
//!
//! The first SELECT of a database on a connection is awaited: nothing behind it goes out before the node has
//! confirmed it, so no command is executed in another database than its own.

use crate::protocol::db::DbIndex;
use crate::protocol::resp::encode;
use crate::upstream::call::{Call, Completion, PendingCommand};

/// What is known of the database of a connection.
#[derive(Debug)]
pub(super) struct Databases {
    /// The database behind all commands of the queue; `None` if a transaction may have changed it.
    last: Option<DbIndex>,
    /// The databases that the node has confirmed on this connection.
    confirmed: Vec<DbIndex>,
    /// Whether a first SELECT is on its way.
    awaits: bool,
}

// === impl Databases ===

impl Databases {
    /// Those of a new connection.
    pub(super) fn new() -> Databases {
        let first = DbIndex::default();
        Databases { last: Some(first), confirmed: vec![first], awaits: false }
    }

    /// The SELECT that has to go before `command`, if it needs one.
    #[inline]
    pub(super) fn select_before(&mut self, command: &PendingCommand) -> Option<PendingCommand> {
        let wanted = command.call.database.filter(|wanted| self.last != Some(*wanted));
        let select = wanted.map(|wanted| self.select(wanted, command));
        if command.call.selects {
            self.last = None;
        }
        select
    }

    #[cold]
    fn select(&mut self, wanted: DbIndex, command: &PendingCommand) -> PendingCommand {
        self.last = Some(wanted);
        let call = Call::question(encode::request(&["SELECT", &wanted.to_string()]));
        PendingCommand::new(call, Completion::Select(wanted), command.deadline)
    }

    /// Whether nothing more may go out for now.
    #[inline]
    pub(super) fn awaits(&self) -> bool {
        self.awaits
    }

    /// A command goes out.
    #[inline]
    pub(super) fn note_sent(&mut self, command: &PendingCommand) {
        if let Completion::Select(database) = command.waiter {
            self.awaits = !self.confirmed.contains(&database);
        }
    }

    /// The node has confirmed a SELECT. Returns whether that was awaited.
    pub(super) fn confirm(&mut self, database: DbIndex) -> bool {
        if !self.confirmed.contains(&database) {
            self.confirmed.push(database);
        }
        std::mem::take(&mut self.awaits)
    }

    /// The node has refused a SELECT. Returns whether that was awaited: otherwise commands may have been
    /// executed in the wrong database.
    pub(super) fn refuse(&mut self) -> bool {
        std::mem::take(&mut self.awaits)
    }

    /// The database of the connection is not known.
    pub(super) fn forget(&mut self) {
        self.last = None;
    }
}
