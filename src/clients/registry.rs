//! The registry of all clients of the daemon, on all workers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};

use crate::clients::block_state::Wait;
use crate::clients::mailbox::Mailbox;
use crate::clock::{self, Nanos};
use crate::namespace::Namespace;

/// Where a client is, and where it connected to.
#[derive(Clone, Debug, Default)]
pub struct Endpoints {
    /// The address of the client; `path:0` when it came over a Unix socket, as in Redis.
    pub address: String,
    /// The address that it connected to.
    pub local_address: String,
    /// The path of the Unix socket that it came over.
    pub unix: Option<String>,
    /// The number of its socket in this process.
    pub descriptor: i32,
    /// The namespace of the listener, which the client cannot leave.
    pub namespace: Option<Arc<Namespace>>,
}

/// What other sessions may know of a client, and how they reach its session.
///
/// What changes from request to request is written by the client's own session alone, without a lock.
#[derive(Debug)]
pub struct Client {
    /// Unique in this process.
    pub id: u64,
    /// Where it is.
    pub endpoints: Endpoints,
    /// When it connected.
    pub connected_at: Nanos,
    /// Its mailbox.
    pub mailbox: Mailbox,
    /// Its blocking command, if it has one.
    pub wait: Arc<Wait>,
    /// Its names.
    names: Mutex<ClientNames>,
    last_command: AtomicUsize,
    last_request_at: AtomicU64,
    marks: AtomicU32,
    /// Whether it speaks RESP3.
    pub speaks_resp3: AtomicBool,
    /// The number of the database that it has selected.
    pub database: AtomicU32,
    /// The channels that it is subscribed to.
    pub channels: AtomicUsize,
    /// The patterns that it is subscribed to.
    pub patterns: AtomicUsize,
    /// The shard channels that it is subscribed to.
    pub shard_channels: AtomicUsize,
    queued: AtomicI64,
    /// The client that gets its invalidations instead; 0 for none, -1 when tracking is off.
    pub redirect: AtomicI64,
    /// The number of keys that it watches; the session that watches them writes it.
    pub watched: Arc<AtomicUsize>,
    /// The bytes that it makes the daemon hold, as of the last time that this changed.
    pub held: AtomicUsize,
    /// The bytes that its subscriptions take beside these.
    pub held_by_subscriptions: AtomicUsize,
    /// The bytes of replies that it has not read, as of the last time that something was sent to it.
    pub unread: AtomicUsize,
}

/// The names that a client gave itself.
#[derive(Clone, Debug, Default)]
pub struct ClientNames {
    /// CLIENT SETNAME.
    pub client: Vec<u8>,
    /// CLIENT SETINFO LIB-NAME.
    pub library: Vec<u8>,
    /// CLIENT SETINFO LIB-VER.
    pub library_version: Vec<u8>,
}

/// What CLIENT LIST says of a client with one letter, in the order in which Redis writes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientFlag {
    /// Follows all commands.
    Monitor,
    /// Is subscribed to something.
    PubSub,
    /// Is between MULTI and EXEC.
    Transaction,
    /// Waits in a blocking command. Never set: [`Client::wait`] knows.
    Blocked,
    /// Gets the invalidations of the keys that it read.
    Tracking,
    /// Wants its invalidations sent to a client that has gone.
    TrackingBroken,
    /// Gets the invalidations of all keys with its prefixes.
    TrackingBroadcast,
    /// Came over a Unix socket.
    Unix,
    /// CLIENT NO-EVICT.
    NoEvict,
    /// CLIENT NO-TOUCH.
    NoTouch,
    /// CLIENT CAPA REDIRECT, which has no letter.
    CanRedirect,
}

const LETTERS: [(ClientFlag, char); 10] = [
    (ClientFlag::Monitor, 'O'),
    (ClientFlag::PubSub, 'P'),
    (ClientFlag::Transaction, 'x'),
    (ClientFlag::Blocked, 'b'),
    (ClientFlag::Tracking, 't'),
    (ClientFlag::TrackingBroken, 'R'),
    (ClientFlag::TrackingBroadcast, 'B'),
    (ClientFlag::Unix, 'U'),
    (ClientFlag::NoEvict, 'e'),
    (ClientFlag::NoTouch, 'T'),
];

/// The clients of the daemon.
#[derive(Debug, Default)]
pub struct Clients {
    connected: Mutex<BTreeMap<u64, Arc<Client>>>,
    latest_id: AtomicU64,
}

/// A client that is in the registry until this is dropped.
#[derive(Debug)]
pub struct ClientGuard {
    clients: Arc<Clients>,
    client: Arc<Client>,
}

// === impl Clients ===

impl Clients {
    /// Adds a new client, whose mailbox holds at most `mailbox_bytes_max` bytes.
    pub fn enter(self: &Arc<Clients>, endpoints: Endpoints, mailbox_bytes_max: usize) -> ClientGuard {
        let id = self.latest_id.fetch_add(1, Ordering::Relaxed) + 1;
        let client = Arc::new(Client::new(id, endpoints, mailbox_bytes_max));
        self.connected.lock().insert(id, client.clone());
        ClientGuard { clients: self.clone(), client }
    }

    /// The client of this id, if it is connected.
    pub fn get(&self, id: u64) -> Option<Arc<Client>> {
        self.connected.lock().get(&id).cloned()
    }

