//! What all workers of a daemon share, and what is done for all of them: put together from the configuration,
//! before there is a socket or a thread.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::memory::MemoryKeeper;
use super::options;
use super::reload::Reload;
use super::relogin::{Relogin, path_of};
use super::warm::{Warm, WarmUp};
use super::worker::{self, WorkerParts};
use crate::cache::SharedCache;
use crate::cache::policy::{CurrentPolicies, Policies};
use crate::clients::Clients;
use crate::clients::tracker::Tracker;
use crate::clock;
use crate::commands::{ServerReport, ServerState, SessionLimits};
use crate::config::{Config, Sources};
use crate::drain::Drain;
use crate::memory::{Allocator, Limit, MemoryCeiling, Meter};
use crate::net::listener::{ClientLimit, ClientSocket, Permit};
use crate::protocol::key::Slot;
use crate::pubsub::Hub;
use crate::router::RouterMemory;
use crate::router::coherence::canary::Canary;
use crate::router::coherence::invalidator::Invalidator;
use crate::stats::Stats;
use crate::upstream::bcast;
use crate::upstream::topology::{self, SlotMap, TopologyOptions};
use crate::upstream::{Login, SharedUpstream, Subscriptions, UpstreamOptions};

/// What all workers share.
#[derive(Debug)]
pub struct Shared {
    /// Lets clients in.
    pub admission: Arc<ClientLimit>,
    /// Tells all when to stop.
    pub drain: Drain,
    /// What is counted.
    pub stats: Stats,
    /// L1; `None` when it is off.
    pub cache: Option<Arc<SharedCache>>,
    pub(super) stop: CancellationToken,
    pub(super) upstream_options: UpstreamOptions,
    pub(super) upstream: Arc<SharedUpstream>,
    pub(super) pubsub: Arc<Hub>,
    pub(super) tracker: Arc<Tracker>,
    pub(super) relogin: Arc<Relogin>,
    pub(super) sentinel_relogin: Arc<Relogin>,
    topology: TopologyOptions,
    session_limits: SessionLimits,
    request_limits: crate::protocol::resp::scan::RequestLimits,
    alone: bool,
    clients: Arc<Clients>,
    memory: Arc<RouterMemory>,
    policies: Arc<CurrentPolicies>,
    shadow: bool,
    canary: Option<Arc<Canary>>,
    /// The file with the names of what is hot, if there is to be one.
    pub(super) warm: Option<Warm>,
    keyspace_bytes_max: usize,
    /// What all of it may hold.
    pub ceiling: Arc<MemoryCeiling>,
    limit: Option<Limit>,
    desk: Arc<ServerState>,
    report: Arc<ServerReport>,
}

// === impl House ===

