//! Strings.

use super::{ALL, TWO, cached, range, read, write};
use crate::command::{Class, Join, Keys, Spec};

pub(super) const ROWS: &[Spec] = &[
    write("append", 3),
    write("decr", 2),
    write("decrby", 3),
    write("delex", -2),
    write("delifeq", 3),
    cached("digest", 2),
    cached("get", 2),
    write("getdel", 2),
    write("getex", -2),
    cached("getrange", 4),
    write("getset", 3),
    write("incr", 2),
    write("incrby", 3),
    write("incrbyfloat", 3),
    write("increx", -2),
    read("lcs", -3).keys(TWO),
    read("mget", -2).keys(ALL).class(Class::FanOut(Join::Mget)),
    write("mset", -3).keys(range(1, -1, 2)).class(Class::FanOut(Join::Mset)),
    write("msetex", -4).keys(Keys::Count { at: 1, step: 2 }),
    write("msetnx", -3).keys(range(1, -1, 2)),
    write("psetex", 4),
    write("set", -3),
    write("setex", 4),
    write("setnx", 3),
    write("setrange", 4),
    cached("strlen", 2),
    cached("substr", 4),
];
