//! Lists.

use super::builder::{NULL_ARRAY, TWO, blocking, cached, count, range, removes, write};
use crate::protocol::command::{ReplyNames, Spec};
use crate::protocol::resp::resp2::Form;

pub(super) const ROWS: &[Spec] = &[
    blocking("blmove", 6).keys(TWO).form(NULL_ARRAY).into_second(),
    blocking("blmpop", -5).keys(count(2)).form(NULL_ARRAY).names(ReplyNames::First),
    blocking("blpop", -3).keys(range(1, -2, 1)).form(NULL_ARRAY).names(ReplyNames::First),
    blocking("brpop", -3).keys(range(1, -2, 1)).form(NULL_ARRAY).names(ReplyNames::First),
    blocking("brpoplpush", 4).keys(TWO).form(NULL_ARRAY).into_second(),
    cached("lindex", 3),
    write("linsert", 5),
    cached("llen", 2),
    write("lmove", 5).keys(TWO).into_second(),
    removes("lmpop", -4).keys(count(1)).form(NULL_ARRAY).grows().names(ReplyNames::First),
    removes("lpop", -2).form(Form::NullArrayFrom(3)).grows(),
    cached("lpos", -3),
    write("lpush", -3),
    write("lpushx", -3),
    cached("lrange", 4).grows(),
    removes("lrem", 4),
    write("lset", 4),
    removes("ltrim", 4),
    removes("rpop", -2).form(Form::NullArrayFrom(3)).grows(),
    write("rpoplpush", 3).keys(TWO).into_second(),
    write("rpush", -3),
    write("rpushx", -3),
];
