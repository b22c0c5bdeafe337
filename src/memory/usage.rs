//! What memory is held for, and how often memory was refused or taken back, as INFO shows both.

use std::sync::atomic::{AtomicU64, Ordering};

/// What memory is held for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryUse {
    /// Requests that have arrived in part, or wait to be looked at.
    Input,
    /// Replies and pushes that clients have not taken.
    Output,
    /// Requests queued since MULTI, and prefixes that clients track by.
    Transactions,
    /// What clients are subscribed to.
    Subscriptions,
    /// Commands on their way upstream.
    InFlight,
    /// Replies of nodes that have arrived in part.
    Replies,
    /// Clients, for being connected.
    Clients,
}

/// Each kind with the name that INFO has for it.
pub(super) const KINDS: [(MemoryUse, &str); 7] = [
    (MemoryUse::Input, "memory_input"),
    (MemoryUse::Output, "memory_output"),
    (MemoryUse::Transactions, "memory_transactions"),
    (MemoryUse::Subscriptions, "memory_subscriptions"),
    (MemoryUse::InFlight, "memory_in_flight"),
    (MemoryUse::Replies, "memory_replies"),
    (MemoryUse::Clients, "memory_clients"),
];

/// How often memory was refused or taken back.
#[derive(Debug, Default)]
pub struct Counts {
    /// L1 was emptied to make room.
    pub l1_emptied: AtomicU64,
    /// What clients read that cache was forgotten to make room.
    pub tracking_emptied: AtomicU64,
    /// Requests that were refused.
    pub requests_refused: AtomicU64,
    /// Replies of nodes that were passed over.
    pub replies_refused: AtomicU64,
    /// Clients that were not let in.
    pub clients_refused: AtomicU64,
    /// Clients that were dropped because they made the daemon hold the most.
    pub clients_dropped: AtomicU64,
}

// === impl Counts ===

impl Counts {
    /// Name and value of each, as INFO has them.
    pub fn values(&self) -> impl Iterator<Item = (&'static str, u64)> {
        [
            ("memory_l1_emptied", &self.l1_emptied),
            ("memory_tracking_emptied", &self.tracking_emptied),
            ("memory_requests_refused", &self.requests_refused),
            ("memory_replies_refused", &self.replies_refused),
            ("memory_clients_refused", &self.clients_refused),
            ("memory_clients_dropped", &self.clients_dropped),
        ]
        .into_iter()
        .map(|(name, count)| (name, count.load(Ordering::Relaxed)))
    }
}
