//! WATCH: a dedicated connection remembers the keys, and EXEC is sent on it.
//!
//! While keys are watched, L1 answers nothing to their session: what it reads must not be older than the
//! moment at which the watch began.

use std::cell::RefCell;
use std::collections::HashSet;
use std::hash::BuildHasher;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use foldhash::fast::FixedState;

use crate::protocol::command::Spec;
use crate::protocol::db::DbIndex;
use crate::protocol::key::{KeySlots, Slot};
use crate::protocol::resp::encode;
use crate::protocol::resp::request::Request;
use crate::router::answer::Answer;
use crate::router::caller::Caller;
use crate::router::coherence::inflight::{InflightKeys, InflightWrite};
use crate::router::context::RouterContext;
use crate::router::replies::failure_reply;
use crate::router::request_route::RequestRoute;
use crate::upstream::{Dedicated, SLOT_IS_MOVING, UpstreamError};

const OK: &[u8] = b"+OK\r\n";

/// Redirects of one WATCH that are followed.
const REDIRECTS_MAX: usize = 5;

/// Watched keys of a session that are counted for CLIENT LIST, at most.
const KEYS_COUNTED_MAX: usize = 65_536;

/// What one session watches.
#[derive(Debug)]
pub struct Watched {
    watch: RefCell<Option<KeyWatch>>,
    /// Where others see how many keys that is.
    count: Arc<AtomicUsize>,
}

#[derive(Debug)]
pub(in crate::router) struct KeyWatch {
    slots: KeySlots,
    /// The connection on which the node watches the keys. `None` when it was lost: then EXEC acts as if a key
    /// had changed.
    pub(in crate::router) connection: Option<Dedicated>,
    keys: WatchedKeys,
    /// As after a write of anything, reads of the session go upstream.
    _reads: InflightWrite,
}

/// Which keys are watched, by hash, as far as they are counted; none once this is dropped.
#[derive(Debug)]
struct WatchedKeys {
    hashes: HashSet<u64>,
    count: Arc<AtomicUsize>,
}

// === impl WatchedKeys ===

impl WatchedKeys {
    fn add(&mut self, hashes: Vec<u64>) {
        for hash in hashes {
            if self.hashes.len() == KEYS_COUNTED_MAX {
                break;
            }
            self.hashes.insert(hash);
        }
        self.count.store(self.hashes.len(), Ordering::Relaxed);
    }
}

impl Drop for WatchedKeys {
    fn drop(&mut self) {
        self.count.store(0, Ordering::Relaxed);
    }
}

// === impl Watched ===

impl Watched {
    /// Nothing yet; `count` will hold how many keys are watched.
    pub fn new(count: Arc<AtomicUsize>) -> Watched {
        Watched { watch: RefCell::new(None), count }
    }

    /// Whether anything is watched.
    pub fn is_any(&self) -> bool {
        self.watch.borrow().is_some()
    }

    /// The slots of the watched keys.
    pub fn slots(&self) -> KeySlots {
        self.watch.borrow().as_ref().map_or(KeySlots::None, |watch| watch.slots)
    }

    pub(in crate::router) fn take(&self) -> Option<KeyWatch> {
        self.watch.borrow_mut().take()
    }
}

/// Carries out WATCH and UNWATCH.
#[derive(Debug)]
pub struct Watches {
    context: Rc<RouterContext>,
}

// === impl Watches ===

impl Watches {
    /// Watches at the nodes of `context`.
    pub(in crate::router) fn new(context: Rc<RouterContext>) -> Rc<Watches> {
        Rc::new(Watches { context })
    }

    /// Watches more keys. To be called when no other request of the session is on its way.
    pub fn watch(
        self: &Rc<Watches>,
        spec: &'static Spec,
        request: &Request<'_>,
        watched: &Rc<Watched>,
        caller: Caller<'_>,
    ) -> Answer {
        let route = RequestRoute::of(spec);
        let own = self.context.slots(route, request);
        let slots = match own.and_then(|own| self.context.joined(watched.slots(), own)) {
            Ok(slots) => slots,
            Err(reply) => return Answer::Now(Bytes::from_static(reply)),
        };
        let watch = watched.take();
        let reads = self.context.begin_write(InflightKeys::new(), None, caller).before_all_reads();
        let bytes = request.to_owned().bytes();
        let hash = |key| FixedState::default().hash_one(key);
        let hashes = request.args().skip(1).map(hash).collect();
        let (this, watched, database) = (self.clone(), watched.clone(), caller.inflight.database());
        Answer::Later(Box::pin(async move {
            let is_first = watch.is_none();
            let new = || WatchedKeys { hashes: HashSet::new(), count: watched.count.clone() };
            let (connection, mut keys) =
                watch.map_or_else(|| (None, new()), |watch| (watch.connection, watch.keys));
            let (connection, reply) = match connection {
                None if is_first => this.begin_watch(slots.one(), database, &bytes).await,
                None => (None, Bytes::from_static(OK)),
                Some(connection) => this.go_on(slots.one(), database, connection, &bytes).await,
            };
            // After an error of the first WATCH nothing is watched; what was before a later one still counts.
            if !is_first || connection.is_some() {
                if !reply.starts_with(b"-") {
                    keys.add(hashes);
                }
                *watched.watch.borrow_mut() = Some(KeyWatch { slots, connection, keys, _reads: reads });
            }
            reply
        }))
    }

