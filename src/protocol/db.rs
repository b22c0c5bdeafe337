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

    /// The number in `text`, which may be none of a database.
    ///
    /// # Errors
    /// The words of Redis for a text that is no number.
    pub fn number_in(text: &[u8]) -> Result<i32, &'static str> {
        let number = parse_integer(text).ok_or("ERR value is not an integer or out of range")?;
        i32::try_from(number)
            .map_err(|_| "ERR value is out of range, value must between -2147483648 and 2147483647")
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
