//! CLIENT TRACKING: which clients cache which keys in their own memory, and the invalidations that they get.
//!
//! All clients of the daemon share the upstream's tracked connections: one for each node and worker, however
//! many clients cache. An invalidation that arrives there is passed on to the clients that read the key
//! through this daemon.
//!
//! A client never keeps a stale value for ever:
//! - A key is registered before it is looked up in L1 or its command is sent. An invalidation raises the
//!   generation of the key in L1 before it reaches this tracker. So either the reader finds the newer
//!   generation, and reads the key again after the change, or the tracker finds its registration and notifies
//!   it.
//! - An invalidation is sent behind every reply that is outstanding at that moment, because one of them may
//!   carry the older value. A hit leaves in the same turn in which it was looked up.
//! - A reply that came over a connection that is not tracked, or not trusted, is followed by its own
//!   invalidation.
//! - When a connection is lost, silent for longer than its lease, or distrusted, clients are notified that
//!   all keys may be stale.
//!
//! It knows keys and mailboxes, and which prefixes L1 wants for itself. It must never know sessions, entries
//! of L1 or connections. Begin with `table.rs` (which client has read which key) and `member.rs` (one
//! client).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

mod member;
mod prefixes;
mod table;

pub use member::TrackingTerms;
pub use prefixes::ClientPrefixes;

use crate::clients::{Client, Clients};
use crate::invalidation::Invalidation;
use crate::settings::Setting;
use member::TrackingClient;
use prefixes::PrefixReaders;
use table::ReaderTable;

/// The clients that cache, and what they read.
#[derive(Debug)]
pub struct Tracker {
    clients: Arc<Clients>,
    /// How many clients cache: the lock is not taken while none does.
    members_count: AtomicUsize,
    inner: Mutex<Inner>,
    /// Keys that are remembered at most.
    keys_max: Arc<Setting>,
    /// The prefixes of the clients in BCAST mode, as the upstream is asked for them.
    wanted: watch::Sender<ClientPrefixes>,
    sent: AtomicU64,
}

#[derive(Debug, Default)]
struct Inner {
    members: BTreeMap<u64, TrackingClient>,
    table: ReaderTable,
    wanted: PrefixReaders,
}

/// How much is tracked, named as in INFO of Redis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named as INFO names it")]
pub struct TrackerCounts {
    pub tracking_total_keys: usize,
    pub tracking_total_items: usize,
    pub tracking_total_prefixes: usize,
    /// Messages about stale keys that were sent to clients.
    pub invalidations_sent: u64,
}

// === impl Tracker ===

impl Tracker {
    /// A tracker that remembers at most `keys_max` keys.
    pub fn new(clients: Arc<Clients>, keys_max: Arc<Setting>) -> Tracker {
        let (members_count, inner, sent) = Default::default();
        let wanted = watch::Sender::default();
        Tracker { clients, members_count, inner, keys_max, wanted, sent }
    }

    /// The prefixes that BCAST connections have to cover, as a channel of changes.
    pub fn wanted(&self) -> watch::Receiver<ClientPrefixes> {
        self.wanted.subscribe()
    }

    /// Notes that a client is about to turn on BCAST for these prefixes.
    pub fn want(&self, id: u64, prefixes: &[Bytes]) {
        let mut inner = self.inner.lock();
        inner.wanted.add(id, prefixes);
        self.publish(&inner);
    }

    /// Replaces the prefixes below which L1 wants all invalidations.
    pub fn want_for_l1(&self, prefixes: Vec<Bytes>) {
        let mut inner = self.inner.lock();
        inner.wanted.for_l1(prefixes.into_iter().collect());
        self.publish(&inner);
    }

    /// Whether any client is in BCAST mode, or about to be.
    pub fn has_listeners(&self) -> bool {
        self.inner.lock().wanted.len() > 0
    }

    /// Turns tracking on for a client, or changes its terms.
    pub fn join(&self, client: &Arc<Client>, terms: TrackingTerms) {
        let mut inner = self.inner.lock();
        let member = inner.members.entry(client.id).or_insert_with(|| TrackingClient::new(client.clone()));
        member.take(terms);
        self.members_count.store(inner.members.len(), Ordering::Relaxed);
        drop(inner);
        // An invalidation comes here after it raised the generation, and this client looks up after this: one
        // of them sees the other.
        fence(Ordering::SeqCst);
    }

    /// Turns tracking off for a client, or removes one that has left. Its reads are forgotten when the keys
    /// change, or when many clients have left.
    pub fn leave(&self, id: u64) {
        let mut inner = self.inner.lock();
        if let Some(member) = inner.members.remove(&id) {
            member.unmark();
        }
        inner.wanted.remove(id);
        if inner.members.is_empty() {
            inner.table = ReaderTable::default();
        }
        self.members_count.store(inner.members.len(), Ordering::Relaxed);
        self.publish(&inner);
    }

    /// Registers that a client reads these keys. Call it before they are looked up in L1 or sent to a node.
    pub fn reads(&self, id: u64, keys: &[Bytes]) {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        let Some(member) = inner.members.get_mut(&id) else { return };
        member.reads(keys);
        if member.terms.prefixes.is_some() {
            return;
        }
        for key in keys {
            inner.table.add(key, id);
        }
        inner.table.sweep(|id| inner.members.contains_key(&id));
        while inner.table.keys() > self.keys_max.size() {
            let Some((key, ids)) = inner.table.take_any() else { break };
            self.notify_key(&mut inner.members, &key, &ids);
        }
    }

