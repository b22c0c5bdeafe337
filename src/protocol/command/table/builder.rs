//! Makes the rows of the command table: a function for each common kind of command, and methods that change
//! one column of a row.

use crate::protocol::command::{
    Class, Flags, InCluster, Keys, RefusalReason, ReplyNames, RequiredState, Spec, TtlEffect,
};
use crate::protocol::resp::resp2::Form;

/// Argument 1 is the key.
pub(super) const ONE: Keys = range(1, 1, 1);
/// Argument 2 is the key.
pub(super) const SECOND: Keys = range(2, 2, 1);
/// Arguments 1 and 2 are keys.
pub(super) const TWO: Keys = range(1, 2, 1);
/// Every other argument is a key, and each is followed by its value.
pub(super) const PAIRS: Keys = range(1, -1, 2);
/// All arguments are keys.
pub(super) const ALL: Keys = range(1, -1, 1);
/// A destination, how many keys, the keys.
pub(super) const STORE: Keys = Keys::DestCount { dest: 1, at: 2 };
/// A null is an empty array's null in RESP2.
pub(super) const NULL_ARRAY: Form = Form::NullArrayFrom(1);

pub(super) const fn range(first: usize, last: isize, step: usize) -> Keys {
    Keys::Range { first, last, step }
}

pub(super) const fn count(at: usize) -> Keys {
    Keys::Count { at, step: 1 }
}

/// A command without keys.
pub(super) const fn row(name: &'static str, arity: i8, class: Class) -> Spec {
    Spec {
        number: 0,
        cached: 0,
        name,
        arity,
        flags: Flags::NONE,
        keys: Keys::None,
        ttl_effect: TtlEffect::Nothing,
        class,
        form: Form::ByRule,
        names: ReplyNames::None,
        subcommands: &[],
    }
}

/// A command whose subcommands have rows of their own.
pub(super) const fn container(name: &'static str, arity: i8, subcommands: &'static [Spec]) -> Spec {
    row(name, arity, Class::AnyNode).subcommands(subcommands)
}

/// A command that is not for clients of this daemon.
pub(super) const fn refused(name: &'static str, arity: i8, why: RefusalReason) -> Spec {
    row(name, arity, Class::Refused(why))
}

/// A command about a server, which one server carries out.
pub(super) const fn of_server(name: &'static str, arity: i8, in_cluster: InCluster) -> Spec {
    row(name, arity, Class::OfServer(in_cluster))
}

/// A read of the key in argument 1.
pub(super) const fn read(name: &'static str, arity: i8) -> Spec {
    row(name, arity, Class::Forward).keys(ONE).flags(Flags::READ)
}

/// A read of the key in argument 1 that L1 may answer.
pub(super) const fn cached(name: &'static str, arity: i8) -> Spec {
    read(name, arity).class(Class::CacheableRead)
}

/// A write that puts something into the key in argument 1.
pub(super) const fn write(name: &'static str, arity: i8) -> Spec {
    removes(name, arity).ttl_effect(TtlEffect::Keys(ONE))
}

/// A write that removes something from the key in argument 1, or sets a time to live of its parts.
pub(super) const fn removes(name: &'static str, arity: i8) -> Spec {
    row(name, arity, Class::Forward).keys(ONE).flags(Flags::WRITE)
}

/// A write that says itself how long the key in argument 1 is to live.
pub(super) const fn sets_ttl(name: &'static str, arity: i8) -> Spec {
    removes(name, arity).ttl_effect(TtlEffect::Explicit)
}

/// A write that removes something from the key in argument 1, and may block.
pub(super) const fn blocking(name: &'static str, arity: i8) -> Spec {
    removes(name, arity).class(Class::Session(RequiredState::Blocking)).flags(Flags::BLOCKING)
}

// === impl Spec ===

impl Spec {
    pub(super) const fn keys(self, keys: Keys) -> Spec {
        Spec { keys, ..self }
    }

    pub(super) const fn ttl_effect(self, ttl_effect: TtlEffect) -> Spec {
        Spec { ttl_effect, ..self }
    }

    /// A command that writes only the key in argument 2.
    pub(super) const fn into_second(self) -> Spec {
        self.ttl_effect(TtlEffect::Keys(SECOND))
    }

    pub(super) const fn class(self, class: Class) -> Spec {
        Spec { class, ..self }
    }

    /// Adds these flags.
    pub(super) const fn flags(self, flags: Flags) -> Spec {
        Spec { flags: self.flags.with(flags), ..self }
    }

    /// The row of a command with a reply that grows with the values of its keys.
    pub(super) const fn grows(self) -> Spec {
        self.flags(Flags::GROWS)
    }

    pub(super) const fn form(self, form: Form) -> Spec {
        Spec { form, ..self }
    }

    /// A command whose reply has names of keys.
    pub(super) const fn names(self, names: ReplyNames) -> Spec {
        Spec { names, ..self }
    }

    /// A command about what all namespaces share.
    pub(super) const fn shared(self) -> Spec {
        self.flags(Flags::SHARED)
    }

    pub(super) const fn subcommands(self, subcommands: &'static [Spec]) -> Spec {
        Spec { subcommands, ..self }
    }
}
