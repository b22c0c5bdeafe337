//! Lists.

use super::{NULL_ARRAY, TWO, blocking, cached, count, range, write};
use crate::{command::Spec, resp::resp2::Form};

pub(super) const ROWS: &[Spec] = &[
    blocking("blmove", 6).keys(TWO).form(NULL_ARRAY),
    blocking("blmpop", -5).keys(count(2)).form(NULL_ARRAY),
    blocking("blpop", -3).keys(range(1, -2, 1)).form(NULL_ARRAY),
    blocking("brpop", -3).keys(range(1, -2, 1)).form(NULL_ARRAY),
    blocking("brpoplpush", 4).keys(TWO).form(NULL_ARRAY),
    cached("lindex", 3),
    write("linsert", 5),
    cached("llen", 2),
    write("lmove", 5).keys(TWO),
    write("lmpop", -4).keys(count(1)).form(NULL_ARRAY),
    write("lpop", -2).form(Form::NullArrayFrom(3)),
    cached("lpos", -3),
    write("lpush", -3),
    write("lpushx", -3),
    cached("lrange", 4),
    write("lrem", 4),
    write("lset", 4),
    write("ltrim", 4),
    write("rpop", -2).form(Form::NullArrayFrom(3)),
    write("rpoplpush", 3).keys(TWO),
    write("rpush", -3),
    write("rpushx", -3),
];
