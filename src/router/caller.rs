//! The session that asks, as far as the router may know it.

use std::rc::Rc;

use super::coherence::inflight::Inflight;
use super::coverage::Coverage;
use crate::clock::Nanos;
use crate::protocol::resp::Resp;

/// The session that asks.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// The version of the protocol that replies must have.
    pub resp: Resp,
    /// The session's commands that have not been answered yet.
    pub inflight: &'a Rc<Inflight>,
    /// The time of the lookups: the whole request had arrived by then.
    pub now: Nanos,
    /// Receives whether the client will be notified of changes to what a reply said; `None` when the client
    /// does not track what it reads.
    pub coverage: Option<&'a Rc<Coverage>>,
}
