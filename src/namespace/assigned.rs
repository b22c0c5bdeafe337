//! Which namespace a client begins in: that of its listener or, without one, that of its database.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::scope::Namespace;
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

    /// All of them; one that is assigned to several places is given several times.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Namespace>> {
        self.tcp.iter().flatten().chain(&self.unix).chain(self.databases.values())
    }
}
