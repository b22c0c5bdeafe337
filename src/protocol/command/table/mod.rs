//! The rows, one file a family, and the few words in which rows are written.
//!
//! Names, arity, flags and positions are what COMMAND says on Redis 7.0 and Valkey 9.1; a test compares them.
//! Commands of Redis 8 that neither has ask for as few arguments as hold their key, so that the server judges
//! the rest.

mod bitmaps;
mod cluster;
mod connection;
mod geo;
mod hashes;
mod hyperloglogs;
mod keyspace;
mod lists;
mod pubsub;
mod scripting;
mod server;
mod sets;
mod sorted_sets;
mod streams;
mod strings;
mod transactions;
mod vector_sets;

use super::{Class, Flags, Keys, RefusalReason, RequiredState, Spec, TtlEffect};
use crate::protocol::resp::resp2::Form;

/// All rows, by family.
pub(super) const FAMILIES: [&[Spec]; 17] = [
    bitmaps::ROWS,
    cluster::ROWS,
    connection::ROWS,
    geo::ROWS,
    hashes::ROWS,
    hyperloglogs::ROWS,
    keyspace::ROWS,
    lists::ROWS,
    pubsub::ROWS,
    scripting::ROWS,
    server::ROWS,
    sets::ROWS,
    sorted_sets::ROWS,
    streams::ROWS,
    strings::ROWS,
    transactions::ROWS,
    vector_sets::ROWS,
];

/// Argument 1 is the key.
const ONE: Keys = range(1, 1, 1);
/// Argument 2 is the key.
const SECOND: Keys = range(2, 2, 1);
/// Arguments 1 and 2 are keys.
const TWO: Keys = range(1, 2, 1);
/// Every other argument is a key, and each is followed by its value.
const PAIRS: Keys = range(1, -1, 2);
/// All arguments are keys.
const ALL: Keys = range(1, -1, 1);
/// A destination, how many keys, the keys.
const STORE: Keys = Keys::DestCount { dest: 1, at: 2 };
/// A null is an empty array's null in RESP2.
const NULL_ARRAY: Form = Form::NullArrayFrom(1);

const fn range(first: usize, last: isize, step: usize) -> Keys {
    Keys::Range { first, last, step }
}

const fn count(at: usize) -> Keys {
    Keys::Count { at, step: 1 }
}

/// A command without keys.
const fn row(name: &'static str, arity: i8, class: Class) -> Spec {
    Spec {
        number: 0,
        name,
        arity,
        flags: Flags::NONE,
        keys: Keys::None,
        lasting: TtlEffect::Nothing,
        class,
        form: Form::ByRule,
        subcommands: &[],
    }
}

/// A command whose subcommands have rows of their own.
const fn container(name: &'static str, arity: i8, subcommands: &'static [Spec]) -> Spec {
    row(name, arity, Class::AnyNode).subcommands(subcommands)
}

/// A command that is not for clients of this daemon.
const fn refused(name: &'static str, arity: i8, why: RefusalReason) -> Spec {
    row(name, arity, Class::Refused(why))
}

/// A read of the key in argument 1.
const fn read(name: &'static str, arity: i8) -> Spec {
    row(name, arity, Class::Forward).keys(ONE).flags(Flags::READ)
}

/// A read of the key in argument 1 that L1 may answer.
const fn cached(name: &'static str, arity: i8) -> Spec {
    read(name, arity).class(Class::CacheableRead)
}

/// A write that puts something into the key in argument 1.
const fn write(name: &'static str, arity: i8) -> Spec {
    removes(name, arity).lasting(TtlEffect::Keys(ONE))
}

/// A write that takes something from the key in argument 1, or says of its parts how long they stay.
const fn removes(name: &'static str, arity: i8) -> Spec {
    row(name, arity, Class::Forward).keys(ONE).flags(Flags::WRITE)
}

/// A write that says itself how long the key in argument 1 is to live.
const fn sets_ttl(name: &'static str, arity: i8) -> Spec {
    removes(name, arity).lasting(TtlEffect::Told)
}

/// A write that takes something from the key in argument 1, and may wait for it.
const fn blocking(name: &'static str, arity: i8) -> Spec {
    removes(name, arity).class(Class::Session(RequiredState::Blocking)).flags(Flags::BLOCKING)
}

// === impl Spec ===

impl Spec {
    const fn keys(self, keys: Keys) -> Spec {
        Spec { keys, ..self }
    }

    const fn lasting(self, lasting: TtlEffect) -> Spec {
        Spec { lasting, ..self }
    }

    /// It puts something into the key in argument 2 alone.
    const fn into_second(self) -> Spec {
        self.lasting(TtlEffect::Keys(SECOND))
    }

    const fn class(self, class: Class) -> Spec {
        Spec { class, ..self }
    }

    /// These flags too.
    const fn flags(self, flags: Flags) -> Spec {
        Spec { flags: self.flags.with(flags), ..self }
    }

    /// Its reply grows with what its keys hold.
    const fn grows(self) -> Spec {
        self.flags(Flags::GROWS)
    }

    const fn form(self, form: Form) -> Spec {
        Spec { form, ..self }
    }

    const fn subcommands(self, subcommands: &'static [Spec]) -> Spec {
        Spec { subcommands, ..self }
    }
}
