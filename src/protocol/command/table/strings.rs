//! Strings.

use super::builder::{ALL, PAIRS, TWO, cached, read, removes, sets_ttl, write};
use crate::protocol::command::{Class, Join, Keys, Spec, TtlEffect};

pub(super) const ROWS: &[Spec] = &[
    write("append", 3),
    write("decr", 2),
    write("decrby", 3),
    removes("delex", -2),
    removes("delifeq", 3),
    cached("digest", 2),
    cached("get", 2),
    removes("getdel", 2),
    sets_ttl("getex", -2),
    cached("getrange", 4),
    write("getset", 3),
    write("incr", 2),
    write("incrby", 3),
    write("incrbyfloat", 3),
    sets_ttl("increx", -2),
    read("lcs", -3).keys(TWO).grows(),
    read("mget", -2).keys(ALL).class(Class::FanOut(Join::Mget)),
    write("mset", -3).keys(PAIRS).class(Class::FanOut(Join::Mset)).ttl_effect(TtlEffect::Keys(PAIRS)),
    sets_ttl("msetex", -4).keys(Keys::Count { at: 1, step: 2 }),
    write("msetnx", -3).keys(PAIRS).ttl_effect(TtlEffect::Keys(PAIRS)),
    sets_ttl("psetex", 4),
    write("set", -3).ttl_effect(TtlEffect::Options),
    sets_ttl("setex", 4),
    write("setnx", 3),
    write("setrange", 4),
    cached("strlen", 2),
    cached("substr", 4),
];
