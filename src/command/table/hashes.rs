//! Hashes, their fields with a time to live included.

use super::{cached, read, takes, write};
use crate::{command::Spec, resp::resp2::Form};

pub(super) const ROWS: &[Spec] = &[
    takes("hdel", -3),
    cached("hexists", 3),
    takes("hexpire", -6),
    takes("hexpireat", -6),
    read("hexpiretime", -5),
    cached("hget", 3),
    cached("hgetall", 2),
    takes("hgetdel", -5),
    takes("hgetex", -5),
    write("hincrby", 4),
    write("hincrbyfloat", 4),
    cached("hkeys", 2),
    cached("hlen", 2),
    cached("hmget", -3),
    write("hmset", -4),
    takes("hpersist", -5),
    takes("hpexpire", -6),
    takes("hpexpireat", -6),
    read("hpexpiretime", -5),
    read("hpttl", -5),
    read("hrandfield", -2).form(Form::Flattened),
    read("hscan", -3),
    write("hset", -4),
    takes("hsetex", -6),
    write("hsetnx", 4),
    cached("hstrlen", 3),
    read("httl", -5),
    cached("hvals", 2),
];
