//! Streams.

use super::{NULL_ARRAY, SECOND, cached, container, read, row, takes, write};
use crate::{
    command::{Class, Flags, Keys, Spec},
    resp::resp2::Form,
};

pub(super) const ROWS: &[Spec] = &[
    write("xack", -4),
    takes("xackdel", -2),
    write("xadd", -5),
    takes("xautoclaim", -6).grows(),
    write("xcfgset", -2),
    write("xclaim", -6).grows(),
    takes("xdel", -3),
    takes("xdelex", -2),
    container("xgroup", -2, XGROUP),
    container("xinfo", -2, XINFO),
    cached("xlen", 2),
    read("xpending", -3).form(Form::NullElementAt(3)).grows(),
    cached("xrange", -4).form(NULL_ARRAY).grows(),
    read("xread", -4).keys(Keys::Streams).flags(Flags::BLOCKING).form(Form::Streams).grows(),
    takes("xreadgroup", -7).keys(Keys::Streams).flags(Flags::BLOCKING).form(Form::Streams).grows(),
    cached("xrevrange", -4).form(NULL_ARRAY).grows(),
    write("xsetid", -3),
    takes("xtrim", -4),
];

const XGROUP: &[Spec] = &[
    write("xgroup|create", -5).keys(SECOND).into_second(),
    write("xgroup|createconsumer", 5).keys(SECOND).into_second(),
    takes("xgroup|delconsumer", 5).keys(SECOND),
    takes("xgroup|destroy", 4).keys(SECOND),
    row("xgroup|help", 2, Class::AnyNode),
    write("xgroup|setid", -5).keys(SECOND).into_second(),
];

const XINFO: &[Spec] = &[
    read("xinfo|consumers", 4).keys(SECOND).grows(),
    read("xinfo|groups", 3).keys(SECOND),
    row("xinfo|help", 2, Class::AnyNode),
    read("xinfo|stream", -3).keys(SECOND).grows(),
];
