//! The commands of a client in a namespace that are about all keys.

use std::rc::Rc;

use bytes::Bytes;

use super::count::count;
use super::database_names::DatabaseNames;
use super::flush::KeyRemoval;
use super::random::random_key;
use crate::namespace::Scope;
use crate::protocol::command::{Keyspace, Spec};
use crate::protocol::db::DbIndex;
use crate::protocol::key::Slot;
use crate::protocol::resp::encode;
use crate::protocol::resp::reply::{bulk, null, number};
use crate::protocol::resp::request::Request;
use crate::router::answer::Answer;
use crate::router::caller::Caller;
use crate::router::context::RouterContext;
use crate::router::multi_key::commands::MultiKey;
use crate::router::scan::names::NameWalk;
use crate::router::scan::page::ScanOptions;
use crate::router::scan::walk::KeyWalks;

/// Answers what a client in a namespace asks about all its keys.
#[derive(Debug)]
pub struct NamespaceKeys {
    context: Rc<RouterContext>,
    walks: Rc<KeyWalks>,
    multi_key: Rc<MultiKey>,
}

// === impl NamespaceKeys ===

impl NamespaceKeys {
    /// Walks with `walks`, and removes keys with `multi_key`.
    pub(in crate::router) fn new(
        context: Rc<RouterContext>,
        walks: Rc<KeyWalks>,
        multi_key: Rc<MultiKey>,
    ) -> NamespaceKeys {
        NamespaceKeys { context, walks, multi_key }
    }

    /// Answers a request of a client in `scope`. Names in requests and replies are those of the servers.
    pub fn answer(
        &self,
        keyspace: Keyspace,
        spec: &'static Spec,
        request: &Request<'_>,
        caller: Caller<'_>,
        scope: &Scope,
    ) -> Answer {
        caller.inflight.note_sent();
        let (slot, database, resp) = (self.slot(scope), caller.inflight.database(), caller.resp);
        let wish = |names: &DatabaseNames| ScanOptions::matching(names.pattern.clone(), database, slot);
        match keyspace {
            Keyspace::Scan => self.walks.scan(request, slot, caller),
            Keyspace::Keys => self.walks.keys(request, slot, caller),
            Keyspace::RandomKey => {
                let names = DatabaseNames::of(scope);
                let found =
                    random_key(self.context.clone(), self.walks.clone(), wish(&names), names, slot, database);
                Answer::exclusive(async move {
                    found.await.map_or_else(
                        |error| error,
                        |name| name.map_or_else(|| null(resp), |name| bulk(&name)),
                    )
                })
            }
            Keyspace::Count => {
                let counted = self.count(DatabaseNames::of(scope), slot, database);
                Answer::exclusive(async move {
                    counted.await.map_or_else(
                        |error| error,
                        |keys| number(keys.iter().fold(0, |sum, keys| sum + *keys as i64)),
                    )
                })
            }
            Keyspace::Flush => {
                let is_option = |option: &[u8]| {
                    [&b"async"[..], b"sync"].iter().any(|name| option.eq_ignore_ascii_case(name))
                };
                if request.len() > 2 || (request.len() == 2 && !is_option(request.arg(1))) {
                    return Answer::Now(encode::error_reply("ERR syntax error"));
                }
                let of_all = spec.name.eq_ignore_ascii_case("flushall");
                let names = if of_all { DatabaseNames::of_all(scope) } else { DatabaseNames::of(scope) };
                let walk = NameWalk::begin(self.walks.clone(), wish(&names).with_expired());
                let removal =
                    KeyRemoval { spec, names, multi_key: self.multi_key.clone(), caller: caller.to_owned() };
                Answer::exclusive(removal.carry_out(walk))
            }
        }
    }

    /// How many keys each database of the namespace of `scope` has, in the order of their numbers.
    /// `database` is that of the servers.
    pub fn count_databases(
        &self,
        scope: &Scope,
        database: DbIndex,
    ) -> impl Future<Output = Result<Vec<u64>, Bytes>> + use<> {
        self.count(DatabaseNames::of_all(scope), self.slot(scope), database)
    }

    fn count(
        &self,
        names: DatabaseNames,
        slot: Option<Slot>,
        database: DbIndex,
    ) -> impl Future<Output = Result<Vec<u64>, Bytes>> + use<> {
        let wish = ScanOptions::matching(names.pattern.clone(), database, slot).with_expired();
        count(NameWalk::begin(self.walks.clone(), wish), names, self.context.settings.keyspace_bytes_max)
    }

    /// The slot of all keys. One server is not asked by slot.
    fn slot(&self, scope: &Scope) -> Option<Slot> {
        scope.slot().filter(|_| self.context.upstream.is_cluster())
    }
}
