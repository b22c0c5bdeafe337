//! Vector sets of Redis 8. Its module checks the arity itself, so the rows ask only for a key.

use super::builder::{NULL_ARRAY, read, removes, write};
use crate::protocol::command::Spec;
use crate::protocol::resp::resp2::Form;

pub(super) const ROWS: &[Spec] = &[
    write("vadd", -2),
    read("vcard", -2),
    read("vdim", -2),
    read("vemb", -2),
    read("vgetattr", -2),
    read("vinfo", -2).form(NULL_ARRAY),
    read("vismember", -2),
    read("vlinks", -2),
    read("vrandmember", -2),
    read("vrange", -2),
    removes("vrem", -2),
    write("vsetattr", -2),
    read("vsim", -2).form(Form::Flattened),
];
