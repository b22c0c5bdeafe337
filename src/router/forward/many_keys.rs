//! A command on very many keys that one node executes as a whole. The work on its keys here is done in
//! slices, so that sessions get their turn in between.
//!
//! Its session begins nothing else meanwhile. So it need not be known which keys the command reads or writes:
//! they are only dropped from L1, before it is sent and once more before its reply leaves.

use std::rc::Rc;

use bytes::Bytes;
use tokio::task::yield_now;

use super::sender::{Sender, SentCall};
use crate::cache::MissReason;
use crate::clock;
use crate::protocol::resp::Resp;
use crate::protocol::resp::request::OwnedRequest;
use crate::router::caller::Caller;
use crate::router::coherence::inflight::Hold;
use crate::router::coverage::Coverage;
use crate::router::request_route::{Destination, KeyAccess, RequestRoute};
use crate::upstream::Outcome;

/// Keys that are dropped before others get their turn.
const KEYS_AT_ONCE: usize = 256;

/// A command on many keys that is in flight, or about to be.
#[derive(Debug)]
pub(in crate::router) struct ManyKeys {
    pub(super) sender: Rc<Sender>,
    pub(super) route: RequestRoute,
    pub(super) access: KeyAccess,
    pub(super) to: Destination,
    pub(super) request: OwnedRequest,
    /// What is sent in its place.
    pub(super) bytes: Bytes,
    pub(super) resp: Resp,
    pub(super) coverage: Option<Rc<Coverage>>,
    /// Nothing else of the session begins until this is dropped.
    pub(super) hold: Hold,
}

// === impl ManyKeys ===

impl ManyKeys {
    /// Has it carried out.
    pub(in crate::router) async fn finish(self) -> Outcome {
        let writes = self.route.may_write() || self.access == KeyAccess::Undeclared;
        if writes {
            self.drop_keys().await;
        }
        self.sender.context.pause.pass(self.route.flags).await;
        let outcome = self.begin().finish().await;
        if writes {
            // Before the reply leaves, its keys are dropped once more (I6).
            self.drop_keys().await;
        }
        outcome
    }

    fn begin(&self) -> SentCall {
        let session = self.hold.session();
        session.note_written(self.to.slots);
        let coverage = self.coverage.as_ref();
        let caller = Caller { resp: self.resp, inflight: session, now: clock::now(), coverage };
        let request = self.request.as_request();
        self.sender.begin(self.route, self.access, self.to, &request, self.bytes.clone(), caller)
    }

    /// From here on no running fill of them commits.
    async fn drop_keys(&self) {
        let Some(cache) = &self.sender.context.cache else { return };
        let request = self.request.as_request();
        let positions = self.route.keys.positions(&request).into_iter().flatten();
        for (count, position) in positions.enumerate() {
            if count % KEYS_AT_ONCE == KEYS_AT_ONCE - 1 {
                yield_now().await;
            }
            cache.shared().invalidate_key(request.arg(position), MissReason::Written);
        }
    }
}
