//! HyperLogLogs.

use super::{ALL, SECOND, read, row, write};
use crate::command::{Class, Spec};

pub(super) const ROWS: &[Spec] = &[
    write("pfadd", -2),
    read("pfcount", -2).keys(ALL),
    write("pfdebug", 3).keys(SECOND),
    write("pfmerge", -2).keys(ALL),
    row("pfselftest", 1, Class::AnyNode),
];
