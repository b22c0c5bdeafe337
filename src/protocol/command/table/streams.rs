//! Streams.

use super::builder::{NULL_ARRAY, SECOND, cached, container, read, removes, row, write};
use crate::protocol::command::{Class, Flags, Keys, ReplyNames, Spec};
use crate::protocol::resp::resp2::Form;

pub(super) const ROWS: &[Spec] = &[
    write("xack", -4),
    removes("xackdel", -2),
    write("xadd", -5),
    removes("xautoclaim", -6).grows(),
    write("xcfgset", -2),
    write("xclaim", -6).grows(),
    removes("xdel", -3),
    removes("xdelex", -2),
    container("xgroup", -2, XGROUP),
    container("xinfo", -2, XINFO),
    cached("xlen", 2),
    read("xpending", -3).form(Form::NullElementAt(3)).grows(),
    cached("xrange", -4).form(NULL_ARRAY).grows(),
    read("xread", -4)
        .keys(Keys::Streams)
        .flags(Flags::BLOCKING)
        .form(Form::Streams)
        .grows()
        .names(ReplyNames::Streams),
    removes("xreadgroup", -7)
        .keys(Keys::Streams)
        .flags(Flags::BLOCKING)
        .form(Form::Streams)
        .grows()
        .names(ReplyNames::Streams),
    cached("xrevrange", -4).form(NULL_ARRAY).grows(),
    write("xsetid", -3),
    removes("xtrim", -4),
];

const XGROUP: &[Spec] = &[
    write("xgroup|create", -5).keys(SECOND).into_second(),
    write("xgroup|createconsumer", 5).keys(SECOND).into_second(),
    removes("xgroup|delconsumer", 5).keys(SECOND),
    removes("xgroup|destroy", 4).keys(SECOND),
    row("xgroup|help", 2, Class::AnyNode),
    write("xgroup|setid", -5).keys(SECOND).into_second(),
];

const XINFO: &[Spec] = &[
    read("xinfo|consumers", 4).keys(SECOND).grows(),
    read("xinfo|groups", 3).keys(SECOND),
    row("xinfo|help", 2, Class::AnyNode),
    read("xinfo|stream", -3).keys(SECOND).grows(),
];
