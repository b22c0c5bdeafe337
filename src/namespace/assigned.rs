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

    /// Whether clients whose listener has the namespace `home` know all keys by the names of the servers.
    pub fn are_as_on_servers(&self, home: Option<&Arc<Namespace>>) -> bool {
        home.is_none() && self.databases.is_empty()
    }

    /// The prefixes of all databases that these clients can select.
    pub fn prefixes_of(&self, home: Option<&Arc<Namespace>>) -> Vec<String> {
        if let Some(home) = home {
            return (0..DATABASES).map(|number| home.prefix(DbIndex::new(number))).collect();
        }
        let first = (!self.databases.contains_key(&0)).then(String::new);
        first.into_iter().chain(self.databases.values().map(|of| of.prefix(DbIndex::default()))).collect()
    }

    /// The name of a key as these clients know it, whichever of their databases has it; `None` for a key of
    /// others.
    pub fn bare<'a>(&self, home: Option<&Arc<Namespace>>, key: &'a [u8]) -> Option<&'a [u8]> {
        if let Some(home) = home {
            return home.number_and_key(key).map(|(_, key)| key);
        }
        let of_first = |of: &Arc<Namespace>| of.number_and_key(key).filter(|(number, _)| *number == 0);
        Some(self.databases.values().find_map(of_first).map_or(key, |(_, key)| key))
    }

    /// All of them; one that is assigned to several places is given several times.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Namespace>> {
        self.tcp.iter().flatten().chain(&self.unix).chain(self.databases.values())
    }
}
