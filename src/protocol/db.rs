//! The databases of one server, which SELECT tells apart by their numbers.

use std::fmt;

use super::resp::parse_integer;

/// The number of a database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DbIndex(u32);

// === impl DbIndex ===

impl DbIndex {
    /// The database with this number.
    pub const fn new(number: u32) -> DbIndex {
        DbIndex(number)
    }

    /// Its number.
    #[inline]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// Reads a number as SELECT takes it; `None` if no server has such a database.
    pub fn read(text: &[u8]) -> Option<DbIndex> {
        let number = i32::try_from(parse_integer(text)?).ok()?;
        u32::try_from(number).ok().map(DbIndex)
    }
}

impl fmt::Display for DbIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
