//! A request of a client with tracking on: its keys are registered before they are read, and a reply that is
//! not covered is followed by its own invalidation.

use std::rc::Rc;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::future::LocalBoxFuture;

use super::state::SessionState;
use crate::clients::ClientFlag;
use crate::clients::tracker::Tracker;
use crate::commands::SessionContext;
use crate::commands::tracking::ClientTracking;
use crate::namespace::{Namespace, Namespaces};
use crate::protocol::command::{CommandError, Spec};
use crate::protocol::resp::Resp;
use crate::protocol::resp::cursor::{Cursor, ReplyHead};
use crate::protocol::resp::encode::{self, null_reply};
use crate::protocol::resp::request::Request;
use crate::router::{Answer, Coverage};

/// A request of a client with tracking on.
#[derive(Clone, Debug)]
pub(super) struct TrackedRead {
    tracker: Arc<Tracker>,
    id: u64,
    coverage: Rc<Coverage>,
    reads: Vec<Bytes>,
    overwrites: Vec<Bytes>,
}

// === impl TrackedRead ===

impl TrackedRead {
    /// Registers the keys of a request, if its client has tracking on.
    #[inline]
    pub(super) fn begin(
        recognised: Result<&'static Spec, CommandError>,
        request: &Request<'_>,
        state: &mut SessionState,
        context: &SessionContext,
    ) -> Option<TrackedRead> {
        let modes = state.modes.as_mut()?;
        let in_transaction = modes.transaction.is_some();
        let tracking = modes.tracking.as_mut()?;
        tracking.on.then(|| TrackedRead::of(tracking, in_transaction, recognised, request, context))
    }

    fn of(
        tracking: &mut ClientTracking,
        in_transaction: bool,
        recognised: Result<&'static Spec, CommandError>,
        request: &Request<'_>,
        context: &SessionContext,
    ) -> TrackedRead {
        let mut reads = Vec::new();
        if tracking.tracks_reads() {
            reads = context.router.keys_read(recognised, request);
        }
        match recognised {
            // What is queued is read when EXEC comes. An EXEC that waits for earlier requests comes here
            // twice.
            Ok(spec) if in_transaction && spec.is_exec() => reads = tracking.queued.clone(),
            _ if in_transaction => tracking.queued.append(&mut reads),
            _ => tracking.queued.clear(),
        }
        let overwrites = match recognised {
            Ok(spec) if tracking.no_loop && !in_transaction => spec.overwritten_keys(request),
            _ => Vec::new(),
        };
        let (tracker, id) = (tracking.tracker.clone(), tracking.id);
        if !reads.is_empty() {
            tracker.reads(id, &reads);
        }
        if !overwrites.is_empty() {
            tracker.writes(id, &overwrites);
        }
        TrackedRead { tracker, id, coverage: Rc::default(), reads, overwrites }
    }

    /// Where the router notes whether the reply is covered.
    pub(super) fn coverage(&self) -> &Rc<Coverage> {
        &self.coverage
    }

    /// Adds what must follow the answer.
    pub(super) fn follow(&self, answer: Answer, request: &Request<'_>, state: &mut SessionState) -> Answer {
        // CLIENT CACHING is about the next command, or about all of the next MULTI.
        if let Some(modes) = &mut state.modes
            && modes.transaction.is_none()
            && let Some(tracking) = &mut modes.tracking
            && !request.arg(0).eq_ignore_ascii_case(b"client")
        {
            tracking.caching = false;
        }
        let has_keys = !self.reads.is_empty() || !self.overwrites.is_empty();
        match answer {
            Answer::Later(reply) if has_keys => Answer::Later(self.clone().followed(reply)),
            // When that ends.
            Answer::Exclusive(work) => Answer::Exclusive(work),
            answer => {
                self.end_overwrites(true);
                answer
            }
        }
    }

    /// The reply, with what must follow it.
    pub(super) fn followed(self, reply: LocalBoxFuture<'static, Bytes>) -> LocalBoxFuture<'static, Bytes> {
        Box::pin(async move {
            let reply = reply.await;
            self.end(&reply);
            reply
        })
    }

    /// Called when the reply is about to take its place.
    pub(super) fn end(&self, reply: &[u8]) {
        let is_error = reply.starts_with(b"-");
        if !self.reads.is_empty() && !self.coverage.is_given() && !is_error {
            self.tracker.uncovered(self.id, &self.reads);
        }
        self.end_overwrites(is_error);
    }

    fn end_overwrites(&self, failed: bool) {
        if !self.overwrites.is_empty() {
            self.tracker.written(self.id, &self.overwrites, failed);
        }
    }
}

/// An invalidation as the client of this session gets it: with the names that it knows. `None` if the client
/// has no such key.
pub(super) fn pushed(push: Bytes, state: &SessionState, context: &SessionContext) -> Option<Bytes> {
    let (namespaces, home) = (&context.namespaces, state.client.entry.endpoints.namespace.as_ref());
    if namespaces.are_as_on_servers(home) {
        return Some(push);
    }
    match push.strip_prefix(PUSH) {
        Some(keys) => Some([PUSH, &bare(keys, namespaces, home)?].concat().into()),
        // It says that the client of REDIRECT has gone.
        None => Some(push),
    }
}

/// The array of keys, or the null, with the names of the client.
fn bare(keys: &[u8], namespaces: &Namespaces, home: Option<&Arc<Namespace>>) -> Option<Bytes> {
    let mut cursor = Cursor::new(keys);
    let ReplyHead::Aggregate { count, .. } = cursor.head_of_value()? else {
        return Some(Bytes::copy_from_slice(keys));
    };
    let mut own = Vec::new();
    for _ in 0..count {
        let ReplyHead::Blob { body, .. } = cursor.head_of_value()? else { return None };
        own.extend(namespaces.bare(home, body));
    }
    let mut out = BytesMut::new();
    encode::strings(&mut out, &own);
    (!own.is_empty()).then(|| out.freeze())
}

/// An invalidation for a client that redirects it here, in the form of this session's client: a push, or, for
/// clients of RESP2 that are subscribed to something, a message of `__redis__:invalidate`.
pub(super) fn redirected(keys: &[u8], state: &SessionState, context: &SessionContext) -> Option<Bytes> {
    let (namespaces, home) = (&context.namespaces, state.client.entry.endpoints.namespace.as_ref());
    let own;
    let keys = match namespaces.are_as_on_servers(home) {
        true => keys,
        false => {
            own = bare(keys, namespaces, home)?;
            &own
        }
    };
    let parts = match (state.client.resp(), keys) {
        (Resp::Three, keys) => [PUSH, keys],
        (Resp::Two, _) if !state.client.entry.has(ClientFlag::PubSub) => return None,
        (Resp::Two, b"_\r\n") => [MESSAGE, null_reply(Resp::Two)],
        (Resp::Two, keys) => [MESSAGE, keys],
    };
    Some(parts.concat().into())
}

const PUSH: &[u8] = b">2\r\n$10\r\ninvalidate\r\n";

const MESSAGE: &[u8] = b"*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n";
