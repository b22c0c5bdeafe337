//! Which namespace a client begins in: that of its listener or, without one, that of its database.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::scope::{DATABASES, Namespace};
use crate::protocol::db::DbIndex;

/// The namespaces of a daemon, by what they are assigned to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// For each TCP address, in the order of the configuration.
    pub tcp: Vec<Option<Arc<Namespace>>>,
    /// For the Unix socket.
    pub unix: Option<Arc<Namespace>>,
    /// For the databases of clients whose listener has none.
    pub databases: BTreeMap<u32, Arc<Namespace>>,
}

// === impl Namespaces ===

impl Namespaces {
    /// The namespace of database `database`.
    pub fn of_database(&self, database: DbIndex) -> Option<&Arc<Namespace>> {
        self.databases.get(&database.number())
    }

    /// What the names of clients begin with, in every database of every namespace.
    pub fn prefixes(&self) -> Vec<Bytes> {
        let of_one = |namespace: &Arc<Namespace>| {
            (0..DATABASES)
                .map(|number| Bytes::from(namespace.prefix(DbIndex::new(number))))
                .collect::<Vec<_>>()
        };
        let each: BTreeMap<&str, &Arc<Namespace>> =
            self.all().map(|namespace| (&*namespace.name, namespace)).collect();
        each.into_values().flat_map(of_one).collect()
    }

    /// All of them; one that is assigned to several places is given several times.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Namespace>> {
        self.tcp.iter().flatten().chain(&self.unix).chain(self.databases.values())
    }
}
