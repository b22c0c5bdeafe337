//! A client with tracking on: its terms, and how it gets its invalidations.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};

use crate::clients::mailbox::Mail;
use crate::clients::{Client, ClientFlag, Clients};
use crate::protocol::resp::Resp;
use crate::protocol::resp::encode;

/// What a client asked for when it turned tracking on.
#[derive(Clone, Debug, Default)]
pub struct TrackingTerms {
    /// REDIRECT: the client that gets the invalidations instead of this one.
    pub redirect: Option<u64>,
    /// BCAST: the prefixes of which it gets all invalidations; without BCAST it gets those of keys that it
    /// read.
    pub prefixes: Option<BTreeSet<Bytes>>,
    /// NOLOOP: it gets no invalidations of its own writes.
    pub no_loop: bool,
}

/// A client that caches.
#[derive(Debug)]
pub(super) struct TrackingClient {
    client: Arc<Client>,
    pub(super) terms: TrackingTerms,
    /// Whether it read a key since it was last notified that all keys may be stale.
    pub(super) has_read: bool,
    /// Its unanswered writes that leave nothing of what their keys held before, by key.
    own_writes: HashMap<Bytes, PendingOwnWrite>,
}

/// A key that its client overwrites at this moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PendingOwnWrite {
    count: u32,
    /// The key was invalidated meanwhile.
    heard: bool,
}

/// An invalidation as bytes: the keys as an array, or a null for all; without and with the head of a push.
#[derive(Clone, Debug)]
pub(super) struct InvalidationPush {
    keys: Bytes,
    push: Bytes,
}

/// The invalidation of these keys.
pub(super) fn keys<K: AsRef<[u8]>>(stale: &[K]) -> InvalidationPush {
    let mut out = BytesMut::new();
    encode::strings(&mut out, stale);
    InvalidationPush::of(out.freeze())
}

/// The invalidation of all keys.
pub(super) fn everything() -> InvalidationPush {
    InvalidationPush::of(Bytes::from_static(encode::null_reply(Resp::Three)))
}

// === impl InvalidationPush ===

impl InvalidationPush {
    fn of(keys: Bytes) -> InvalidationPush {
        let push = [b">2\r\n$10\r\ninvalidate\r\n", &keys[..]].concat().into();
        InvalidationPush { keys, push }
    }
}

// === impl TrackingClient ===

impl TrackingClient {
    pub(super) fn new(client: Arc<Client>) -> TrackingClient {
        let (terms, own_writes) = Default::default();
        TrackingClient { client, terms, has_read: true, own_writes }
    }

    /// Takes new terms. Prefixes are added to those that it has.
    pub(super) fn take(&mut self, mut terms: TrackingTerms) {
        if let (Some(prefixes), Some(former)) = (&mut terms.prefixes, self.terms.prefixes.take()) {
            prefixes.extend(former);
        }
        self.client.mark(ClientFlag::Tracking, true);
        self.client.mark(ClientFlag::TrackingBroken, false);
        self.client.mark(ClientFlag::TrackingBroadcast, terms.prefixes.is_some());
        self.client.redirect.store(terms.redirect.map_or(0, |id| id as i64), Ordering::Relaxed);
        self.terms = terms;
    }

    /// Removes the flags of tracking that other clients see.
    pub(super) fn unmark(&self) {
        for mark in [ClientFlag::Tracking, ClientFlag::TrackingBroken, ClientFlag::TrackingBroadcast] {
            self.client.mark(mark, false);
        }
        self.client.redirect.store(-1, Ordering::Relaxed);
    }

    /// The invalidations of these keys in BCAST mode: one for each of its prefixes that matches.
    pub(super) fn news_of(&self, changed: &[Bytes]) -> Vec<InvalidationPush> {
        let prefixes = self.terms.prefixes.iter().flatten();
        let of = |prefix| changed.iter().filter(|key| key.starts_with(prefix)).collect::<Vec<_>>();
        prefixes.map(|prefix| of(prefix)).filter(|own| !own.is_empty()).map(|own| keys(&own)).collect()
    }

    /// Notes that it reads these keys: later invalidations of them are about this read, not about its earlier
    /// write.
    pub(super) fn reads(&mut self, keys: &[Bytes]) {
        self.has_read = true;
        if !self.own_writes.is_empty() {
            for key in keys {
                self.own_writes.remove(key);
            }
        }
    }

    /// Notes that it begins to write these keys.
    pub(super) fn writes(&mut self, keys: &[Bytes]) {
        for key in keys {
            self.own_writes.entry(key.clone()).or_default().count += 1;
        }
    }

    /// Ends a write of `key`. Returns whether the key was invalidated meanwhile; `None` if it was read
    /// meanwhile.
    pub(super) fn written(&mut self, key: &Bytes) -> Option<bool> {
        let own = self.own_writes.get_mut(key)?;
        own.count -= 1;
        let heard = own.heard;
        if own.count == 0 {
            self.own_writes.remove(key);
        }
        Some(heard)
    }

    /// Whether an invalidation of `key` is not sent, because the client overwrites the key at this moment:
    /// nothing remains of an earlier write of another client.
    pub(super) fn is_own_write(&mut self, key: &Bytes) -> bool {
        let own = self.own_writes.get_mut(key);
        own.map(|own| own.heard = true).is_some()
    }

    /// Puts `news` into the mailbox of this client, or of the one that it redirects to.
    pub(super) fn push(&mut self, news: &InvalidationPush, clients: &Clients) {
        let Some(redirect) = self.terms.redirect else {
            return self.client.mailbox.put(Mail::BehindInResp3(news.push.clone()));
        };
        match clients.get(redirect) {
            Some(target) => target.mailbox.put(Mail::Redirected(news.keys.clone())),
            None => {
                self.client.mark(ClientFlag::TrackingBroken, true);
                let push = format!(">2\r\n$21\r\ntracking-redir-broken\r\n:{redirect}\r\n");
                self.client.mailbox.put(Mail::BehindInResp3(push.into()));
            }
        }
    }
}
