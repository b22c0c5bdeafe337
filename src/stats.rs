//! Counters as plain values. Each worker writes its own; a report adds them up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

/// A place in a count of what there is, until this is dropped.
#[derive(Debug)]
pub struct CountGuard(Arc<AtomicUsize>);

macro_rules! counters {
    ($(#[$of:meta])* $name:ident { $($(#[$meta:meta])* $field:ident,)* }) => {
        $(#[$of])*
        #[derive(Debug, Default)]
        pub struct $name { $($(#[$meta])* pub $field: Counter,)* }

        impl $name {
            /// Name and value of each counter, in the order of their declaration.
            pub fn values(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [$((stringify!($field), self.$field.get()),)*].into_iter()
            }
        }
    };
}

counters! {
    /// What one worker counts. The names are those of the section `# Nearside` of INFO.
    WorkerStats {
        /// Lookups answered from memory.
        l1_hits,
        /// Lookups that went upstream.
        l1_misses,
        /// Of these, entries that were not served before unread bytes of their node were read.
        l1_unseen,
        /// Reads of cacheable commands that did not look: L1 off, own write under way, slot moving.
        l1_bypasses,
        /// Misses of keys that a policy keeps out of L1.
        l1_kept_out,
        /// Misses of keys that are invalidated more often than they are read, and so not kept.
        l1_unworthy,
        /// Keys to which a policy gave a time to live, after a write without one.
        default_ttl_sent,
        /// Of these, keys that may have none: the server refused it, or did not answer.
        default_ttl_failures,
        /// Replies brought in.
        l1_fills,
        /// Fills that were killed by an invalidation, a lost connection or a moved slot while they ran.
        l1_fills_killed,
        /// Misses that joined a fill that was already running.
        l1_coalesced,
        /// Keys dropped because their value changed.
        l1_invalidations,
        /// Times that everything of a node, or all, was dropped.
        l1_flushes,
        /// Entries dropped for room.
        l1_evictions,
        /// Entries dropped because their time came.
        l1_expirations,
        /// Hits that were asked upstream as well and were right.
        shadow_verified,
        /// Those that differed because the key was changing.
        shadow_changed,
        /// Those that could not be asked, or were too many.
        shadow_skipped,
        /// Those that were wrong: the promise was broken.
        shadow_mismatches,
        /// Reads of the warm file that were made.
        warm_reads,
        /// Times that the warm file was written.
        warm_saves,
        /// Times that the warm file could not be read or written.
        warm_failures,
        /// Commands received from clients.
        commands,
        /// Client connections accepted.
        connections_accepted,
        /// Times that no client could be accepted, as when no file descriptor was left.
        accept_failures,
        /// Client connections closed again.
        connections_closed,
        /// Client connections refused because `max_clients` were connected.
        connections_refused,
        /// Clients dropped because they did not read their replies.
        clients_dropped,
        /// Clients closed because they took too long: for a request, to authenticate, or between two
        /// requests.
        clients_timed_out,
        /// Passwords of clients that were wrong.
        auth_failures,
        /// Times that a client had to wait because too many bytes of its requests were in flight.
        client_in_flight_waits,
        /// Clients that sent bytes that are not RESP.
        protocol_errors,
        /// SCAN cursors that were not known any more: the walk began again.
        scans_restarted,
        /// Commands sent upstream.
        upstream_commands,
        /// Redirects followed.
        upstream_redirects,
        /// Redirects that were not followed, because nothing bore them out.
        upstream_redirects_refused,
        /// Commands refused because they exceed a limit of their node.
        upstream_too_large,
        /// Upstream connections that were lost.
        upstream_losses,
        /// Side connections that were opened, beside one on which something large was on its way.
        upstream_side_opened,
        /// Commands refused because too many were in flight.
        upstream_refusals,
        /// Commands that got no reply in time.
        upstream_timeouts,
        /// Times that a client began to wait upstream: a blocking command, WAIT or WAITAOF.
        waits_begun,
        /// Times that such a wait ended.
        waits_ended,
        /// Dedicated connections that were opened.
        dedicated_opened,
        /// Times that one was used again for another session or command.
        dedicated_reused,
        /// Times that none was given because too many are in use.
        dedicated_refusals,
        /// Messages of channels handed to clients, once for each client.
        pubsub_messages,
        /// Connections lost that carried subscriptions.
        pubsub_losses,
        /// Subscriptions made again after they were lost, or elsewhere because their slot moved.
        pubsub_restored,
    }
}

/// The counters of all workers.
#[derive(Clone, Debug)]
pub struct Stats {
    workers: Arc<[Arc<WorkerStats>]>,
}

// === impl Counter ===

impl Counter {
    /// Adds `count`. Safe from any thread.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Adds 1, for a counter that only the calling thread writes: no locked instruction on the hit path.
    #[inline]
    pub fn bump(&self) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// The value now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

// === impl CountGuard ===

impl CountGuard {
    /// Counts one more.
    pub fn more(count: &Arc<AtomicUsize>) -> CountGuard {
        count.fetch_add(1, Ordering::Relaxed);
        CountGuard(count.clone())
    }

    /// Counts one more; `None` when there are `max` already.
    pub fn below(count: &Arc<AtomicUsize>, max: usize) -> Option<CountGuard> {
        let more = |present| (present < max).then_some(present + 1);
        let counted = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        counted.is_ok().then(|| CountGuard(count.clone()))
    }
}

impl Drop for CountGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl Stats ===

impl Stats {
    /// Counters for `workers` workers.
    pub fn new(workers: usize) -> Stats {
        Stats { workers: (0..workers).map(|_| Arc::default()).collect() }
    }

    /// The counters of worker `index`.
    pub fn worker(&self, index: usize) -> Arc<WorkerStats> {
        self.workers[index].clone()
    }

    /// Name and sum over all workers of each counter.
    pub fn totals(&self) -> Vec<(&'static str, u64)> {
        let mut totals: Vec<(&'static str, u64)> = Vec::new();
        for worker in self.workers.iter() {
            for (index, (name, value)) in worker.values().enumerate() {
                match totals.get_mut(index) {
                    Some((_, total)) => *total += value,
                    None => totals.push((name, value)),
                }
            }
        }
        totals
    }

    /// The sum over all workers of the counter of this name; 0 when there is none.
    pub fn total(&self, name: &str) -> u64 {
        self.totals().into_iter().find(|(known, _)| *known == name).map_or(0, |(_, value)| value)
    }
}
