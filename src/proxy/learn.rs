//! Commands that the table does not know: modules bring their own. The upstream is asked once for each name.

use std::collections::HashMap;
use std::rc::Rc;

use super::forward::Reach;
use super::{Answer, Caller, Proxy, Route, failure_reply, fault_reply};
use crate::clock::{self, Nanos};
use crate::command::{Fault, Flags, Learned};
use crate::resp::encode;
use crate::resp::request::Request;
use crate::upstream::{Call, Failure, Right};

/// Names that are remembered; beyond it all are forgotten, since clients can make names up.
const NAMES_MAX: usize = 1024;

/// A longer name is no command's, and is not asked about.
const NAME_BYTES_MAX: usize = 128;

/// How long a name that the upstream does not know, or could not be asked about, is remembered: a module may be
/// loaded meanwhile.
const UNKNOWN_NANOS_MAX: Nanos = 10_000_000_000;

/// What was learned about commands, by their names in lower case.
#[derive(Debug, Default)]
pub(super) struct Lessons {
    names: HashMap<Vec<u8>, (Nanos, Lesson)>,
}

#[derive(Clone, Debug)]
enum Lesson {
    Known(Learned),
    Unknown,
    NotAnswered(Failure),
    NotAllowed,
}

// === impl Proxy ===

impl Proxy {
    /// Answers a request whose command is not in the table.
    pub(super) fn unknown(self: &Rc<Proxy>, request: &Request<'_>, caller: Caller<'_>) -> Answer {
        match self.learned(request, caller.now) {
            Ok(learned) => {
                let route = Route::learned(&learned);
                let reach = if learned.flags.has(Flags::READ) { Reach::Named } else { Reach::Anything };
                self.forward(route, reach, request, caller)
            }
            Err(answer) => answer,
        }
    }

    /// What the upstream said of a command that is not in the table.
    ///
    /// # Errors
    /// It knows none of this name, or has not been asked yet: then whoever asks must wait.
    pub fn learned(self: &Rc<Proxy>, request: &Request<'_>, now: Nanos) -> Result<Learned, Answer> {
        if request.arg(0).len() > NAME_BYTES_MAX {
            return Err(Answer::Now(fault_reply(Fault::Unknown, request)));
        }
        let name = request.arg(0).to_ascii_lowercase();
        let lesson = self.lessons.borrow_mut().recall(&name, now);
        match lesson {
            Some(Lesson::Known(learned)) => Ok(learned),
            Some(Lesson::Unknown) => Err(Answer::Now(fault_reply(Fault::Unknown, request))),
            Some(Lesson::NotAnswered(failure)) => Err(Answer::Now(failure_reply(&failure))),
            Some(Lesson::NotAllowed) => Err(Answer::Now(encode::error_reply(format!(
                "ERR nearside: what the command '{}' does is not known, and the user upstream may not ask COMMAND INFO",
                name.escape_ascii()
            )))),
            None => Err(self.ask_about(name)),
        }
    }

    fn ask_about(self: &Rc<Proxy>, name: Vec<u8>) -> Answer {
        let bytes = encode::request(&[&b"COMMAND"[..], b"INFO", &name]);
        let node = self.upstream.any_node();
        let call = Call { bytes, slot: None, reads_only: true, foreign: false };
        let sent = match node {
            Some(node) => self.upstream.send_to(node, call),
            None => self.upstream.send_any(call),
        };
        let proxy = self.clone();
        Answer::NotYet(Box::pin(async move {
            let lesson = match sent.reply.await.unwrap_or(Err(Failure::Stopped)) {
                Ok(reply) if proxy.is_refused(node, Right::CommandInfo, &reply.frame) => Lesson::NotAllowed,
                Ok(reply) => Learned::from_command_info(&reply.frame).map_or(Lesson::Unknown, Lesson::Known),
                Err(failure) => Lesson::NotAnswered(failure),
            };
            proxy.lessons.borrow_mut().learn(name, lesson);
        }))
    }
}

// === impl Lessons ===

impl Lessons {
    fn learn(&mut self, name: Vec<u8>, lesson: Lesson) {
        if self.names.len() >= NAMES_MAX {
            self.names.clear();
        }
        self.names.insert(name, (clock::now(), lesson));
    }

    /// What is known of a command, if it is known.
    pub(super) fn known(&self, name: &[u8]) -> Option<&Learned> {
        match self.names.get(&name.to_ascii_lowercase())? {
            (_, Lesson::Known(learned)) => Some(learned),
            _ => None,
        }
    }

    /// What is known of a command. That the upstream could not be asked is told once.
    fn recall(&mut self, name: &[u8], now: Nanos) -> Option<Lesson> {
        let (at, lesson) = self.names.get(name)?.clone();
        match &lesson {
            Lesson::Known(_) => {}
            Lesson::Unknown | Lesson::NotAllowed if now < at + UNKNOWN_NANOS_MAX => {}
            Lesson::Unknown | Lesson::NotAllowed => {
                self.names.remove(name);
                return None;
            }
            Lesson::NotAnswered(_) => {
                self.names.remove(name);
            }
        }
        Some(lesson)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNKNOWN: Lesson = Lesson::Unknown;

    #[test]
    fn only_so_many_names_are_remembered() {
        let mut lessons = Lessons::default();
        for number in 0..=NAMES_MAX {
            lessons.learn(format!("made.up{number}").into_bytes(), UNKNOWN);
            assert!(lessons.names.len() <= NAMES_MAX);
        }
        assert!(lessons.recall(b"made.up0", clock::now()).is_none());
        assert!(lessons.recall(format!("made.up{NAMES_MAX}").as_bytes(), clock::now()).is_some());
    }

    #[test]
    fn what_was_unknown_is_asked_again_after_a_while_and_what_failed_at_once() {
        let mut lessons = Lessons::default();
        lessons.learn(b"module.command".to_vec(), UNKNOWN);
        let now = clock::now();
        assert!(lessons.recall(b"module.command", now).is_some());
        assert!(lessons.recall(b"module.command", now + UNKNOWN_NANOS_MAX).is_none());
        lessons.learn(b"module.command".to_vec(), Lesson::NotAnswered(Failure::Stopped));
        assert!(lessons.recall(b"module.command", now).is_some(), "whoever asked is told why");
        assert!(lessons.recall(b"module.command", now).is_none(), "the next one asks again");
    }
}
