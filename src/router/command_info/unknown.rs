//! Commands that the table does not know: modules bring their own. The upstream is asked once for each name.

use std::cell::RefCell;
use std::rc::Rc;

use super::cache::{CommandInfo, CommandInfoCache};
use crate::clock::Nanos;
use crate::protocol::command::{CommandError, Flags, Learned};
use crate::protocol::resp::encode;
use crate::protocol::resp::request::Request;
use crate::router::answer::Answer;
use crate::router::caller::Caller;
use crate::router::context::RouterContext;
use crate::router::forward::forwarder::Forwarder;
use crate::router::replies::{failure_reply, fault_reply};
use crate::router::request_route::{KeyAccess, RequestRoute};
use crate::upstream::{Call, Right, UpstreamError};

/// A longer name is no command's, and is not asked about.
const NAME_BYTES_MAX: usize = 128;

/// Answers commands that the table does not know: modules bring their own.
#[derive(Debug)]
pub struct UnknownCommands {
    context: Rc<RouterContext>,
    forwarder: Rc<Forwarder>,
    known: RefCell<CommandInfoCache>,
}

// === impl UnknownCommands ===

impl UnknownCommands {
    /// Knows no command yet.
    pub(in crate::router) fn new(
        context: Rc<RouterContext>,
        forwarder: Rc<Forwarder>,
    ) -> Rc<UnknownCommands> {
        Rc::new(UnknownCommands { context, forwarder, known: RefCell::default() })
    }

    /// Answers a request whose command is not in the table.
    pub(in crate::router) fn answer(
        self: &Rc<UnknownCommands>,
        request: &Request<'_>,
        caller: Caller<'_>,
    ) -> Answer {
        match self.learned(request, caller.now) {
            Ok(learned) => {
                let route = RequestRoute::learned(&learned);
                let access =
                    if learned.flags.has(Flags::READ) { KeyAccess::Declared } else { KeyAccess::Undeclared };
                self.forwarder.forward(route, access, request, caller)
            }
            Err(answer) => answer,
        }
    }

    /// What the upstream said of a command that is not in the table.
    ///
    /// # Errors
    /// The upstream knows none of this name, or has not been asked yet: then the session must wait.
    pub fn learned(self: &Rc<UnknownCommands>, request: &Request<'_>, now: Nanos) -> Result<Learned, Answer> {
        if request.arg(0).len() > NAME_BYTES_MAX {
            return Err(Answer::Now(fault_reply(CommandError::Unknown, request)));
        }
        let name = request.arg(0).to_ascii_lowercase();
        let lesson = self.known.borrow_mut().recall(&name, now);
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

    /// What is known of the command `name`, if the upstream knows it.
    pub(in crate::router) fn known(&self, name: &[u8]) -> Option<Learned> {
        self.known.borrow().known(name).copied()
    }

    fn ask_about(self: &Rc<UnknownCommands>, name: Vec<u8>) -> Answer {
        let bytes = encode::request(&[&b"COMMAND"[..], b"INFO", &name]);
        let node = self.context.upstream.any_node();
        let call = Call { bytes, slot: None, reads_only: true, runs_user_code: false };
        let sent = match node {
            Some(node) => self.context.upstream.send_to(node, call),
            None => self.context.upstream.send_any(call),
        };
        let this = self.clone();
        Answer::NotYet(Box::pin(async move {
            let lesson = match sent.reply.await.unwrap_or(Err(UpstreamError::Stopped)) {
                Ok(reply) if this.context.is_refused(node, Right::CommandInfo, &reply.frame) => {
                    CommandInfo::NotAllowed
                }
                Ok(reply) => {
                    Learned::from_command_info(&reply.frame).map_or(CommandInfo::Unknown, CommandInfo::Known)
                }
                Err(failure) => CommandInfo::NotAnswered(failure),
            };
            this.known.borrow_mut().learn(name, lesson);
        }))
    }
}
