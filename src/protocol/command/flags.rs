//! The flags of a command: those of Redis that this daemon acts on.

use std::ops::BitOr;

/// A set of flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u16);

// === impl Flags ===

impl Flags {
    /// No flag.
    pub const NONE: Flags = Flags(0);
    /// Reads keys and changes none (`readonly`): may be sent again after a lost connection.
    pub const READ: Flags = Flags(1);
    /// May change keys (`write`).
    pub const WRITE: Flags = Flags(1 << 1);
    /// May wait on the server (`blocking`).
    pub const BLOCKING: Flags = Flags(1 << 2);
    /// Is open to a client that has not authenticated (`no_auth`).
    pub const NO_AUTH: Flags = Flags(1 << 3);
    /// Is refused between MULTI and EXEC (`no_multi`).
    pub const NO_MULTI: Flags = Flags(1 << 4);
    /// Administers the server (`admin`): MONITOR does not show it.
    pub const ADMIN: Flags = Flags(1 << 5);
    /// May have an effect that replicas must have too (`may_replicate`): waits in CLIENT PAUSE WRITE as
    /// writes do. COMMAND does not show this flag.
    pub const MAY_REPLICATE: Flags = Flags(1 << 6);
    /// Says something of fields of a hash, of those that follow the key or of all, which may end before the
    /// key does. COMMAND does not show this flag.
    pub const FIELDS: Flags = Flags(1 << 7);
    /// Its reply grows with what its keys hold: many elements, or all. COMMAND does not show this flag.
    pub const GROWS: Flags = Flags(1 << 8);

    /// The elements of its reply come in an order that means nothing and may change by itself. COMMAND does
    /// not show this flag.
    pub const UNORDERED: Flags = Flags(1 << 9);
    /// Looks for a bit: for an absent key its reply is -1 if it looks for a 1. COMMAND does not show this
    /// flag.
    pub const BIT_POSITION: Flags = Flags(1 << 10);
    /// Reads keys that it does not name, if its arguments say so and the server is no node of a cluster.
    /// COMMAND does not show this flag.
    pub const UNNAMED: Flags = Flags(1 << 11);

    /// Acts on what all namespaces share, or names keys at places that are not known: refused in a namespace.
    /// COMMAND does not show this flag.
    pub const SHARED: Flags = Flags(1 << 12);

    /// These flags and `other`.
    pub const fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// Whether any of `other` is set.
    pub const fn has_any(self, other: Flags) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether all of `other` are set.
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// The flag that Redis calls `name`, or none if this daemon does not act on it.
    pub(super) fn named(name: &[u8]) -> Flags {
        match name {
            b"readonly" => Flags::READ,
            b"write" => Flags::WRITE,
            b"blocking" => Flags::BLOCKING,
            b"no_auth" => Flags::NO_AUTH,
            b"no_multi" => Flags::NO_MULTI,
            b"admin" => Flags::ADMIN,
            _ => Flags::NONE,
        }
    }
}

impl BitOr for Flags {
    type Output = Flags;

    fn bitor(self, other: Flags) -> Flags {
        self.with(other)
    }
}
