//! Sets.

use super::builder::{ALL, TWO, cached, count, read, removes, write};
use crate::protocol::command::{Flags, Spec};

pub(super) const ROWS: &[Spec] = &[
    write("sadd", -3),
    cached("scard", 2),
    read("sdiff", -2).keys(ALL).grows(),
    write("sdiffstore", -3).keys(ALL),
    read("sinter", -2).keys(ALL).grows(),
    read("sintercard", -3).keys(count(1)),
    write("sinterstore", -3).keys(ALL),
    cached("sismember", 3),
    cached("smembers", 2).grows().flags(Flags::UNORDERED),
    cached("smismember", -3),
    write("smove", 4).keys(TWO).into_second(),
    removes("spop", -2).grows(),
    read("srandmember", -2).grows(),
    removes("srem", -3),
    read("sscan", -3).grows(),
    read("sunion", -2).keys(ALL).grows(),
    write("sunionstore", -3).keys(ALL),
];