    /// Registers that a client with NOLOOP is about to overwrite these keys.
    pub fn writes(&self, id: u64, keys: &[Bytes]) {
        if let Some(member) = self.inner.lock().members.get_mut(&id) {
            member.writes(keys);
        }
    }

    /// Ends such a write, whose reply has come. If the write failed, an invalidation meanwhile was about a
    /// write of another client.
    pub fn written(&self, id: u64, keys: &[Bytes], failed: bool) {
        let mut inner = self.inner.lock();
        let Inner { members, table, .. } = &mut *inner;
        let Some(member) = members.get_mut(&id) else { return };
        for key in keys {
            match member.written(key) {
                Some(heard) if failed && heard => self.push(member, &member::keys(&[key])),
                // Redis forgets that the client read it before it wrote it.
                Some(_) if !failed => table.remove(key, id),
                _ => {}
            }
        }
    }

    /// Invalidates keys whose reply came without tracking, so the client must not keep it. Call it when the
    /// reply is about to take its place.
    pub fn uncovered(&self, id: u64, keys: &[Bytes]) {
        let mut inner = self.inner.lock();
        if let Some(member) = inner.members.get_mut(&id).filter(|member| member.terms.prefixes.is_none()) {
            self.push(member, &member::keys(keys));
        }
    }

    /// Notifies the clients that read what may be stale now. L1 must not serve it any more by then.
    pub fn invalidate(&self, invalidation: &Invalidation) {
        // The other half of the fence in `join`.
        fence(Ordering::SeqCst);
        if self.members_count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut inner = self.inner.lock();
        let Inner { members, table, .. } = &mut *inner;
        match invalidation {
            Invalidation::Keys(keys) => {
                for key in keys {
                    let ids = table.take(key);
                    self.notify_key(members, key, &ids);
                }
            }
            Invalidation::Slots(slots) => {
                let mut stale: BTreeMap<u64, Vec<Bytes>> = BTreeMap::new();
                for (key, ids) in slots.iter().flat_map(|slot| table.take_slot(*slot)) {
                    for id in ids {
                        stale.entry(id).or_default().push(key.clone());
                    }
                }
                for (id, keys) in stale {
                    if let Some(member) =
                        members.get_mut(&id).filter(|member| member.terms.prefixes.is_none())
                    {
                        self.push(member, &member::keys(&keys));
                    }
                }
            }
            Invalidation::Node | Invalidation::All => {
                *table = ReaderTable::default();
                self.notify_all(members, |member| member.terms.prefixes.is_none());
            }
        }
    }

    /// Forgets all reads, and notifies the clients that all keys may be stale. Returns whether there was any
    /// read.
    pub fn forget_all(&self) -> bool {
        let any = self.inner.lock().table.keys() > 0;
        if any {
            self.invalidate(&Invalidation::Node);
        }
        any
    }

    /// Notifies the clients in BCAST mode that these keys changed.
    pub fn broadcast(&self, keys: &[Bytes]) {
        let mut inner = self.inner.lock();
        for member in inner.members.values_mut() {
            for news in member.news_of(keys) {
                self.push(member, &news);
            }
        }
    }

    /// Notifies the clients in BCAST mode that any key may have changed.
    pub fn broadcast_everything(&self) {
        self.notify_all(&mut self.inner.lock().members, |member| member.terms.prefixes.is_some());
    }

    /// How much is tracked.
    pub fn counts(&self) -> TrackerCounts {
        let inner = self.inner.lock();
        TrackerCounts {
            tracking_total_keys: inner.table.keys(),
            tracking_total_items: inner.table.items(),
            tracking_total_prefixes: inner.wanted.len(),
            invalidations_sent: self.sent.load(Ordering::Relaxed),
        }
    }

    fn notify_key(&self, members: &mut BTreeMap<u64, TrackingClient>, key: &Bytes, ids: &[u64]) {
        let mut news = None;
        for id in ids {
            let Some(member) = members.get_mut(id).filter(|member| member.terms.prefixes.is_none()) else {
                continue;
            };
            if !member.is_own_write(key) {
                let news = news.get_or_insert_with(|| member::keys(&[key]));
                self.push(member, news);
            }
        }
    }

    fn notify_all(
        &self,
        members: &mut BTreeMap<u64, TrackingClient>,
        whom: impl Fn(&TrackingClient) -> bool,
    ) {
        for member in members.values_mut().filter(|member| whom(member)) {
            // Several nodes may report that, and one push is enough for all that it read until now.
            if std::mem::take(&mut member.has_read) {
                self.push(member, &member::everything());
            }
        }
    }

    fn push(&self, member: &mut TrackingClient, news: &member::InvalidationPush) {
        self.sent.fetch_add(1, Ordering::Relaxed);
        member.push(news, &self.clients);
    }

    fn publish(&self, inner: &Inner) {
        let prefixes = inner.wanted.prefixes();
        self.wanted.send_if_modified(|wanted| {
            let news = *wanted != prefixes;
            *wanted = prefixes;
            news
        });
    }
}

#[cfg(test)]
mod tests;
