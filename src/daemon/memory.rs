//! Keeps the daemon under its ceiling: measures its real size, empties L1 and the memory of clients that
//! cache, drops the client that holds the most, and has the allocator give back unused memory.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time;

use crate::cache::SharedCache;
use crate::clients::Clients;
use crate::clients::tracker::Tracker;
use crate::invalidation::Invalidation;
use crate::memory::{Allocator, MemoryCeiling};
use crate::stats::WorkerStats;

/// How often the real size is measured, and how often while memory is scarce.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
const LOOK_INTERVAL_SCARCE: Duration = Duration::from_millis(10);

/// Measurements from one decay of the allocator to the next: a decay at least every second.
const LOOKS_PER_DECAY: u32 = 10;

/// Keeps the daemon under its ceiling.
pub(super) struct MemoryKeeper<R> {
    pub(super) ceiling: Arc<MemoryCeiling>,
    /// How many bytes are in use.
    pub(super) read: R,
    pub(super) allocator: Allocator,
    pub(super) cache: Option<Arc<SharedCache>>,
    pub(super) clients: Arc<Clients>,
    pub(super) tracker: Arc<Tracker>,
    pub(super) stats: Arc<WorkerStats>,
    /// Bytes; a client that holds less is not dropped now.
    pub(super) floor: usize,
}

// === impl MemoryKeeper ===

impl<R: Fn() -> usize> MemoryKeeper<R> {
    /// Keeps it so until the future is dropped.
    pub(super) async fn keep(mut self) {
        let mut looks = 0_u32;
        loop {
            self.check();
            looks = looks.wrapping_add(1);
            if looks.is_multiple_of(LOOKS_PER_DECAY) {
                (self.allocator.decay)();
            }
            if self.ceiling.is_pressed() {
                time::sleep(LOOK_INTERVAL_SCARCE).await;
            } else {
                tokio::select! { () = time::sleep(LOOK_INTERVAL) => (), () = self.ceiling.wanted() => () }
            }
        }
    }

    /// Looks once, and makes room in the order that the documents give.
    fn check(&mut self) {
        self.measure();
        let pressure = self.ceiling.update_pressure();
        if pressure.on {
            if pressure.news {
                self.empty();
            }
            // What lies unused is in the real size as well.
            (self.allocator.purge)();
            self.measure();
            if self.ceiling.is_over() && self.tracker.forget_all() {
                self.ceiling.counts.tracking_emptied.fetch_add(1, Ordering::Relaxed);
                (self.allocator.purge)();
                self.measure();
            }
            if self.ceiling.is_over() {
                return self.drop_largest();
            }
        } else if pressure.news {
            self.fill();
        }
        self.floor = self.ceiling.large_share();
    }

    fn measure(&self) {
        let spare = match &self.cache {
            Some(cache) if !self.ceiling.is_pressed() => cache.bytes(),
            _ => 0,
        };
        let spare = usize::try_from(spare).unwrap_or(usize::MAX);
        self.ceiling.note_size(&self.read, spare);
    }

    fn empty(&self) {
        self.ceiling.counts.l1_emptied.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(
            used = self.ceiling.used(),
            memory_max = self.ceiling.max(),
            "memory_max is nearly used up: L1 is emptied, and large requests are refused"
        );
        if let Some(cache) = &self.cache {
            cache.pause_inserts(true);
            cache.invalidate(&Invalidation::All, &self.stats);
        }
    }

    fn fill(&self) {
        tracing::info!(used = self.ceiling.used(), "memory is no longer scarce: L1 is filled again");
        if let Some(cache) = &self.cache {
            cache.pause_inserts(false);
        }
        // Clients that were not read are read again.
        self.clients.all().iter().for_each(|client| client.mailbox.wake());
    }

    /// Drops the client that makes the daemon hold the most, if that is much. Each look that drops none
    /// halves what counts as much: very many clients that each hold little have to go too, and no client goes
    /// for a little while others hold much.
    fn drop_largest(&mut self) {
        let largest = self.clients.all().into_iter().max_by_key(|client| client.holds());
        let Some(client) = largest else { return };
        if client.holds() > self.floor {
            self.ceiling.counts.clients_dropped.fetch_add(1, Ordering::Relaxed);
            // It is not dropped twice: from here on its memory counts as given back.
            client.holds_nothing();
            self.ceiling.note_leaving();
            client.mailbox.end("memory_max: it held the most");
        } else {
            self.floor = (self.floor / 2).max(self.ceiling.exempt_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::{Context, Waker};

    use super::*;
    use crate::clients::{ClientGuard, Endpoints};
    use crate::memory::MemoryUse;
    use crate::settings::Setting;

    const MAX: usize = 64 << 20;

    #[test]
    fn who_holds_the_most_goes_first_and_who_holds_little_last() {
        let clients = Arc::<Clients>::default();
        let enter = |held: usize| {
            let client = clients.enter(Endpoints::default(), 0);
            client.held.store(held, Ordering::Relaxed);
            client
        };
        let (some, most, little) = (enter(MAX / 8), enter(MAX / 4), enter(1_000));
        let cx = Context::from_waker(Waker::noop());
        let is_told =
            |client: &ClientGuard| client.mailbox.take(&cx).is_some_and(|taken| taken.end.is_some());
        let used = AtomicUsize::new(MAX);
        let ceiling = Arc::new(MemoryCeiling::new(Some(MAX)));
        let mut keeper = MemoryKeeper {
            floor: ceiling.large_share(),
            ceiling: ceiling.clone(),
            read: || used.load(Ordering::Relaxed),
            allocator: Allocator::default(),
            cache: None,
            clients: clients.clone(),
            tracker: Arc::new(Tracker::new(clients.clone(), Arc::new(Setting::new(0)))),
            stats: Arc::default(),
        };
        used.store(1 << 20, Ordering::Relaxed);
        keeper.check();
        let mut output = ceiling.hold(MemoryUse::Output);
        output.set(MAX / 4);
        used.store(MAX, Ordering::Relaxed);
        keeper.check();
        assert!(is_told(&most) && !is_told(&some) && !is_told(&little));
        drop(output);
        assert!(ceiling.used() >= MAX, "what it held is nobody's before it is seen to be free");
        keeper.check();
        assert!(is_told(&some));
        for _ in 0..100 {
            keeper.check();
        }
        assert!(!is_told(&little), "it would bring nothing");
        assert_eq!(ceiling.counts.clients_dropped.load(Ordering::Relaxed), 2);
        let other = enter(MAX / 4);
        used.store(MAX / 2, Ordering::Relaxed);
        keeper.check();
        assert!(!is_told(&other) && !ceiling.is_pressed());
    }
}
