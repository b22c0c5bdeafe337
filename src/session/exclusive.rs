//! What a session waits for before it takes another request: a gate, or an exclusive request.

use futures_util::future::LocalBoxFuture;

use super::gates::Gate;
use super::tracked_read::TrackedRead;
use crate::commands::LatencyTimer;
use crate::protocol::command::Spec;
use crate::protocol::resp::request::OwnedRequest;
use crate::router::ExclusiveEnd;

/// What the session waits for before it takes another request.
pub(super) enum Waiting {
    /// A gate in front of the request at the head of the connection, which is looked at again then.
    Gate(Gate),
    /// A request that was taken already.
    Exclusive(Box<ExclusiveRequest>),
}

/// An exclusive request, which has the session for itself.
pub(super) struct ExclusiveRequest {
    /// Its command, if the table has that.
    pub(super) spec: Option<&'static Spec>,
    pub(super) work: LocalBoxFuture<'static, ExclusiveEnd>,
    pub(super) measure: Option<LatencyTimer>,
    /// What must follow the reply.
    pub(super) tracked: Option<TrackedRead>,
    /// What is shown to MONITOR at the end.
    pub(super) shown: Option<OwnedRequest>,
    /// Bytes of the request.
    pub(super) bytes: usize,
}

// === impl Waiting ===

impl Waiting {
    /// Waits for an exclusive request.
    #[cold]
    pub(super) fn exclusive(request: ExclusiveRequest) -> Waiting {
        Waiting::Exclusive(Box::new(request))
    }

    /// Bytes of a request that was taken out of the connection.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Waiting::Gate(_) => 0,
            Waiting::Exclusive(request) => request.bytes,
        }
    }
}