    /// All clients, in the order in which they came.
    pub fn all(&self) -> Vec<Arc<Client>> {
        self.connected.lock().values().cloned().collect()
    }
}

// === impl Client ===

impl Client {
    fn new(id: u64, endpoints: Endpoints, mailbox_bytes_max: usize) -> Client {
        let now = clock::now();
        let marks = if endpoints.unix.is_some() { ClientFlag::Unix.bit() } else { 0 };
        Client {
            id,
            endpoints,
            connected_at: now,
            mailbox: Mailbox::new(mailbox_bytes_max),
            wait: Arc::default(),
            names: Mutex::default(),
            last_command: AtomicUsize::new(0),
            last_request_at: AtomicU64::new(now),
            marks: AtomicU32::new(marks),
            speaks_resp3: AtomicBool::new(false),
            database: AtomicU32::new(0),
            channels: AtomicUsize::new(0),
            patterns: AtomicUsize::new(0),
            shard_channels: AtomicUsize::new(0),
            queued: AtomicI64::new(-1),
            redirect: AtomicI64::new(-1),
            watched: Arc::default(),
            held: AtomicUsize::new(0),
            held_by_subscriptions: AtomicUsize::new(0),
            unread: AtomicUsize::new(0),
        }
    }

    /// Whether the client may know of a client of the listener of `namespace`. A client in no namespace sees
    /// all.
    pub fn sees(&self, namespace: Option<&Arc<Namespace>>) -> bool {
        let own = self.endpoints.namespace.as_ref();
        own.is_none() || own == namespace
    }

    /// Notes a request: the number of its command (0 when it is none that is known), and when it was looked
    /// at.
    #[inline]
    pub fn note(&self, command: usize, now: Nanos) {
        self.last_command.store(command, Ordering::Relaxed);
        self.last_request_at.store(now, Ordering::Relaxed);
    }

    /// The number of its last command, and when that was looked at.
    pub fn last_request(&self) -> (usize, Nanos) {
        (self.last_command.load(Ordering::Relaxed), self.last_request_at.load(Ordering::Relaxed))
    }

    /// The bytes that it makes the daemon hold.
    pub fn holds(&self) -> usize {
        self.held.load(Ordering::Relaxed) + self.held_by_subscriptions.load(Ordering::Relaxed)
    }

    /// What it holds is on its way back.
    pub fn holds_nothing(&self) {
        self.held.store(0, Ordering::Relaxed);
        self.held_by_subscriptions.store(0, Ordering::Relaxed);
    }

    /// Notes how many commands it has queued since MULTI, or that it is in no transaction.
    pub fn note_queued(&self, count: Option<usize>) {
        let count = count.map_or(-1, |count| i64::try_from(count).unwrap_or(i64::MAX));
        self.queued.store(count, Ordering::Relaxed);
        self.mark(ClientFlag::Transaction, count >= 0);
    }

    /// The commands that it has queued since MULTI; -1 outside of a transaction.
    pub fn queued(&self) -> i64 {
        self.queued.load(Ordering::Relaxed)
    }

    /// Its names.
    pub fn names(&self) -> MutexGuard<'_, ClientNames> {
        self.names.lock()
    }

    /// Sets or clears a flag.
    pub fn mark(&self, mark: ClientFlag, on: bool) {
        if on {
            self.marks.fetch_or(mark.bit(), Ordering::Relaxed);
        } else {
            self.marks.fetch_and(!mark.bit(), Ordering::Relaxed);
        }
    }

    /// Whether a flag is set.
    pub fn has(&self, mark: ClientFlag) -> bool {
        match mark {
            ClientFlag::Blocked => self.wait.is_waiting(),
            mark => self.marks.load(Ordering::Relaxed) & mark.bit() != 0,
        }
    }

    /// Its flags as Redis writes them: `N` when there is none.
    pub fn letters(&self) -> String {
        let letters: String =
            LETTERS.iter().filter(|(mark, _)| self.has(*mark)).map(|(_, letter)| *letter).collect();
        if letters.is_empty() { "N".to_owned() } else { letters }
    }
}

// === impl ClientFlag ===

impl ClientFlag {
    fn bit(self) -> u32 {
        1 << self as u32
    }
}

// === impl ClientGuard ===

impl std::ops::Deref for ClientGuard {
    type Target = Arc<Client>;

    fn deref(&self) -> &Arc<Client> {
        &self.client
    }
}

impl Drop for ClientGuard {
    fn drop(&mut self) {
        self.clients.connected.lock().remove(&self.client.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_written_in_the_order_of_redis() {
        let endpoints = Endpoints { unix: Some("/run/socket".to_owned()), ..Endpoints::default() };
        let client = Client::new(1, endpoints, 0);
        assert_eq!(client.letters(), "U");
        client.mark(ClientFlag::NoEvict, true);
        client.note_queued(Some(0));
        assert_eq!(client.letters(), "xUe");
        client.note_queued(None);
        let waiting = client.wait.begin();
        assert_eq!(client.letters(), "bUe");
        drop(waiting);
        for mark in [ClientFlag::NoEvict, ClientFlag::Unix] {
            client.mark(mark, false);
        }
        assert_eq!(client.letters(), "N");
    }
}
