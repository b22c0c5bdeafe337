//! What the upstream said of commands that the table does not know.

use std::collections::HashMap;

use crate::clock::{self, Nanos};
use crate::protocol::command::ModuleCommand;
use crate::upstream::UpstreamError;

/// Names that are remembered; beyond it all are forgotten, since clients can make names up.
const NAMES_MAX: usize = 1024;

/// How long a name that the upstream does not know, or could not be asked about, is remembered: a module may
/// be loaded meanwhile.
const UNKNOWN_NANOS_MAX: Nanos = 10_000_000_000;

/// What was learned about commands, by their names in lower case.
#[derive(Debug, Default)]
pub(super) struct CommandInfoCache {
    names: HashMap<Vec<u8>, (Nanos, CommandInfo)>,
}

#[derive(Clone, Debug)]
pub(super) enum CommandInfo {
    Known(ModuleCommand),
    Unknown,
    NotAnswered(UpstreamError),
    NotAllowed,
}

// === impl CommandInfoCache ===

impl CommandInfoCache {
    /// Remembers `lesson` of the command `name`.
    pub(super) fn learn(&mut self, name: Vec<u8>, lesson: CommandInfo) {
        if self.names.len() >= NAMES_MAX {
            self.names.clear();
        }
        self.names.insert(name, (clock::now(), lesson));
    }

    /// What is known of a command, if it is known.
    pub(super) fn known(&self, name: &[u8]) -> Option<&ModuleCommand> {
        match self.names.get(&name.to_ascii_lowercase())? {
            (_, CommandInfo::Known(learned)) => Some(learned),
            _ => None,
        }
    }

    /// Whether the upstream need not be asked about a command.
    pub(super) fn remembers(&self, name: &[u8], now: Nanos) -> bool {
        self.names.get(name).is_some_and(|(at, lesson)| match lesson {
            CommandInfo::Known(_) | CommandInfo::NotAnswered(_) => true,
            CommandInfo::Unknown | CommandInfo::NotAllowed => now < at + UNKNOWN_NANOS_MAX,
        })
    }

    /// What is known of a command. That the upstream could not be asked is said once.
    pub(super) fn recall(&mut self, name: &[u8], now: Nanos) -> Option<CommandInfo> {
        let (at, lesson) = self.names.get(name)?.clone();
        match &lesson {
            CommandInfo::Known(_) => {}
            CommandInfo::Unknown | CommandInfo::NotAllowed if now < at + UNKNOWN_NANOS_MAX => {}
            CommandInfo::Unknown | CommandInfo::NotAllowed => {
                self.names.remove(name);
                return None;
            }
            CommandInfo::NotAnswered(_) => {
                self.names.remove(name);
            }
        }
        Some(lesson)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNKNOWN: CommandInfo = CommandInfo::Unknown;

    #[test]
    fn only_so_many_names_are_remembered() {
        let mut lessons = CommandInfoCache::default();
        for number in 0..=NAMES_MAX {
            lessons.learn(format!("made.up{number}").into_bytes(), UNKNOWN);
            assert!(lessons.names.len() <= NAMES_MAX);
        }
        assert!(lessons.recall(b"made.up0", clock::now()).is_none());
        assert!(lessons.recall(format!("made.up{NAMES_MAX}").as_bytes(), clock::now()).is_some());
    }

    #[test]
    fn what_was_unknown_is_asked_again_after_a_while_and_what_failed_at_once() {
        let mut lessons = CommandInfoCache::default();
        lessons.learn(b"module.command".to_vec(), UNKNOWN);
        let now = clock::now();
        assert!(lessons.recall(b"module.command", now).is_some());
        assert!(lessons.recall(b"module.command", now + UNKNOWN_NANOS_MAX).is_none());
        lessons.learn(b"module.command".to_vec(), CommandInfo::NotAnswered(UpstreamError::Stopped));
        assert!(lessons.recall(b"module.command", now).is_some(), "whoever asked is told why");
        assert!(lessons.recall(b"module.command", now).is_none(), "the next one asks again");
    }
}
