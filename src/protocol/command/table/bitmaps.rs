//! Bits of strings.

use super::builder::{cached, range, write};
use crate::protocol::command::{Flags, Spec};

pub(super) const ROWS: &[Spec] = &[
    cached("bitcount", -2),
    write("bitfield", -2),
    cached("bitfield_ro", -2),
    write("bitop", -4).keys(range(2, -1, 1)).into_second(),
    cached("bitpos", -3).flags(Flags::BIT_POSITION),
    cached("getbit", 3),
    write("setbit", 4),
];
