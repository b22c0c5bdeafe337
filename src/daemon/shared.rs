//! The parts that all workers of a daemon share, and the tasks for all of them. They are built from the
//! configuration before there is a socket or a thread.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::memory::MemoryKeeper;
use super::options;
use super::relogin::Logins;
use super::warm::Warm;
use crate::cache::SharedCache;
use crate::cache::policy::{CurrentPolicies, KeyScopes, Policies};
use crate::clients::Clients;
use crate::clients::tracker::Tracker;
use crate::clock;
use crate::commands::{ServerReport, ServerState};
use crate::config::{Config, SettingValues};
use crate::drain::Drain;
use crate::memory::{Allocator, MemoryCeiling, Meter};
use crate::namespace::Namespaces;
use crate::net::listener::ClientLimit;
use crate::protocol::key::Slot;
use crate::pubsub::Hub;
use crate::router::RouterMemory;
use crate::router::coherence::canary::Canary;
use crate::router::coherence::invalidator::Invalidator;
use crate::stats::Stats;
use crate::upstream::bcast;
use crate::upstream::topology::{self, SlotMap};
use crate::upstream::{SharedUpstream, Subscriptions, UpstreamOptions};

/// What all workers share.
#[derive(Debug)]
pub struct Shared {
    /// The settings that the parts of each worker begin with.
    pub(super) values: SettingValues,
    /// Lets clients in.
    pub admission: Arc<ClientLimit>,
    /// Tells all when to stop answering.
    pub drain: Drain,
    /// Tells all workers to end.
    pub(super) stop: CancellationToken,
    /// All counters.
    pub stats: Stats,
    /// What all of it may hold.
    pub ceiling: Arc<MemoryCeiling>,
    /// L1; `None` when it is off.
    pub cache: Option<Arc<SharedCache>>,
    pub(super) policies: Arc<CurrentPolicies>,
    pub(super) namespaces: Arc<Namespaces>,
    /// The file with the names of hot reads, if there is to be one.
    pub(super) warm: Option<Warm>,
    pub(super) logins: Logins,
    pub(super) upstream_options: UpstreamOptions,
    pub(super) upstream: Arc<SharedUpstream>,
    pub(super) router_memory: Arc<RouterMemory>,
    canary: Option<Arc<Canary>>,
    pub(super) pubsub: Arc<Hub>,
    pub(super) clients: Arc<Clients>,
    pub(super) tracker: Arc<Tracker>,
    pub(super) server: Arc<ServerState>,
    pub(super) report: Arc<ServerReport>,
}

// === impl Shared ===

impl Shared {
    /// The shared state of a daemon with this configuration that listens on these TCP addresses.
    pub fn new(config: &Config, tcp: &[SocketAddr]) -> Shared {
        let values = &config.values;
        let memory_max = &values.memory_max;
        let stats = Stats::new(values.workers);
        let ceiling = Arc::new(MemoryCeiling::new(memory_max.max).with_small(memory_max.small_bytes));
        let meter = Meter::new(memory_max.limit.as_ref());
        // What is announced before the first look is judged too.
        ceiling.note_size(|| meter.read(), 0);
        let upstream = Arc::new(SharedUpstream { ceiling: ceiling.clone(), ..SharedUpstream::default() });
        let cache = options::cache_limits(values, &ceiling)
            .map(|limits| Arc::new(SharedCache::new(limits, stats.worker(0))));
        let warm = cache.clone().and_then(|cache| options::warm(values, cache, stats.worker(0)));
        let canary = values.canary_interval.filter(|_| cache.is_some());
        let canary = canary.map(|interval| Arc::new(Canary::new(interval, values.lease)));
        let logins = Logins::new(values);
        let upstream_options = options::upstream(values, &logins);
        let names_max = values.pubsub_names_max;
        let feed = Subscriptions::new(upstream_options.clone(), upstream.clone(), names_max, stats.worker(0));
        let pubsub = Hub::new(feed, values.pubsub_output_max, stats.worker(0));
        let clients = Arc::<Clients>::default();
        let settings = Arc::new(options::settings(values));
        let tracker = Arc::new(Tracker::new(clients.clone(), settings.tracking_keys_max.clone()));
        let report = Arc::new(ServerReport {
            stats: stats.clone(),
            cache: cache.clone(),
            ceiling: ceiling.clone(),
            upstream: upstream.clone(),
            pubsub: pubsub.clone(),
            tracker: tracker.clone(),
            workers: values.workers,
            started_at: clock::now(),
            run_id: (0..40).map(|_| fastrand::digit(16)).collect(),
            tcp: tcp.to_vec(),
            allow_remote: values.allow_remote,
            forwards_config: values.server_config,
            unix: values.unix.clone().map(|path| (path, values.unix_mode)),
            topology_refresh_interval: values.topology_refresh_interval,
            lease: values.lease,
            canary: canary.clone(),
        });
        let policies = Arc::new(CurrentPolicies::new(
            Policies::new(config.policies.clone()).within(KeyScopes::new(config.namespaces.prefixes())),
        ));
        if let Some(cache) = &cache {
            cache.set_separate_invalidation_stream(policies.broadcast());
            tracker.want_for_l1(policies.broadcast_prefixes());
        }
        let admission = ClientLimit::new(
            settings.max_clients.clone(),
            settings.remote_clients.clone(),
            ceiling.clone(),
            stats.worker(0),
        );
        let server = ServerState::new(
            settings,
            options::password(values),
            values.deny_commands.clone(),
            values.workers,
            config.typed.clone(),
            memory_max.max,
        );
        let router_memory = RouterMemory::new(options::memory_limits(values), server.pause.clone());
        Shared {
            values: values.clone(),
            admission: Arc::new(admission),
            drain: Drain::new(),
            stop: CancellationToken::new(),
            stats,
            ceiling,
            cache,
            policies,
            namespaces: Arc::new(config.namespaces.clone()),
            warm,
            logins,
            upstream_options,
            upstream,
            router_memory: Arc::new(router_memory),
            canary,
            pubsub,
            clients,
            tracker,
            server: Arc::new(server),
            report,
        }
    }