impl Shared {
    /// The house of a daemon that is configured so and listens on these TCP addresses.
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
        let warm = cache.clone().zip(options::warm(values)).map(|(cache, options)| Warm {
            options,
            upstream: values.upstream.to_string(),
            cache,
            stats: stats.worker(0),
        });
        let canary = values.canary_interval.filter(|_| cache.is_some());
        let canary = canary.map(|interval| Arc::new(Canary::new(interval, values.lease)));
        let login = Login::new(options::credentials(values));
        let sentinel_login = Login::new(options::sentinel_credentials(values));
        let upstream_options = options::upstream(values, login.clone());
        let names_max = values.pubsub_names_max;
        let feed = Subscriptions::new(upstream_options.clone(), upstream.clone(), names_max, stats.worker(0));
        let pubsub = Hub::new(feed, values.pubsub_output_max, stats.worker(0));
        let clients = Arc::<Clients>::default();
        let tracker = Arc::new(Tracker::new(clients.clone(), values.tracking_keys_max));
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
            unix: values.unix.clone().map(|path| (path, values.unix_mode)),
            topology_refresh_interval: values.topology_refresh_interval,
            lease: values.lease,
            canary: canary.clone(),
        });
        let settings = Arc::new(options::settings(values));
        let policies = Arc::new(CurrentPolicies::new(Policies::new(config.policies.clone())));
        if let Some(cache) = &cache {
            cache.set_split_tracking(policies.broadcast());
            tracker.want_for_l1(broadcast_prefixes(&policies));
        }
        Shared {
            admission: Arc::new(ClientLimit::new(
                settings.max_clients.clone(),
                options::lets_in_remote(values),
                ceiling.clone(),
                stats.worker(0),
            )),
            drain: Drain::new(),
            stop: CancellationToken::new(),
            upstream_options,
            upstream,
            pubsub,
            tracker,
            topology: options::topology(values, login.clone(), sentinel_login.clone()),
            relogin: Arc::new(Relogin::new(
                login,
                "upstream_password_file",
                path_of(&values.upstream_password_file),
            )),
            sentinel_relogin: Arc::new(Relogin::new(
                sentinel_login,
                "sentinel_password_file",
                path_of(&values.sentinel_password_file),
            )),
            session_limits: options::session_limits(values),
            request_limits: options::request_limits(values),
            alone: values.workers == 1,
            clients,
            policies,
            memory: Arc::new(RouterMemory::new(options::memory_limits(values))),
            keyspace_bytes_max: values.keyspace_bytes_max,
            ceiling,
            limit: memory_max.limit.clone(),
            desk: Arc::new(ServerState::new(
                settings,
                options::password(values),
                values.deny_commands.clone(),
                values.workers,
                config.typed.clone(),
                memory_max.max,
            )),
            report,
            stats,
            cache,
            shadow: values.shadow_verify.is_some(),
            canary,
            warm,
        }
    }

    /// What worker `index` grows from; `warm` is what it reads at once.
    pub(super) fn seed(
        &self,
        index: usize,
        listeners: Vec<TcpListener>,
        warm: Option<WarmUp>,
    ) -> WorkerParts {
        WorkerParts {
            index,
            listeners,
            upstream_options: self.upstream_options.clone(),
            session_limits: self.session_limits,
            request_limits: self.request_limits,
            alone: self.alone,
            upstream: self.upstream.clone(),
            cache: self.cache.clone(),
            clients: self.clients.clone(),
            memory: self.memory.clone(),
            policies: self.policies.clone(),
            keyspace_bytes_max: self.keyspace_bytes_max,
            ceiling: self.ceiling.clone(),
            pubsub: self.pubsub.clone(),
            desk: self.desk.clone(),
            tracker: self.tracker.clone(),
            invalidator: self.invalidator(index),
            report: self.report.clone(),
            stats: self.stats.worker(index),
            admission: self.admission.clone(),
            warm,
            shadow: self.shadow,
            drain: self.drain.clone(),
            stop: self.stop.clone(),
        }
    }

    /// Is worker `index` on the calling thread, for clients that are handed over: the simulator has one
    /// thread and its own time.
    pub async fn work(&self, index: usize, handed_over: mpsc::UnboundedReceiver<(ClientSocket, Permit)>) {
        worker::run(self.seed(index, Vec::new(), None), handed_over).await;
    }

    /// Keeps all of it under its ceiling.
    pub(super) fn keep_memory(&self, allocator: Allocator) -> impl Future<Output = ()> + Send + use<> {
        let meter = Meter::new(self.limit.as_ref());
        self.keep_memory_by(allocator, move || meter.read())
    }

    /// The same, where `read` says how many bytes are in use.
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
            floor: self.ceiling.much(),
        };
        keeper.keep()
    }

    /// Keeps the slot table true by asking the nodes.
    pub(super) fn keep_topology(&self) -> impl Future<Output = ()> + Send + use<> {
        topology::keep(self.topology.clone(), self.upstream.clone(), self.on_moved())
    }

    /// The same, asking whoever `ask` asks.
    pub async fn keep_topology_by(&self, ask: impl AsyncFnMut() -> Result<SlotMap, String>) {
        topology::keep_by(self.topology.clone(), self.upstream.clone(), ask, self.on_moved()).await;
    }

    /// How the configuration is read again.
    pub(super) fn reload(&self, sources: Sources) -> Reload {
        let (policies, cache, tracker) = (self.policies.clone(), self.cache.clone(), self.tracker.clone());
        let (relogin, sentinel_relogin) = (self.relogin.clone(), self.sentinel_relogin.clone());
        let (desk, stats) = (self.desk.clone(), self.stats.worker(0));
        Reload { sources, policies, cache, tracker, relogin, sentinel_relogin, desk, stats }
    }

    /// Listens to all keys of which clients or L1 want to hear.
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
    fn invalidator(&self, index: usize) -> Invalidator {
        Invalidator {
            cache: self.cache.clone(),
            tracker: self.tracker.clone(),
            policies: self.policies.clone(),
            // Invalidations come over the connections that the canary reads on: those of one worker.
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

/// What L1 wants to hear of.
pub(super) fn broadcast_prefixes(policies: &CurrentPolicies) -> Vec<Bytes> {
    policies.get().broadcast().map(Bytes::copy_from_slice).collect()
}
