//! A namespace, and the prefix that the names of one of its databases have.

use std::sync::Arc;

use bytes::Bytes;

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

/// One database of a namespace: what is put in front of the names of its clients.
#[derive(Debug)]
pub struct Scope {
    namespace: Arc<Namespace>,
    database: DbIndex,
    prefix: Bytes,
}

/// Whether `text` can be the name of a namespace: letters, digits, `-`, `_` and `.`. So no prefix of a namespace
/// begins with that of another one, since each ends with the first `:`, and a prefix is a pattern that matches
/// itself.
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
}

// === impl Scope ===

impl Scope {
    /// The names of `database`, which is less than [`DATABASES`].
    pub fn new(namespace: Arc<Namespace>, database: DbIndex) -> Scope {
        let prefix = Bytes::from(namespace.prefix(database));
        Scope { namespace, database, prefix }
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

    /// The slot of all keys, if the namespace is pinned.
    pub fn slot(&self) -> Option<Slot> {
        self.namespace.pinned.then(|| Slot::of(&self.prefix))
    }

    /// What channels begin with; nothing if they are shared.
    pub fn channel_prefix(&self) -> &[u8] {
        match self.namespace.channels {
            ChannelRule::Own => &self.prefix,
            ChannelRule::Shared => b"",
        }
    }

    /// `name` without the prefix; `None` for a name of another namespace.
    #[inline]
    pub fn bare<'a>(&self, name: &'a [u8]) -> Option<&'a [u8]> {
        name.strip_prefix(&self.prefix[..])
    }
}
