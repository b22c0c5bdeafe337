//! A namespace, and the prefix that the names of one of its databases have.

use std::sync::Arc;

use bytes::Bytes;

use super::name_buffer::NameBuffer;
use crate::protocol::db::DbIndex;
use crate::protocol::key::Slot;

/// The databases of a namespace, as many as Redis has by default.
pub const DATABASES: u32 = 16;

/// Bytes of the name of a namespace at most: each key is longer by it.
pub const NAME_BYTES_MAX: usize = 64;

/// A namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Its name: see [`is_name`].
    pub name: Box<str>,
    /// Whether all its keys lie in one slot.
    pub pinned: bool,
    /// What its channels are.
    pub channels: ChannelRule,
}

/// Whether a namespace has channels of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChannelRule {
    /// Its clients get only messages of its clients.
    #[default]
    Own,
    /// Its clients share the channels of the upstream with all others.
    Shared,
}

/// A database of a namespace: what is put in front of the names of its clients.
#[derive(Debug)]
pub struct Scope {
    namespace: Arc<Namespace>,
    database: DbIndex,
    prefix: Bytes,
    /// The prefix of database 0.
    first_prefix: Bytes,
    /// The only number that clients have for it, if the namespace is one of their databases.
    number: Option<DbIndex>,
    server_database: DbIndex,
    /// The name of the key that is looked up.
    name: NameBuffer,
}

/// Whether `text` can be the name of a namespace: letters, digits, `-`, `_` and `.`. So no prefix of a
/// namespace begins with that of another one, since each ends with the first `:`, and a prefix is a pattern
/// that matches itself.
pub fn is_name(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && text.bytes().all(is_allowed)
}

// === impl Namespace ===

impl Namespace {
    /// What the names of database `database` begin with: `app:`, for another database than 0 `app@1:`; pinned
    /// `{app}:` and `{app}@1:`.
    pub fn prefix(&self, database: DbIndex) -> String {
        let Namespace { name, pinned, .. } = self;
        let name = if *pinned { format!("{{{name}}}") } else { name.to_string() };
        match database.number() {
            0 => format!("{name}:"),
            number => format!("{name}@{number}:"),
        }
    }

    /// The number of the database of a key as the servers name it, and its name in there; `None` for a key of
    /// others.
    pub(super) fn number_and_key<'a>(&self, key: &'a [u8]) -> Option<(u32, &'a [u8])> {
        let key = match self.pinned {
            true => key.strip_prefix(b"{")?.strip_prefix(self.name.as_bytes())?.strip_prefix(b"}")?,
            false => key.strip_prefix(self.name.as_bytes())?,
        };
        if let Some(key) = key.strip_prefix(b":") {
            return Some((0, key));
        }
        let key = key.strip_prefix(b"@")?;
        let end = key.iter().position(|byte| *byte == b':')?;
        let number = DbIndex::read(&key[..end])?.number();
        (1..DATABASES).contains(&number).then_some((number, &key[end + 1..]))
    }
}

// === impl Scope ===

impl Scope {
    /// The names of `database`, which is less than [`DATABASES`].
    pub fn new(namespace: Arc<Namespace>, database: DbIndex) -> Scope {
        let prefix = Bytes::from(namespace.prefix(database));
        let first_prefix = Bytes::from(namespace.prefix(DbIndex::default()));
        Scope {
            namespace,
            database,
            prefix,
            first_prefix,
            number: None,
            server_database: DbIndex::default(),
            name: NameBuffer::default(),
        }
    }

    /// The names of a namespace that is database `number` of its clients.
    pub fn numbered(namespace: Arc<Namespace>, number: DbIndex) -> Scope {
        Scope { number: Some(number), ..Scope::new(namespace, DbIndex::default()) }
    }

    /// The keys lie in this database of the servers.
    pub fn on_servers(self, server_database: DbIndex) -> Scope {
        Scope { server_database, ..self }
    }

    /// The namespace.
    pub fn namespace(&self) -> &Arc<Namespace> {
        &self.namespace
    }

    /// The database of it.
    pub fn database(&self) -> DbIndex {
        self.database
    }

    /// What all names begin with.
    #[inline]
    pub fn prefix(&self) -> &Bytes {
        &self.prefix
    }

    /// What `look` finds under the name that `key` has on the servers. `None` also where there is no place to
    /// write that name: then nothing was looked at.
    #[inline(always)]
    pub fn look_up<T>(&self, key: &[u8], look: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
        self.name.look_up(&self.prefix, key, look)
    }

    /// The slot of all keys, if the namespace is pinned.
    pub fn slot(&self) -> Option<Slot> {
        self.namespace.pinned.then(|| Slot::of(&self.prefix))
    }

    /// What channels begin with, whichever the database; nothing if they are shared.
    pub fn channel_prefix(&self) -> &[u8] {
        match self.namespace.channels {
            ChannelRule::Own => &self.first_prefix,
            ChannelRule::Shared => b"",
        }
    }

    /// The prefix of database 0.
    pub(super) fn first_prefix(&self) -> &[u8] {
        &self.first_prefix
    }

    /// What the prefixes of all databases begin with, before `:` or `@`.
    pub(super) fn stem(&self) -> &[u8] {
        &self.first_prefix[..self.first_prefix.len() - 1]
    }

    /// The database of the servers.
    pub(super) fn server_database(&self) -> DbIndex {
        self.server_database
    }

    /// The number of the only database that clients have in it, if it is one of the databases of a cluster.
    pub(super) fn only_number(&self) -> Option<DbIndex> {
        self.number
    }

    /// The number by which clients know database `database` of the namespace.
    pub fn shown_number(&self, database: u32) -> u32 {
        self.number.map_or(database, DbIndex::number)
    }

    /// The prefix of the database that clients know by this number.
    pub(super) fn prefix_of_number(&self, number: u32) -> Option<String> {
        match self.number {
            Some(own) => (own.number() == number).then(|| self.namespace.prefix(self.database)),
            None => (number < DATABASES).then(|| self.namespace.prefix(DbIndex::new(number))),
        }
    }

    /// The number by which clients know the database of a key, and its name in there; `None` for a key of
    /// others.
    pub fn number_and_key<'a>(&self, key: &'a [u8]) -> Option<(u32, &'a [u8])> {
        let (number, key) = self.namespace.number_and_key(key)?;
        match self.number {
            Some(own) => (number == self.database.number()).then_some((own.number(), key)),
            None => Some((number, key)),
        }
    }

    /// `name` without the prefix; `None` for a name of another namespace.
    #[inline]
    pub fn bare<'a>(&self, name: &'a [u8]) -> Option<&'a [u8]> {
        name.strip_prefix(&self.prefix[..])
    }
}
