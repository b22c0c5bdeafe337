//! Who is connected: every client of the daemon, whichever worker serves it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::mailbox::Mailbox;
use crate::wait::Wait;

/// What others may know of a client, and how they reach its session.
#[derive(Debug)]
pub struct Client {
    /// Unique in this process.
    pub id: u64,
    /// What reaches its session from elsewhere.
    pub mailbox: Mailbox,
    /// Whether it waits for something upstream.
    pub wait: Arc<Wait>,
}

/// The clients of the daemon.
#[derive(Debug, Default)]
pub struct Clients {
    connected: Mutex<BTreeMap<u64, Arc<Client>>>,
    latest_id: AtomicU64,
}

/// A client that is listed until this is dropped.
#[derive(Debug)]
pub struct Listed {
    clients: Arc<Clients>,
    client: Arc<Client>,
}

// === impl Clients ===

impl Clients {
    /// Lists a new client, whose mailbox holds so many bytes.
    pub fn enter(self: &Arc<Clients>, mailbox_bytes_max: usize) -> Listed {
        let id = self.latest_id.fetch_add(1, Ordering::Relaxed) + 1;
        let client = Arc::new(Client { id, mailbox: Mailbox::new(mailbox_bytes_max), wait: Arc::default() });
        self.connected().insert(id, client.clone());
        Listed { clients: self.clone(), client }
    }

    /// The client of this id, if it is connected.
    pub fn get(&self, id: u64) -> Option<Arc<Client>> {
        self.connected().get(&id).cloned()
    }

    fn connected(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Client>>> {
        self.connected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Listed ===

impl std::ops::Deref for Listed {
    type Target = Arc<Client>;

    fn deref(&self) -> &Arc<Client> {
        &self.client
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.clients.connected().remove(&self.client.id);
    }
}
