//! Strings.

use super::{ALL, PAIRS, TWO, cached, read, takes, tells, write};
use crate::command::{Class, Join, Keys, Lasting, Spec};

pub(super) const ROWS: &[Spec] = &[
    write("append", 3),
    write("decr", 2),
    write("decrby", 3),
    takes("delex", -2),
    takes("delifeq", 3),
    cached("digest", 2),
    cached("get", 2),
    takes("getdel", 2),
    tells("getex", -2),
    cached("getrange", 4),
    write("getset", 3),
    write("incr", 2),
    write("incrby", 3),
    write("incrbyfloat", 3),
    tells("increx", -2),
    read("lcs", -3).keys(TWO).grows(),
    read("mget", -2).keys(ALL).class(Class::FanOut(Join::Mget)),
    write("mset", -3).keys(PAIRS).class(Class::FanOut(Join::Mset)).lasting(Lasting::Keys(PAIRS)),
    tells("msetex", -4).keys(Keys::Count { at: 1, step: 2 }),
    write("msetnx", -3).keys(PAIRS).lasting(Lasting::Keys(PAIRS)),
    tells("psetex", 4),
    write("set", -3).lasting(Lasting::Options),
    tells("setex", 4),
    write("setnx", 3),
    write("setrange", 4),
    cached("strlen", 2),
    cached("substr", 4),
];
