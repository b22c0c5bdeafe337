//! What all workers share of the upstream.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::bcast::Broadcast;
use super::conn::connect_limiter::ConnectLimiter;
use super::conn::dns::DnsResolver;
use super::conn::proxy_chain::ProxyChain;
use super::rights::Rights;
use super::status::StatusBoard;
use super::topology::slots::SlotTable;
use crate::memory::MemoryCeiling;

/// What all workers share of the upstream.
#[derive(Debug, Default)]
pub struct SharedUpstream {
    /// The owner of each slot.
    pub table: SlotTable,
    /// The state of each connection.
    pub status: StatusBoard,
    /// Counts of the dedicated connections.
    pub dedicated: DedicatedCounts,
    /// The lookups of host names.
    pub names: DnsResolver,
    /// The memory that everything in flight may take.
    pub ceiling: Arc<MemoryCeiling>,
    /// What the nodes refuse to the user that the daemon is upstream.
    pub rights: Rights,
    /// BCAST tracking: the prefixes of which every change is reported.
    pub broadcast: Broadcast,
    /// Limits how often workers try to connect to nodes.
    pub connect_limiter: ConnectLimiter,
    /// The name of this process, and the nearsides behind it.
    pub proxy_chain: Arc<ProxyChain>,
    /// Whether a client caches what it reads: then nodes are asked to track even when L1 is off.
    pub tracking_wanted: AtomicBool,
}

/// How many dedicated connections there are, on all workers.
#[derive(Debug, Default)]
pub struct DedicatedCounts {
    /// Connections that a session holds.
    pub(super) in_use: Arc<AtomicUsize>,
    /// Open connections, idle ones too.
    pub(super) open: Arc<AtomicUsize>,
}

// === impl SharedUpstream ===

impl SharedUpstream {
    /// Asks for a refresh of the topology after a failed attempt to connect, which may be due to a change of
    /// it. Does nothing when a failure did so a moment ago.
    pub(super) fn attempt_failed(&self) {
        if self.connect_limiter.may_refresh() {
            self.table.ask_refresh();
        }
    }
}

// === impl DedicatedCounts ===

impl DedicatedCounts {
    /// Open connections, idle ones too.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}
