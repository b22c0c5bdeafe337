//! HyperLogLogs.

use super::builder::{ALL, SECOND, read, removes, row, write};
use crate::protocol::command::{Class, Flags, Spec};

pub(super) const ROWS: &[Spec] = &[
    write("pfadd", -2),
    read("pfcount", -2).keys(ALL).flags(Flags::MAY_REPLICATE),
    removes("pfdebug", 3).keys(SECOND).flags(Flags::ADMIN),
    write("pfmerge", -2).keys(ALL),
    row("pfselftest", 1, Class::AnyNode).flags(Flags::ADMIN),
];
