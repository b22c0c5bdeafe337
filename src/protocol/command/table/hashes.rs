//! Hashes, their fields with a time to live included.

use super::builder::{cached, read, removes, write};
use crate::protocol::command::{Flags, Spec};
use crate::protocol::resp::resp2::Form;

pub(super) const ROWS: &[Spec] = &[
    removes("hdel", -3),
    of_fields("hexists", 3),
    removes("hexpire", -6),
    removes("hexpireat", -6),
    read("hexpiretime", -5),
    of_fields("hget", 3),
    of_fields("hgetall", 2).grows().flags(Flags::UNORDERED),
    removes("hgetdel", -5).grows(),
    removes("hgetex", -5).grows(),
    write("hincrby", 4),
    write("hincrbyfloat", 4),
    of_fields("hkeys", 2).grows().flags(Flags::UNORDERED),
    of_fields("hlen", 2),
    of_fields("hmget", -3).grows(),
    write("hmset", -4),
    removes("hpersist", -5),
    removes("hpexpire", -6),
    removes("hpexpireat", -6),
    read("hpexpiretime", -5),
    read("hpttl", -5),
    read("hrandfield", -2).form(Form::Flattened).grows(),
    read("hscan", -3).grows(),
    write("hset", -4),
    removes("hsetex", -6),
    write("hsetnx", 4),
    of_fields("hstrlen", 3),
    read("httl", -5),
    of_fields("hvals", 2).grows().flags(Flags::UNORDERED),
];

/// A read of fields that L1 may answer.
const fn of_fields(name: &'static str, arity: i8) -> Spec {
    cached(name, arity).flags(Flags::FIELDS)
}
