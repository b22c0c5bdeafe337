//! Commands that the table does not know: modules bring their own. The upstream is asked once for each name.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;

use super::cache::{CommandInfo, CommandInfoCache};
use crate::clock::Nanos;
use crate::protocol::command::{CommandError, Flags, ModuleCommand};
use crate::protocol::resp::encode;
use crate::protocol::resp::request::Request;
use crate::router::answer::Answer;
use crate::router::caller::Caller;
use crate::router::context::RouterContext;
use crate::router::forward::forwarder::Forwarder;
use crate::router::replies::failure_reply;
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

    /// Sends a request on whose command is not in the table.
    pub fn answer(&self, learned: &ModuleCommand, request: &Request<'_>, caller: Caller<'_>) -> Answer {
        caller.inflight.note_sent();
        let route = RequestRoute::learned(learned);
        let access = if learned.flags.has(Flags::READ) { KeyAccess::Declared } else { KeyAccess::Undeclared };
        self.forwarder.forward(route, access, request, caller)
    }

    /// What the upstream said of the command of `request`, which is not in the table.
    ///
    /// # Errors
    /// The reply for a command that the upstream does not know either, or could not be asked about.
    pub fn learned(&self, request: &Request<'_>, now: Nanos) -> Result<ModuleCommand, Bytes> {
        let name = request.arg(0).to_ascii_lowercase();
        match self.known.borrow_mut().recall(&name, now) {
            Some(CommandInfo::Known(learned)) => Ok(learned),
            Some(CommandInfo::NotAnswered(failure)) => Err(failure_reply(&failure)),
            Some(CommandInfo::NotAllowed) => Err(encode::error_reply(format!(
                "ERR nearside: what the command '{}' does is not known, and the user upstream may not ask COMMAND INFO",
                name.escape_ascii()
            ))),
            // No command has so long a name, if nothing was asked about it.
            Some(CommandInfo::Unknown) | None => Err(CommandError::Unknown.reply(request)),
        }
    }

    /// What is known of the command `name`, if the upstream knows it.
    pub fn known(&self, name: &[u8]) -> Option<ModuleCommand> {
        self.known.borrow().known(name).cloned()
    }

    /// Asks the upstream about the command `name`, and lasts until it has answered; `None` if it need not be
    /// asked.
    pub fn ask_about(
        self: &Rc<UnknownCommands>,
        name: &[u8],
        now: Nanos,
    ) -> Option<LocalBoxFuture<'static, ()>> {
        let name = name.to_ascii_lowercase();
        if name.len() > NAME_BYTES_MAX || self.known.borrow().remembers(&name, now) {
            return None;
        }
        let bytes = encode::request(&[&b"COMMAND"[..], b"INFO", &name]);
        let node = self.context.upstream.any_node();
        let sent = self.context.upstream.send_on(None, node, Call::question(bytes));
        let this = self.clone();
        Some(Box::pin(async move {
            let lesson = match sent.reply.await.unwrap_or(Err(UpstreamError::Stopped)) {
                Ok(reply) if this.context.is_refused(node, Right::CommandInfo, &reply.frame) => {
                    CommandInfo::NotAllowed
                }
                Ok(reply) => ModuleCommand::from_command_info(&reply.frame)
                    .map_or(CommandInfo::Unknown, CommandInfo::Known),
                Err(failure) => CommandInfo::NotAnswered(failure),
            };
            this.known.borrow_mut().learn(name, lesson);
        }))
    }
}
