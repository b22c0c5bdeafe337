//! A client that caches: on which terms, and how it gets its invalidations.

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
    /// The client that gets the news instead, if it is not this one.
    pub redirect: Option<u64>,
    /// BCAST: these prefixes, whoever read the keys. Without it, the keys that it read.
    pub prefixes: Option<BTreeSet<Bytes>>,
    /// NOLOOP: not what it writes itself.
    pub no_loop: bool,
}

/// A client that caches.
#[derive(Debug)]
pub(super) struct TrackingClient {
    client: Arc<Client>,
    pub(super) terms: TrackingTerms,
    /// It may hold something: it read since it was last told to forget everything.
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

/// What is told: the keys as an array, or a null, alone and as a push.
#[derive(Clone, Debug)]
pub(super) struct InvalidationPush {
    keys: Bytes,
    push: Bytes,
}

/// The news that these keys are stale.
pub(super) fn keys<K: AsRef<[u8]>>(
    stale: impl IntoIterator<Item = K, IntoIter: ExactSizeIterator>,
) -> InvalidationPush {
    let stale = stale.into_iter();
    let mut out = BytesMut::new();
    encode::array(&mut out, stale.len());
    for key in stale {
        encode::bulk(&mut out, key.as_ref());
    }
    InvalidationPush::of(out.freeze())
}

/// The news that everything may be stale.
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

    /// New terms. Prefixes are added to those that it has.
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

    /// Others see no more that it caches.
    pub(super) fn unmark(&self) {
        for mark in [ClientFlag::Tracking, ClientFlag::TrackingBroken, ClientFlag::TrackingBroadcast] {
            self.client.mark(mark, false);
        }
        self.client.redirect.store(-1, Ordering::Relaxed);
    }

    /// What these keys are to it in BCAST mode: one piece of news for each of its prefixes.
    pub(super) fn news_of(&self, changed: &[Bytes]) -> Vec<InvalidationPush> {
        let prefixes = self.terms.prefixes.iter().flatten();
        let of = |prefix| changed.iter().filter(|key| key.starts_with(prefix)).collect::<Vec<_>>();
        prefixes.map(|prefix| of(prefix)).filter(|own| !own.is_empty()).map(keys).collect()
    }

    /// It reads these keys: what is told of them from here on is about what it reads, not about what it wrote
    /// before.
    pub(super) fn reads(&mut self, keys: &[Bytes]) {
        self.has_read = true;
        if !self.own_writes.is_empty() {
            for key in keys {
                self.own_writes.remove(key);
            }
        }
    }

    /// A write of these keys begins.
    pub(super) fn writes(&mut self, keys: &[Bytes]) {
        for key in keys {
            self.own_writes.entry(key.clone()).or_default().count += 1;
        }
    }

    /// A write of `key` has ended; whether the key was invalidated meanwhile, unless it was read meanwhile.
    pub(super) fn written(&mut self, key: &Bytes) -> Option<bool> {
        let own = self.own_writes.get_mut(key)?;
        own.count -= 1;
        let heard = own.heard;
        if own.count == 0 {
            self.own_writes.remove(key);
        }
        Some(heard)
    }

    /// Whether an invalidation of `key` is not told, because the client overwrites it at this moment: if
    /// somebody else wrote it before, nothing of that remains.
    pub(super) fn is_own_write(&mut self, key: &Bytes) -> bool {
        let own = self.own_writes.get_mut(key);
        own.map(|own| own.heard = true).is_some()
    }

    /// Puts `news` into the mailbox of whoever gets it.
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
