//! Questions that the daemon itself has for the servers, beside what clients ask.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;

use super::database::without_server;
use super::node_instance::NodeInstance;
use super::replies::{failure_reply, stopped};
use crate::protocol::command::Database;
use crate::protocol::db::DbIndex;
use crate::protocol::resp::encode;
use crate::protocol::resp::request::Request;
use crate::upstream::{Call, PendingReply, Upstream};

/// The reply of one server, or the error that says why there is none.
pub type QueryReply = LocalBoxFuture<'static, Result<Bytes, Bytes>>;

/// Asks servers what the daemon itself wants to know.
#[derive(Debug)]
pub struct ControlQueries {
    upstream: Rc<Upstream>,
    /// The process that was asked last for a database, and the numbers below which it has databases.
    databases: RefCell<(Option<NodeInstance>, u32)>,
}

// === impl ControlQueries ===

impl ControlQueries {
    /// Asks the servers of `upstream`.
    pub(in crate::router) fn new(upstream: Rc<Upstream>) -> ControlQueries {
        ControlQueries { upstream, databases: RefCell::default() }
    }

    /// Whether the server is known to have `database`.
    pub fn has_database(&self, database: DbIndex) -> bool {
        let databases = self.databases.borrow();
        database.number() < databases.1 && databases.0 == self.instance()
    }

    /// The server has `database`.
    pub fn note_database(&self, database: DbIndex) {
        let (mut databases, instance) = (self.databases.borrow_mut(), self.instance());
        // After a restart the server may have fewer.
        let before = if databases.0 == instance { databases.1 } else { 0 };
        *databases = (instance, before.max(database.number().saturating_add(1)));
    }

    /// The answer of a cluster to a command that names databases, if no node must carry it out for a client
    /// in `current`: as far as is known, it has one database.
    pub fn without_database(
        &self,
        command: Database,
        request: &Request<'_>,
        current: DbIndex,
    ) -> Option<Bytes> {
        let has_one = current == DbIndex::default() && !self.has_database(DbIndex::new(1));
        has_one.then(|| without_server(command, request)).flatten()
    }

    /// The process that serves the one server's data.
    fn instance(&self) -> Option<NodeInstance> {
        NodeInstance::of(&self.upstream, *self.upstream.primaries().first()?)
    }

    /// Asks one server whether it has `database`: otherwise its error is the reply.
    pub fn ask_in(&self, database: DbIndex) -> QueryReply {
        asked(self.upstream.send(None, Call::question(encode::request(&["PING"])).on(database)))
    }

    /// Asks any server something that changes nothing.
    pub fn ask_any<A: AsRef<[u8]>>(&self, args: &[A]) -> QueryReply {
        asked(self.upstream.send(None, Call::question(encode::request(args))))
    }

    /// Tells every primary something; empty when none is known.
    pub fn send_to_primaries<A: AsRef<[u8]>>(&self, args: &[A], reads_only: bool) -> Vec<QueryReply> {
        let call = Call::without_keys(encode::request(args), reads_only);
        let primaries = self.upstream.primaries();
        primaries.iter().map(|node| asked(self.upstream.send_to(*node, call.clone()))).collect()
    }
}

fn asked(sent: PendingReply) -> QueryReply {
    Box::pin(async move {
        match sent.reply.await.unwrap_or_else(stopped) {
            Ok(reply) if reply.frame.starts_with(b"-") => Err(reply.frame),
            Ok(reply) => Ok(reply.frame),
            Err(failure) => Err(failure_reply(&failure)),
        }
    })
}
