//! Puts the parts together: bind everything, then start the workers, then say that we are ready; drain at a signal.
//!
//! The thread that calls [`Daemon::run`] keeps the topology, accepts on the Unix socket and waits for signals. Each
//! worker has a thread of its own.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

pub mod dev;
mod options;
mod worker;

use crate::clients::Clients;
use crate::clock;
use crate::config::{Config, ListenConfig};
use crate::drain::Drain;
use crate::invalidation::Invalidation;
use crate::listener::{self, Admission, Listener, tcp, unix};
use crate::near_cache::SharedCache;
use crate::proxy::Memory;
use crate::pubsub::Hub;
use crate::session::{Desk, Report};
use crate::stats::Stats;
use crate::systemd;
use crate::tracker::Tracker;
use crate::upstream::broadcast::{self, Heard, OnHeard};
use crate::upstream::topology::{self, TopologyOptions};
use crate::upstream::{Feed, SharedUpstream, UpstreamOptions};
use worker::{HandedOver, Worker, WorkerSeed};

/// Why the daemon did not start or did not go on.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// A socket could not be bound; the text names it.
    #[error("{0}")]
    Listen(io::Error),
    /// The system refused a thread, a runtime or a signal handler.
    #[error("cannot start: {0}")]
    Start(io::Error),
}

/// A daemon that listens.
#[derive(Debug)]
pub struct Daemon {
    runtime: runtime::Runtime,
    signals: (Signal, Signal),
    drain: Drain,
    stop: CancellationToken,
    drain_timeout: Duration,
    tcp: Vec<SocketAddr>,
    unix: Option<unix::UnixListener>,
    admission: Arc<Admission>,
    workers: Vec<Worker>,
    topology: TopologyOptions,
    upstream_options: UpstreamOptions,
    upstream: Arc<SharedUpstream>,
    pubsub: Arc<Hub>,
    cache: Option<Arc<SharedCache>>,
    tracker: Arc<Tracker>,
    stats: Stats,
}

/// Everything that was bound, before anything is served.
struct Bound {
    /// For each worker, its listener on each address.
    tcp: Vec<Vec<std::net::TcpListener>>,
    addresses: Vec<SocketAddr>,
    unix: Option<unix::UnixListener>,
}

/// How often entries that can never be served again are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(30);

// === impl Daemon ===

impl Daemon {
    /// Binds everything and starts the workers. From here on clients are accepted, whether the upstream is there or
    /// not.
    ///
    /// # Errors
    /// A socket cannot be bound, or the system refuses a thread.
    pub fn start(config: &Config) -> Result<Daemon, DaemonError> {
        let runtime =
            runtime::Builder::new_current_thread().enable_all().build().map_err(DaemonError::Start)?;
        let signals = {
            let _inside = runtime.enter();
            let term = signal(SignalKind::terminate()).map_err(DaemonError::Start)?;
            (term, signal(SignalKind::interrupt()).map_err(DaemonError::Start)?)
        };
        let bound = bind(&config.listen, config.workers).map_err(DaemonError::Listen)?;
        let stats = Stats::new(config.workers);
        let upstream = Arc::<SharedUpstream>::default();
        let cache = options::cache_limits(&config.cache, config.workers)
            .map(|limits| Arc::new(SharedCache::new(limits, stats.worker(0))));
        let upstream_options = options::upstream(config);
        let feed = Feed::new(
            upstream_options.clone(),
            upstream.clone(),
            config.session.pubsub_names_max,
            stats.worker(0),
        );
        let pubsub = Hub::new(feed, config.session.pubsub_output_bytes_max, stats.worker(0));
        let clients = Arc::<Clients>::default();
        let tracker = Arc::new(Tracker::new(clients.clone(), config.session.tracking_keys_max));
        let report = Arc::new(Report {
            stats: stats.clone(),
            cache: cache.clone(),
            upstream: upstream.clone(),
            pubsub: pubsub.clone(),
            tracker: tracker.clone(),
            workers: config.workers,
            started_at: clock::now(),
            run_id: (0..40).map(|_| fastrand::digit(16)).collect(),
            tcp: bound.addresses.clone(),
            unix: config.listen.unix.clone().map(|path| (path, config.listen.unix_mode)),
            topology_refresh_interval: config.upstream.topology_refresh_interval,
        });
        let settings = Arc::new(options::settings(config));
        let desk = Arc::new(Desk::new(
            settings.clone(),
            options::password(config),
            config.workers,
            config.typed.clone(),
        ));
        let memory = Arc::new(Memory::new(options::memory_limits(&config.memory)));
        let (drain, stop) = (Drain::new(), CancellationToken::new());
        let admission = Arc::new(Admission::new(settings.max_clients.clone(), stats.worker(0)));
        let mut workers = Vec::with_capacity(config.workers);
        for (index, listeners) in bound.tcp.into_iter().enumerate() {
            let seed = WorkerSeed {
                index,
                listeners,
                upstream_options: upstream_options.clone(),
                session_limits: options::session_limits(config),
                request_limits: options::request_limits(&config.session),
                alone: config.workers == 1,
                upstream: upstream.clone(),
                cache: cache.clone(),
                clients: clients.clone(),
                memory: memory.clone(),
                keyspace_bytes_max: config.memory.keyspace_bytes_max,
                pubsub: pubsub.clone(),
                desk: desk.clone(),
                tracker: tracker.clone(),
                report: report.clone(),
                stats: stats.worker(index),
                admission: admission.clone(),
                drain: drain.clone(),
                stop: stop.clone(),
            };
            workers.push(worker::spawn(seed).map_err(DaemonError::Start)?);
        }
        announce(&bound.addresses, config.listen.unix.as_ref(), &config.upstream.url.to_string());
        Ok(Daemon {
            runtime,
            signals,
            drain,
            stop,
            drain_timeout: config.drain_timeout,
            tcp: bound.addresses,
            unix: bound.unix,
            admission,
            workers,
            topology: options::topology(config),
            upstream_options,
            upstream,
            pubsub,
            cache,
            tracker,
            stats,
        })
    }

