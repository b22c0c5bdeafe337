//! Sorted sets.

use super::builder::{NULL_ARRAY, STORE, TWO, blocking, cached, count, range, read, removes, write};
use crate::protocol::command::{ReplyNames, Spec};
use crate::protocol::resp::resp2::Form;

pub(super) const ROWS: &[Spec] = &[
    blocking("bzmpop", -5).keys(count(2)).form(NULL_ARRAY).names(ReplyNames::First),
    blocking("bzpopmax", -3).keys(range(1, -2, 1)).form(NULL_ARRAY).names(ReplyNames::First),
    blocking("bzpopmin", -3).keys(range(1, -2, 1)).form(NULL_ARRAY).names(ReplyNames::First),
    write("zadd", -4),
    cached("zcard", 2),
    cached("zcount", 4),
    read("zdiff", -3).keys(count(1)).form(Form::Flattened).grows(),
    write("zdiffstore", -4).keys(STORE),
    write("zincrby", 4),
    read("zinter", -3).keys(count(1)).form(Form::Flattened).grows(),
    read("zintercard", -3).keys(count(1)),
    write("zinterstore", -4).keys(STORE),
    cached("zlexcount", 4),
    removes("zmpop", -4).keys(count(1)).form(NULL_ARRAY).grows().names(ReplyNames::First),
    cached("zmscore", -3),
    removes("zpopmax", -2).form(Form::Flattened).grows(),
    removes("zpopmin", -2).form(Form::Flattened).grows(),
    read("zrandmember", -2).form(Form::Flattened).grows(),
    cached("zrange", -4).form(Form::Flattened).grows(),
    cached("zrangebylex", -4).grows(),
    cached("zrangebyscore", -4).form(Form::Flattened).grows(),
    write("zrangestore", -5).keys(TWO),
    cached("zrank", -3).form(Form::NullArrayFrom(4)),
    removes("zrem", -3),
    removes("zremrangebylex", 4),
    removes("zremrangebyrank", 4),
    removes("zremrangebyscore", 4),
    cached("zrevrange", -4).form(Form::Flattened).grows(),
    cached("zrevrangebylex", -4).grows(),
    cached("zrevrangebyscore", -4).form(Form::Flattened).grows(),
    cached("zrevrank", -3).form(Form::NullArrayFrom(4)),
    read("zscan", -3).grows(),
    cached("zscore", 3),
    read("zunion", -3).keys(count(1)).form(Form::Flattened).grows(),
    write("zunionstore", -4).keys(STORE),
];
