//! What makes a session more than a plain one, and what that means for each request before it is answered.
//!
//! A session in no mode pays one look at a pointer for all of this.

use super::SessionContext;
use super::state::State;
use crate::command::{Session, Spec};
use crate::proxy::{Answer, Caller};
use crate::resp::request::Request;

/// The modes of one session; each is there while its client is in it.
#[derive(Debug, Default)]
pub(super) struct Modes {}

/// What a session in some mode does with a request before anybody else sees it; `None` when it is answered as ever.
pub(super) fn intercept(
    _spec: &'static Spec,
    _request: &Request<'_>,
    _state: &mut State,
    _context: &SessionContext,
) -> Option<Answer<'static>> {
    None
}

/// Whether a command of this kind begins only when all earlier ones of its session have been answered, and ends before
/// the next one begins: it does not take the lane that keeps the others in order, or changes what they mean.
pub(super) fn is_alone(kind: Session) -> bool {
    match kind {
        Session::Blocking | Session::Monitor | Session::PubSub | Session::Transaction | Session::Wait => true,
        Session::Scan | Session::Tracking => false,
    }
}

/// Answers a command that changes what its session is, or needs more of the upstream than a place on a lane.
pub(super) fn answer<'a>(
    kind: Session,
    spec: &'static Spec,
    request: &Request<'_>,
    _state: &mut State,
    context: &'a SessionContext,
    caller: Caller<'_>,
) -> Answer<'a> {
    match kind {
        Session::Blocking
        | Session::Monitor
        | Session::PubSub
        | Session::Scan
        | Session::Tracking
        | Session::Transaction
        | Session::Wait => context.proxy.call(spec, crate::command::Class::Session(kind), request, caller),
    }
}