    /// The TCP addresses that it listens on.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.tcp
    }

    /// Ends the daemon from elsewhere, as a signal would.
    pub fn drain(&self) -> Drain {
        self.drain.clone()
    }

    /// Serves until SIGTERM or SIGINT, then finishes what runs, within the drain timeout. A second signal ends it at
    /// once.
    ///
    /// # Errors
    /// The system refused a thread.
    pub fn run(self) -> Result<(), DaemonError> {
        let Daemon {
            runtime, signals: (mut term, mut interrupt), drain, stop, drain_timeout, workers, ..
        } = self;
        let handovers: Vec<HandedOver> = workers.iter().map(Worker::handed_over).collect();
        runtime.block_on(async {
            let moved = {
                let (cache, stats, tracker) =
                    (self.cache.clone(), self.stats.worker(0), self.tracker.clone());
                move |slots| {
                    let moved = Invalidation::Slots(slots);
                    if let Some(cache) = &cache {
                        cache.invalidate(&moved, &stats);
                    }
                    tracker.invalidate(&moved);
                }
            };
            let topology = tokio::spawn(topology::keep(self.topology, self.upstream.clone(), moved));
            tokio::spawn(self.pubsub.run());
            let heard = on_heard(self.cache.clone(), self.stats.clone(), self.tracker.clone());
            let wanted = self.tracker.wanted();
            let broadcast = broadcast::keep(self.upstream_options, self.upstream.clone(), wanted, heard);
            let broadcast = tokio::spawn(broadcast);
            let sweeping = tokio::spawn(sweep(self.cache.clone(), self.stats.clone()));
            if let Some(unix) = self.unix {
                tokio::spawn(accept_unix(unix, self.admission.clone(), drain.clone(), handovers));
            }
            systemd::ready();
            systemd::status("serving");
            let mut signalled = async || tokio::select! { _ = term.recv() => (), _ = interrupt.recv() => () };
            tokio::select! { () = signalled() => (), () = drain.begun() => () }
            tracing::info!("draining: no new clients, answering what was asked");
            systemd::stopping();
            systemd::status("draining: answering what was asked");
            drain.begin();
            tokio::select! {
                finished = drain.finished(drain_timeout) => if !finished {
                    tracing::warn!(clients = drain.running_count(), "the drain timeout is over: closing the rest");
                },
                () = signalled() => tracing::warn!("a second signal: closing at once"),
            }
            topology.abort();
            broadcast.abort();
            sweeping.abort();
        });
        stop.cancel();
        for worker in workers {
            worker.join();
        }
        runtime.shutdown_timeout(Duration::from_millis(100));
        tracing::info!("stopped");
        Ok(())
    }
}

fn bind(config: &ListenConfig, workers: usize) -> io::Result<Bound> {
    let mut tcp: Vec<Vec<std::net::TcpListener>> = (0..workers).map(|_| Vec::new()).collect();
    let mut addresses = Vec::new();
    for address in &config.tcp {
        let listeners = tcp::bind(*address, workers, config.backlog)?;
        addresses.extend(listeners.first().map(std::net::TcpListener::local_addr).transpose()?);
        for (worker, listener) in tcp.iter_mut().zip(listeners) {
            worker.push(listener);
        }
    }
    let unix =
        config.unix.as_ref().map(|path| unix::bind(path, config.unix_mode, config.backlog)).transpose()?;
    Ok(Bound { tcp, addresses, unix })
}

fn announce(tcp: &[SocketAddr], unix: Option<&PathBuf>, upstream: &str) {
    for address in tcp {
        tracing::info!(address = %address, upstream, "listening");
    }
    if let Some(path) = unix {
        tracing::info!(address = %path.display(), upstream, "listening");
    }
}

/// Accepts on the Unix socket and hands the clients to the workers in turn.
async fn accept_unix(
    listener: unix::UnixListener,
    admission: Arc<Admission>,
    drain: Drain,
    handovers: Vec<HandedOver>,
) {
    let mut turn = 0;
    let result = listener::accept(Listener::Unix(listener), &admission, &drain, |socket, permit| {
        turn = (turn + 1) % handovers.len();
        // A worker that has ended takes nobody in: the client is closed.
        drop(handovers[turn].send((socket, permit)));
    });
    if let Err(error) = result.await {
        tracing::error!(%error, "the Unix socket is not served");
    }
}

/// What is done with what is heard of all keys. L1 is told first: its own news comes over other connections, and who is
/// told must not find there what it was told of.
fn on_heard(cache: Option<Arc<SharedCache>>, stats: Stats, tracker: Arc<Tracker>) -> OnHeard {
    Arc::new(move |heard| {
        let stats = stats.worker(0);
        let drop_from_cache = |invalidation| {
            if let Some(cache) = &cache {
                cache.invalidate(&invalidation, &stats);
            }
        };
        match heard {
            Heard::Keys(keys) => {
                drop_from_cache(Invalidation::Keys(keys.clone()));
                tracker.broadcast(&keys);
            }
            Heard::Everything => {
                drop_from_cache(Invalidation::All);
                tracker.broadcast_everything();
            }
        }
    })
}

async fn sweep(cache: Option<Arc<SharedCache>>, stats: Stats) {
    let Some(cache) = cache else { return };
    loop {
        tokio::time::sleep(SWEEP_INTERVAL).await;
        cache.sweep(&stats.worker(0)).await;
    }
}
