//! Commands that the table does not have, and that a module of the upstream may.

use std::rc::Rc;

use super::known_command::KnownCommand;
use super::pipeline::Pipeline;
use super::state::SessionState;
use super::{mode_commands, transaction};
use crate::clock::Nanos;
use crate::commands::SessionContext;
use crate::protocol::resp::request::Request;
use crate::router::{Answer, Coverage};

/// Answers such a request; `None` if it has to come behind all that is outstanding.
pub(super) fn answer(
    request: &Request<'_>,
    state: &mut SessionState,
    pipeline: &Pipeline,
    context: &SessionContext,
    coverage: Option<&Rc<Coverage>>,
    now: Nanos,
) -> Option<Answer> {
    let learned = match context.router.unknown_commands.learned(request, now) {
        Ok(learned) => learned,
        Err(error) => {
            transaction::abort(state);
            return Some(Answer::Now(error));
        }
    };
    if let Some(refusal) = mode_commands::refuse(KnownCommand::OfModule(&learned), state) {
        return Some(Answer::Now(refusal));
    }
    if let Some(queued) = transaction::queue_learned(&learned, request, state, context) {
        return Some(Answer::Now(queued));
    }
    if context.router.may_overtake_learned(&learned, request) {
        state.drains_first = true;
        if !pipeline.is_empty() {
            return None;
        }
    }
    let caller = state.caller(coverage, now);
    Some(context.router.unknown_commands.answer(&learned, request, caller))
}
