//! The session that asks, as far as the router may know it.

use std::rc::Rc;

use super::coherence::inflight::Inflight;
use super::coverage::Coverage;
use crate::clock::{self, Nanos};
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

/// The calling session, for a request that continues later.
#[derive(Clone, Debug)]
pub(super) struct OwnedCaller {
    resp: Resp,
    inflight: Rc<Inflight>,
    coverage: Option<Rc<Coverage>>,
}

// === impl Caller ===

impl Caller<'_> {
    pub(super) fn to_owned(self) -> OwnedCaller {
        let Caller { resp, inflight, coverage, .. } = self;
        OwnedCaller { resp, inflight: inflight.clone(), coverage: coverage.cloned() }
    }
}

// === impl OwnedCaller ===

impl OwnedCaller {
    /// The session as of now.
    pub(super) fn as_caller(&self) -> Caller<'_> {
        let OwnedCaller { resp, inflight, coverage } = self;
        Caller { resp: *resp, inflight, now: clock::now(), coverage: coverage.as_ref() }
    }
}
