//! The state of a client that its own commands read and change.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::clients::{ClientFlag, ClientGuard};
use crate::namespace::{Namespace, Namespaces, Scope};
use crate::protocol::db::DbIndex;
use crate::protocol::resp::Resp;
use crate::router::Inflight;

/// Which replies the client wants: CLIENT REPLY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReplyMode {
    /// All.
    On,
    /// None.
    Off,
    /// All but those to the command at hand, which is CLIENT REPLY SKIP, and to the next.
    SkipBoth,
    /// All but the next one.
    SkipNext,
}

/// The state of one client.
#[derive(Debug)]
pub(crate) struct ClientState {
    /// The client's place in the registry, where other sessions find it.
    pub(crate) entry: ClientGuard,
    resp: Resp,
    pub(super) replies: ReplyMode,
    /// The requests that have not been answered, as far as later ones depend on them.
    pub(crate) inflight: Rc<Inflight>,
    /// The database in which it began.
    first_database: DbIndex,
    /// The namespace in which it began, by its listener or its first database.
    first_scope: Option<Rc<Scope>>,
    /// The namespace in which it is, with the database.
    pub(crate) scope: Option<Rc<Scope>>,
    /// The client has not authenticated yet.
    locked: bool,
    /// A password was wrong on this connection.
    pub(super) was_wrong: bool,
    /// The client has waited for its turn to try another password.
    pub(super) has_turn: bool,
    /// The client has killed itself, among others, and leaves when that is answered.
    pub(super) killed_itself: bool,
    /// The client wants to leave: nothing is taken any more, and the connection closes when all is answered.
    pub(crate) leaving: bool,
}

// === impl ClientState ===

impl ClientState {
    /// A client that has just connected, and has to authenticate first if `asks_password`.
    /// Its commands are executed in `first_database`.
    pub(crate) fn new(
        entry: ClientGuard,
        asks_password: bool,
        first_database: DbIndex,
        namespaces: &Namespaces,
    ) -> ClientState {
        let of_database = || namespaces.of_database(first_database).cloned();
        let home = entry.endpoints.namespace.clone();
        let of_database = || of_database().map(|namespace| Scope::numbered(namespace, first_database));
        let first = home.map(|home| Scope::new(home, DbIndex::default())).or_else(of_database);
        let first_scope = first.map(|scope| Rc::new(scope.on_servers(first_database)));
        let client = ClientState {
            entry,
            resp: Resp::Two,
            replies: ReplyMode::On,
            inflight: Rc::new(Inflight::of(first_database)),
            first_database,
            scope: first_scope.clone(),
            first_scope,
            locked: asks_password,
            was_wrong: false,
            has_turn: false,
            killed_itself: false,
            leaving: false,
        };
        client.show_first_database();
        client
    }

    /// Restores what a connection begins with: RESET. It is locked again if it `asks_password`.
    pub(crate) fn reset(&mut self, asks_password: bool) {
        self.set_resp(Resp::Two);
        self.entry.names().client.clear();
        self.entry.note_queued(None);
        for flag in [ClientFlag::NoEvict, ClientFlag::NoTouch] {
            self.entry.mark(flag, false);
        }
        self.replies = ReplyMode::On;
        self.inflight.want_fresh(false);
        self.inflight.select(self.first_database);
        self.scope = self.first_scope.clone();
        self.show_first_database();
        self.locked = asks_password;
    }

    /// Goes on in `scope`, which the client calls database `number`.
    pub(super) fn enter(&mut self, scope: Option<Rc<Scope>>, number: DbIndex) {
        self.scope = scope;
        self.entry.database.store(number.number(), Ordering::Relaxed);
    }

    /// The namespace of its listener.
    pub(super) fn home(&self) -> Option<&Arc<Namespace>> {
        self.entry.endpoints.namespace.as_ref()
    }

    fn show_first_database(&self) {
        let number = if self.home().is_some() { DbIndex::default() } else { self.first_database };
        self.entry.database.store(number.number(), Ordering::Relaxed);
    }

    /// Lets the client in: its password was right, or it needs none any more.
    pub(crate) fn unlock(&mut self) {
        self.locked = false;
    }

    /// Whether the client has to authenticate yet.
    #[inline]
    pub(crate) fn is_locked(&self) -> bool {
        self.locked
    }

    /// The version of the protocol that the client speaks.
    #[inline]
    pub(crate) fn resp(&self) -> Resp {
        self.resp
    }

    pub(super) fn set_resp(&mut self, resp: Resp) {
        self.resp = resp;
        self.entry.speaks_resp3.store(resp == Resp::Three, Ordering::Relaxed);
    }

    /// Whether all replies are sent: CLIENT REPLY was not used.
    #[inline]
    pub(crate) fn wants_all_replies(&self) -> bool {
        self.replies == ReplyMode::On
    }

    /// Whether the reply to the request at hand is sent.
    pub(crate) fn wants_reply(&mut self) -> bool {
        match self.replies {
            ReplyMode::On => true,
            ReplyMode::Off => false,
            ReplyMode::SkipBoth => {
                self.replies = ReplyMode::SkipNext;
                false
            }
            ReplyMode::SkipNext => {
                self.replies = ReplyMode::On;
                false
            }
        }
    }
}