    /// Keeps all of it under its ceiling.
    pub(super) fn keep_memory(&self, allocator: Allocator) -> impl Future<Output = ()> + Send + use<> {
        let meter = Meter::new(self.values.memory_max.limit.as_ref());
        self.keep_memory_by(allocator, move || meter.read())
    }

    /// Keeps all of it under its ceiling, where `read` says how many bytes are in use.
    pub fn keep_memory_by<R: Fn() -> usize>(
        &self,
        allocator: Allocator,
        read: R,
    ) -> impl Future<Output = ()> + use<R> {
        let keeper = MemoryKeeper {
            ceiling: self.ceiling.clone(),
            read,
            allocator,
            cache: self.cache.clone(),
            clients: self.clients.clone(),
            tracker: self.tracker.clone(),
            stats: self.stats.worker(0),
            floor: self.ceiling.large_share(),
        };
        keeper.keep()
    }

    /// Keeps the slot table true by asking the nodes.
    pub(super) fn keep_topology(&self) -> impl Future<Output = ()> + Send + use<> {
        topology::keep(options::topology(&self.values, &self.logins), self.upstream.clone(), self.on_moved())
    }

    /// Keeps the slot table true by what `ask` answers.
    pub async fn keep_topology_by(&self, ask: impl AsyncFnMut() -> Result<SlotMap, String>) {
        let options = options::topology(&self.values, &self.logins);
        topology::keep_by(options, self.upstream.clone(), ask, self.on_moved()).await;
    }

    /// Keeps the BCAST subscriptions to the keys that clients or L1 want.
    pub fn listen(&self) -> impl Future<Output = ()> + Send + use<> {
        let (options, wanted) = (self.upstream_options.clone(), self.tracker.wanted());
        let invalidator = self.invalidator(0);
        bcast::keep(
            options,
            self.upstream.clone(),
            wanted,
            Arc::new(move |event| invalidator.on_bcast(event)),
        )
    }

    /// What an invalidation that comes in on worker `index` concerns.
    pub(super) fn invalidator(&self, index: usize) -> Invalidator {
        Invalidator {
            cache: self.cache.clone(),
            tracker: self.tracker.clone(),
            policies: self.policies.clone(),
            // The canary reads on the connections of one worker, and gets its invalidations there.
            canary: self.canary.clone().filter(|_| index == 0),
            stats: self.stats.worker(index),
        }
    }

    /// What is done when slots have another owner.
    fn on_moved(&self) -> impl Fn(Vec<Slot>) + Send + use<> {
        let invalidator = self.invalidator(0);
        move |slots| invalidator.on_moved(slots)
    }
}
