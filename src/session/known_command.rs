//! A command that the table or the upstream knows, as far as the modes and gates of a session look at it.

use crate::protocol::command::{Class, Flags, Local, ModuleCommand, RequiredState, Spec};

/// A command, and what is known of it.
#[derive(Clone, Copy, Debug)]
pub(super) enum KnownCommand<'a> {
    /// A row of the table.
    OfTable(&'static Spec),
    /// A command of a module.
    OfModule(&'a ModuleCommand),
}

// === impl KnownCommand ===

impl KnownCommand<'_> {
    /// The name as errors say it.
    pub(super) fn name(&self) -> &str {
        match self {
            KnownCommand::OfTable(spec) => spec.name,
            KnownCommand::OfModule(learned) => &learned.name,
        }
    }

    pub(super) fn flags(self) -> Flags {
        match self {
            KnownCommand::OfTable(spec) => spec.flags,
            KnownCommand::OfModule(learned) => learned.flags,
        }
    }

    pub(super) fn is_exec(self) -> bool {
        matches!(self, KnownCommand::OfTable(spec) if spec.is_exec())
    }

    /// The flags that decide whether a pause holds it back. EXEC counts as a write: what it carries out may
    /// be one.
    pub(super) fn flags_in_pause(self) -> Flags {
        if self.is_exec() { Flags::WRITE } else { self.flags() }
    }

    /// Whether a client of RESP2 that is subscribed to something may use it.
    pub(super) fn is_for_subscribers(self) -> bool {
        let KnownCommand::OfTable(spec) = self else { return false };
        matches!(
            spec.class,
            Class::Local(Local::Ping | Local::Quit)
                | Class::Session(
                    RequiredState::Subscribe(_) | RequiredState::Unsubscribe(_) | RequiredState::Reset,
                )
        )
    }
}
