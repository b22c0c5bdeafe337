//! Transactions.

use super::builder::{ALL, NULL_ARRAY, row};
use crate::protocol::command::{Class, Flags, RequiredState, Spec};

pub(super) const ROWS: &[Spec] = &[
    row("discard", 1, Class::Session(RequiredState::Transaction)),
    row("exec", 1, Class::Session(RequiredState::Transaction)).form(NULL_ARRAY),
    row("multi", 1, Class::Session(RequiredState::Transaction)).flags(Flags::NO_MULTI),
    row("unwatch", 1, Class::Session(RequiredState::Transaction)),
    row("watch", -2, Class::Session(RequiredState::Transaction)).keys(ALL).flags(Flags::NO_MULTI),
];
