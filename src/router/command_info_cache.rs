//! Commands that the table does not know: modules bring their own. The upstream is asked once for each name.

use std::collections::HashMap;
use std::rc::Rc;

use super::answer::Answer;
use super::caller::Caller;
use super::dispatch::Router;
use super::replies::{failure_reply, fault_reply};
use super::request_route::{RequestRoute, WriteSet};
use crate::clock::{self, Nanos};
use crate::protocol::command::{CommandError, Flags, Learned};
use crate::protocol::resp::encode;
use crate::protocol::resp::request::Request;
use crate::upstream::{Call, Right, UpstreamError};

/// Names that are remembered; beyond it all are forgotten, since clients can make names up.
const NAMES_MAX: usize = 1024;

/// A longer name is no command's, and is not asked about.
const NAME_BYTES_MAX: usize = 128;

/// How long a name that the upstream does not know, or could not be asked about, is remembered: a module may
/// be loaded meanwhile.
const UNKNOWN_NANOS_MAX: Nanos = 10_000_000_000;

/// What was learned about commands, by their names in lower case.
#[derive(Debug, Default)]
pub(super) struct CommandInfoCache {
    names: HashMap<Vec<u8>, (Nanos, CommandInfo)>,
}

#[derive(Clone, Debug)]
enum CommandInfo {
    Known(Learned),
    Unknown,
    NotAnswered(UpstreamError),
    NotAllowed,
}

// === impl Proxy ===

impl Router {
    /// Answers a request whose command is not in the table.
    pub(super) fn unknown(self: &Rc<Router>, request: &Request<'_>, caller: Caller<'_>) -> Answer {
        match self.learned(request, caller.now) {
            Ok(learned) => {
                let route = RequestRoute::learned(&learned);
                let reach = if learned.flags.has(Flags::READ) { WriteSet::Named } else { WriteSet::Anything };
                self.forwarder.forward(route, reach, request, caller)
            }
            Err(answer) => answer,
        }
    }

    /// What the upstream said of a command that is not in the table.
    ///
    /// # Errors
    /// It knows none of this name, or has not been asked yet: then whoever asks must wait.
    pub fn learned(self: &Rc<Router>, request: &Request<'_>, now: Nanos) -> Result<Learned, Answer> {
        if request.arg(0).len() > NAME_BYTES_MAX {
            return Err(Answer::Now(fault_reply(CommandError::Unknown, request)));
        }
        let name = request.arg(0).to_ascii_lowercase();
        let lesson = self.lessons.borrow_mut().recall(&name, now);
        match lesson {
            Some(CommandInfo::Known(learned)) => Ok(learned),
            Some(CommandInfo::Unknown) => Err(Answer::Now(fault_reply(CommandError::Unknown, request))),
            Some(CommandInfo::NotAnswered(failure)) => Err(Answer::Now(failure_reply(&failure))),
            Some(CommandInfo::NotAllowed) => Err(Answer::Now(encode::error_reply(format!(
                "ERR nearside: what the command '{}' does is not known, and the user upstream may not ask COMMAND INFO",
                name.escape_ascii()
            )))),
            None => Err(self.ask_about(name)),
        }
    }

    fn ask_about(self: &Rc<Router>, name: Vec<u8>) -> Answer {
        let bytes = encode::request(&[&b"COMMAND"[..], b"INFO", &name]);
        let node = self.upstream.any_node();
        let call = Call { bytes, slot: None, reads_only: true, foreign: false };
        let sent = match node {
            Some(node) => self.upstream.send_to(node, call),
            None => self.upstream.send_any(call),
        };
        let proxy = self.clone();
        Answer::NotYet(Box::pin(async move {
            let lesson = match sent.reply.await.unwrap_or(Err(UpstreamError::Stopped)) {
                Ok(reply) if proxy.is_refused(node, Right::CommandInfo, &reply.frame) => {
                    CommandInfo::NotAllowed
                }
                Ok(reply) => {
                    Learned::from_command_info(&reply.frame).map_or(CommandInfo::Unknown, CommandInfo::Known)
                }
                Err(failure) => CommandInfo::NotAnswered(failure),
            };
            proxy.lessons.borrow_mut().learn(name, lesson);
        }))
    }
}

// === impl Lessons ===

impl CommandInfoCache {
    fn learn(&mut self, name: Vec<u8>, lesson: CommandInfo) {
        if self.names.len() >= NAMES_MAX {
            self.names.clear();
        }
        self.names.insert(name, (clock::now(), lesson));
    }

    /// What is known of a command, if it is known.
    pub(super) fn known(&self, name: &[u8]) -> Option<&Learned> {
        match self.names.get(&name.to_ascii_lowercase())? {
            (_, CommandInfo::Known(learned)) => Some(learned),
            _ => None,
        }
    }

    /// What is known of a command. That the upstream could not be asked is told once.
    fn recall(&mut self, name: &[u8], now: Nanos) -> Option<CommandInfo> {
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