    /// Forgets the watched keys. Call it when no other request of the session is in flight.
    pub fn unwatch(self: &Rc<Watches>, watched: &Rc<Watched>) -> Answer {
        let Some(watch) = watched.take() else { return Answer::Now(Bytes::from_static(OK)) };
        Answer::Later(Box::pin(async move {
            if let Some(mut connection) = watch.connection {
                // A connection that does not confirm is closed, which forgets the keys as well.
                let forgotten = connection.round_trip(&encode::request(&["UNWATCH"]), 1).await;
                if forgotten.is_ok_and(|replies| replies.iter().all(|reply| &reply[..] == OK)) {
                    connection.give_back();
                }
            }
            Bytes::from_static(OK)
        }))
    }

    /// Watches more on a connection that watches already. When that is lost or the slot has left its node,
    /// what was watched there is lost, and EXEC will say so.
    async fn go_on(
        &self,
        slot: Option<Slot>,
        database: DbIndex,
        connection: Dedicated,
        bytes: &Bytes,
    ) -> (Option<Dedicated>, Bytes) {
        if !connection.is_quiet() {
            return (None, Bytes::from_static(OK));
        }
        let (connection, reply) = watch_more(connection, database, bytes).await;
        match connection {
            Some(connection)
                if self
                    .context
                    .upstream
                    .redirected(&reply, slot, connection.node(), false)
                    .await
                    .is_some() =>
            {
                (None, Bytes::from_static(OK))
            }
            connection => (connection, reply),
        }
    }

    async fn begin_watch(
        &self,
        slot: Option<Slot>,
        database: DbIndex,
        bytes: &Bytes,
    ) -> (Option<Dedicated>, Bytes) {
        let mut connection = match self.context.upstream.dedicated(slot).await {
            Ok(connection) => connection,
            Err(failure) => return (None, failure_reply(&failure)),
        };
        for _ in 0..REDIRECTS_MAX {
            let (kept, reply) = watch_more(connection, database, bytes).await;
            let refused = match kept {
                Some(connection) if reply.starts_with(b"-") => connection,
                kept => return (kept, reply),
            };
            let Some(elsewhere) = self.context.upstream.redirected(&reply, slot, refused.node(), false).await
            else {
                refused.give_back();
                return (None, reply);
            };
            if elsewhere.asking {
                refused.give_back();
                return (None, Bytes::from_static(SLOT_IS_MOVING));
            }
            connection = match self.context.upstream.dedicated_to(&elsewhere.node).await {
                Ok(connection) => connection,
                Err(failure) => return (None, failure_reply(&failure)),
            };
        }
        // Only a node of a cluster redirects, and there the keys have one slot.
        let slot = slot.unwrap_or_else(|| Slot::of(b""));
        let failure = UpstreamError::TooManyRedirects { slot, redirects_max: REDIRECTS_MAX as u8 };
        (None, failure_reply(&failure))
    }
}

async fn watch_more(
    mut connection: Dedicated,
    database: DbIndex,
    bytes: &Bytes,
) -> (Option<Dedicated>, Bytes) {
    match connection.select(Some(database)).await {
        Ok(None) => {}
        Ok(Some(refusal)) => return (Some(connection), refusal),
        Err(failure) => return (None, failure_reply(&failure)),
    }
    match connection.round_trip(bytes, 1).await {
        Ok(mut replies) => (Some(connection), replies.pop().unwrap_or_default()),
        Err(failure) => (None, failure_reply(&failure)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watched_keys_are_counted_once_and_up_to_a_bound() {
        let count = Arc::<AtomicUsize>::default();
        let mut keys = WatchedKeys { hashes: HashSet::new(), count: count.clone() };
        keys.add(vec![1, 2, 1]);
        assert_eq!(count.load(Ordering::Relaxed), 2);
        keys.add((0..70_000).collect());
        assert_eq!(count.load(Ordering::Relaxed), KEYS_COUNTED_MAX);
        drop(keys);
        assert_eq!(count.load(Ordering::Relaxed), 0);
    }
}
