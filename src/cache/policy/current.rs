//! The policies that hold now: read by all workers on a miss or a write, replaced as a whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::RwLock;

use super::{CacheTerms, Policies, Uncached};

/// The policies that hold now.
#[derive(Debug)]
pub struct CurrentPolicies {
    /// Whether there are any: without them a miss pays this look.
    exist: AtomicBool,
    /// Whether one of them wants the server to tell of every change.
    broadcast: AtomicBool,
    /// Whether any has a default time to live: if none has, a write pays this look.
    give_ttl: AtomicBool,
    policies: RwLock<Arc<Policies>>,
}

// === impl CurrentPolicies ===

impl CurrentPolicies {
    /// Begins with these.
    pub fn new(policies: Policies) -> CurrentPolicies {
        CurrentPolicies {
            exist: (!policies.is_empty()).into(),
            broadcast: policies.broadcasts().into(),
            give_ttl: policies.give_ttl().into(),
            policies: RwLock::new(Arc::new(policies)),
        }
    }

    /// All of them.
    pub fn get(&self) -> Arc<Policies> {
        self.policies.read().clone()
    }

    /// Puts others in their place; whether they differ. Whoever does this drops all of L1 right after it: a
    /// fill that went by the former ones has noted its generation before it looked, and does not commit
    /// any more.
    pub fn replace(&self, policies: Policies) -> bool {
        let mut current = self.policies.write();
        let differ = **current != policies;
        self.exist.store(!policies.is_empty(), Ordering::Relaxed);
        self.broadcast.store(policies.broadcasts(), Ordering::Relaxed);
        self.give_ttl.store(policies.give_ttl(), Ordering::Relaxed);
        *current = Arc::new(policies);
        differ
    }

    /// Whether there are any.
    #[inline]
    pub fn exist(&self) -> bool {
        self.exist.load(Ordering::Relaxed)
    }

    /// Whether the server is to tell of every change below any prefix.
    #[inline]
    pub fn broadcast(&self) -> bool {
        self.broadcast.load(Ordering::Relaxed)
    }

    /// Whether any has a default time to live.
    #[inline]
    pub fn give_ttl(&self) -> bool {
        self.give_ttl.load(Ordering::Relaxed)
    }

    /// The prefixes below which the server is to tell of every change.
    pub fn broadcast_prefixes(&self) -> Vec<Bytes> {
        self.get().broadcast().map(Bytes::copy_from_slice).collect()
    }

    /// On which terms a reply about `key` is kept, or why it is not.
    #[inline]
    pub fn terms(&self, key: &[u8]) -> Result<CacheTerms, Uncached> {
        if !self.exist() {
            return Ok(CacheTerms::default());
        }
        let policies = self.policies.read();
        let policy = policies.of(key);
        policy.uncached().map_or(Ok(policy.terms), Err)
    }
}
