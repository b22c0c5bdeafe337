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
    /// The database behind the commands that went out.
    sent: Option<DbIndex>,
    /// The databases that the node has confirmed on this connection.
    confirmed: Vec<DbIndex>,
    /// The first SELECT of a database, while it is on its way.
    awaited: Option<AwaitedSelect>,
}

/// A SELECT behind which nothing goes out before it is answered.
#[derive(Clone, Copy, Debug)]
struct AwaitedSelect {
    database: DbIndex,
    /// The database of the connection if it is refused.
    before: Option<DbIndex>,
}

// === impl Databases ===

impl Databases {
    /// Those of a new connection.
    pub(super) fn new() -> Databases {
        let first = Some(DbIndex::default());
        Databases { last: first, sent: first, confirmed: Vec::new(), awaited: None }
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
        self.awaited.is_some()
    }

    /// A command goes out.
    #[inline]
    pub(super) fn note_sent(&mut self, command: &PendingCommand) {
        if let Completion::Select(database) = command.waiter {
            self.note_select(database);
        } else if command.call.selects {
            self.sent = None;
        }
    }

    #[cold]
    fn note_select(&mut self, database: DbIndex) {
        let before = self.sent.replace(database);
        if !self.confirmed.contains(&database) {
            self.awaited = Some(AwaitedSelect { database, before });
        }
    }

    /// The node has confirmed the next SELECT in the queue, which was of `database`. Returns whether that was
    /// awaited.
    pub(super) fn confirm(&mut self, database: DbIndex) -> bool {
        if !self.confirmed.contains(&database) {
            self.confirmed.push(database);
        }
        self.end_wait(database).is_some()
    }

    /// The node has refused a SELECT of `database`. Returns whether that was awaited: otherwise commands may
    /// have been executed in the wrong database. Then the connection is in the database before.
    pub(super) fn refuse(&mut self, database: DbIndex) -> bool {
        let awaited = self.end_wait(database);
        if let Some(awaited) = awaited {
            self.sent = awaited.before;
        }
        awaited.is_some()
    }

    /// Ends the wait for the SELECT of `database`; another one that was sent before may be answered first.
    fn end_wait(&mut self, database: DbIndex) -> Option<AwaitedSelect> {
        self.awaited.take_if(|awaited| awaited.database == database)
    }

    /// Nothing is left in the queue behind a refused SELECT: the database is that of what was sent.
    pub(super) fn go_back(&mut self) {
        self.last = self.sent;
    }
}
