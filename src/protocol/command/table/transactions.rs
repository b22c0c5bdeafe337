//! Transactions.

use super::builder::{ALL, NULL_ARRAY, row};
use crate::protocol::command::{Class, Flags, RequiredState, Spec, TransactionCommand};

pub(super) const ROWS: &[Spec] = &[
    transaction("discard", 1, TransactionCommand::Discard),
    transaction("exec", 1, TransactionCommand::Exec).form(NULL_ARRAY),
    transaction("multi", 1, TransactionCommand::Multi).flags(Flags::NO_MULTI),
    transaction("unwatch", 1, TransactionCommand::Unwatch),
    transaction("watch", -2, TransactionCommand::Watch).keys(ALL).flags(Flags::NO_MULTI),
];

const fn transaction(name: &'static str, arity: i8, command: TransactionCommand) -> Spec {
    row(name, arity, Class::Session(RequiredState::Transaction(command)))
}
