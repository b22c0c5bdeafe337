//! The policies that hold now: read by all workers on a miss or a write, replaced as a whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::RwLock;

use super::{CacheTerms, Policies, Uncached};

/// The policies that hold now.
#[derive(Debug)]
pub struct CurrentPolicies {
    /// Whether there are any: without policies a miss reads only this.
    exist: AtomicBool,
    /// Whether a policy has `tracking = "broadcast"`.
    broadcast: AtomicBool,
    /// Whether a policy has a default time to live: if none has, a write reads only this.
    give_ttl: AtomicBool,
    policies: RwLock<Arc<Policies>>,
}

// === impl CurrentPolicies ===

impl CurrentPolicies {
    /// The policies that the daemon begins with.
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

    /// Replaces the policies; the scopes stay. Returns whether they differ. The caller drops all of L1 right
    /// after that: a fill under the former policies has noted its generation before, so it cannot commit any
    /// more.
    pub fn replace(&self, policies: Policies) -> bool {
        let mut current = self.policies.write();
        let policies = policies.within(current.scopes().clone());
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

    /// Whether a policy has `tracking = "broadcast"`.
    #[inline]
    pub fn broadcast(&self) -> bool {
        self.broadcast.load(Ordering::Relaxed)
    }

    /// Whether any has a default time to live.
    #[inline]
    pub fn give_ttl(&self) -> bool {
        self.give_ttl.load(Ordering::Relaxed)
    }

    /// The prefixes with `tracking = "broadcast"`.
    pub fn broadcast_prefixes(&self) -> Vec<Bytes> {
        self.get().broadcast().collect()
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
