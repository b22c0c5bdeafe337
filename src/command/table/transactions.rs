//! Transactions.

use super::{ALL, NULL_ARRAY, row};
use crate::command::{Class, Flags, Session, Spec};

pub(super) const ROWS: &[Spec] = &[
    row("discard", 1, Class::Session(Session::Transaction)),
    row("exec", 1, Class::Session(Session::Transaction)).form(NULL_ARRAY),
    row("multi", 1, Class::Session(Session::Transaction)).flags(Flags::NO_MULTI),
    row("unwatch", 1, Class::Session(Session::Transaction)),
    row("watch", -2, Class::Session(Session::Transaction)).keys(ALL).flags(Flags::NO_MULTI),
];
