//! Hashes, their fields with a time to live included.

use super::{cached, read, write};
use crate::{command::Spec, resp::resp2::Form};

pub(super) const ROWS: &[Spec] = &[
    write("hdel", -3),
    cached("hexists", 3),
    write("hexpire", -6),
    write("hexpireat", -6),
    read("hexpiretime", -5),
    cached("hget", 3),
    cached("hgetall", 2),
    write("hgetdel", -5),
    write("hgetex", -5),
    write("hincrby", 4),
    write("hincrbyfloat", 4),
    cached("hkeys", 2),
    cached("hlen", 2),
    cached("hmget", -3),
    write("hmset", -4),
    write("hpersist", -5),
    write("hpexpire", -6),
    write("hpexpireat", -6),
    read("hpexpiretime", -5),
    read("hpttl", -5),
    read("hrandfield", -2).form(Form::Flattened),
    read("hscan", -3),
    write("hset", -4),
    write("hsetex", -6),
    write("hsetnx", 4),
    cached("hstrlen", 3),
    read("httl", -5),
    cached("hvals", 2),
];
