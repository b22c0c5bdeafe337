//! A command that the table or the upstream knows, as far as the modes and gates of a session look at it.

use super::state::SessionState;
use crate::commands::SessionContext;
use crate::protocol::command::{Class, Flags, Local, ModuleCommand, RequiredState, Spec, TransactionCommand};
use crate::protocol::resp::request::Request;

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

    /// The flags that decide whether a pause holds back a request with this command: those of the commands
    /// that are queued for EXEC, and none of a script that says it does not write.
    pub(super) fn flags_in_pause(
        self,
        request: &Request<'_>,
        state: &SessionState,
        context: &SessionContext,
    ) -> Flags {
        let KnownCommand::OfTable(spec) = self else { return self.flags() };
        match spec.class {
            Class::Session(RequiredState::Transaction(TransactionCommand::Exec)) => {
                let transaction = state.modes.as_ref().and_then(|modes| modes.transaction.as_ref());
                transaction.map_or(Flags::NONE, |transaction| transaction.flags)
            }
            _ => context.router.flags_in_pause(spec, request),
        }
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
