//! The session that asks, as far as the router may know it.

use std::rc::Rc;

use bytes::Bytes;

use super::answer::Answer;
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
    pub own_writes: &'a Rc<Inflight>,
    /// The time as of which lookups are made: all of the request had arrived by then.
    pub now: Nanos,
    /// Receives whether the client will be notified of changes to what a reply said; `None` when the client
    /// does not track what it reads.
    pub coverage: Option<&'a Rc<Coverage>>,
}

/// Carries out `work` before anything else of the session begins; the session shows the request again for the
/// answer.
pub(super) fn alone(caller: Caller<'_>, work: impl Future<Output = Bytes> + 'static) -> Answer {
    let own_writes = caller.own_writes.clone();
    Answer::NotYet(Box::pin(async move { own_writes.put_answer(work.await) }))
}
