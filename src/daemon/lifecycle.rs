//! The life of the daemon: bind everything, start the workers, say that it is ready; drain at a signal.
//!
//! The thread that calls [`Daemon::run`] keeps the topology, accepts on the Unix socket and waits for
//! signals. Each worker has a thread of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::Socket;
use tokio::runtime;
use tokio::task::JoinSet;

use super::bound::{self, Bound};
use super::descriptors;
use super::error::DaemonError;
use super::options;
use super::reload::Reload;
use super::shared::Shared;
use super::signals::{Signals, any_of};
use super::systemd;
use super::warm::Warm;
use super::worker::{self, AcceptedSender, Worker, WorkerParts};
use crate::cache::SharedCache;
use crate::config::{Config, Sources};
use crate::drain::Drain;
use crate::memory::Allocator;
use crate::net::listener::{self, ClientLimit, unix};
use crate::stats::Stats;

/// A daemon that listens.
#[derive(Debug)]
pub struct Daemon {
    runtime: runtime::Runtime,
    signals: Signals,
    drain_timeout: Duration,
    tcp: Vec<SocketAddr>,
    unix: Option<(unix::SocketPath, Socket)>,
    shared: Arc<Shared>,
    workers: Vec<Worker>,
    allocator: Allocator,
}

/// How long clients may take to read why they get no answer once `drain_timeout` is over.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How often entries that can never be served again are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(30);

// === impl Daemon ===

impl Daemon {
    /// Binds everything and starts the workers. From here on clients are accepted, whether the upstream is
    /// there or not. What is free, `allocator` gives back.
    ///
    /// # Errors
    /// A socket cannot be bound, or the system refuses a thread or enough file descriptors.
    pub fn start(config: &Config, allocator: Allocator) -> Result<Daemon, DaemonError> {
        descriptors::raise();
        let config = &descriptors::fitted(config, descriptors::limit())?;
        let runtime =
            runtime::Builder::new_current_thread().enable_all().build().map_err(DaemonError::Start)?;
        let signals = {
            let _inside = runtime.enter();
            Signals::listen().map_err(DaemonError::Start)?
        };
        let Bound { tcp, addresses, unix } = bound::bind(&config.values).map_err(DaemonError::Listen)?;
        let shared = Arc::new(Shared::new(config, &addresses));
        let mut workers = Vec::with_capacity(config.values.workers);
        let mut warm_up = shared.warm.as_ref().and_then(Warm::read);
        for (index, listeners) in tcp.into_iter().enumerate() {
            // The first worker alone: the others share L1 with it.
            let warm_up = warm_up.take();
            let parts = WorkerParts { shared: shared.clone(), index, listeners, warm_up };
            workers.push(worker::spawn(parts).map_err(DaemonError::Start)?);
        }
        bound::warn(config, &addresses);
        options::warn_of_values_never_kept(config);
        bound::announce(&addresses, &config.values);
        Ok(Daemon {
            runtime,
            signals,
            drain_timeout: config.values.drain_timeout,
            tcp: addresses,
            unix,
            shared,
            workers,
            allocator,
        })
    }

    /// The TCP addresses that it listens on.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.tcp
    }

    /// Ends the daemon from elsewhere, as a signal would.
    pub fn drain(&self) -> Drain {
        self.shared.drain.clone()
    }

    /// Serves until SIGTERM, SIGINT, SIGQUIT, SIGUSR1 or SIGUSR2, then finishes what runs, within the drain
    /// timeout. A second signal ends it at once. SIGHUP has the policies and the upstream's login read
    /// again from `sources`, which the configuration was read from.
    ///
    /// # Errors
    /// The system refused a thread.
    pub fn run(self, sources: Sources) -> Result<(), DaemonError> {
        let Daemon { runtime, signals, drain_timeout, shared, workers, allocator, .. } = self;
        let Signals { mut end, hangup } = signals;
        let (drain, stop) = (shared.drain.clone(), shared.stop.clone());
        let handovers: Vec<AcceptedSender> = workers.iter().map(Worker::handed_over).collect();
        runtime.block_on(async {
            let mut tasks = JoinSet::new();
            tasks.spawn(shared.keep_topology());
            tasks.spawn(shared.listen());
            tasks.spawn(shared.keep_memory(allocator));
            tasks.spawn(sweep(shared.cache.clone(), shared.stats.clone()));
            if let Some(warm) = shared.warm.clone() {
                tasks.spawn(warm.save_now_and_then());
            }
            tasks.spawn(Reload { sources, shared: shared.clone() }.at_each(hangup));
            let logins = shared.clone();
            tasks.spawn(async move { logins.logins.renew_at_each_refusal().await });
            tokio::spawn(shared.pubsub.clone().run());
            if let Some(unix) = self.unix {
                tokio::spawn(accept_unix(unix, shared.admission.clone(), drain.clone(), handovers));
            }
            systemd::ready();
            systemd::status("serving");
            tokio::select! { () = any_of(&mut end) => (), () = drain.begun() => () }
            tracing::info!("draining: no new clients, answering what was asked");
            systemd::stopping();
            systemd::status("draining: answering what was asked");
            drain.begin();
            tokio::select! {
                finished = drain.finished(drain_timeout) => if !finished {
                    tracing::warn!(clients = drain.running_count(), "the drain timeout is over: closing the rest");
                    // Clients that still read get an error.
                    drain.expire();
                    drain.finished(LAST_WORDS).await;
                },
                () = any_of(&mut end) => tracing::warn!("a second signal: closing at once"),
            }
        });
        // What L1 has is still true, and all that was hot has been asked for.
        shared.warm.iter().for_each(Warm::save);
        stop.cancel();
        for worker in workers {
            worker.join();
        }
        runtime.shutdown_timeout(Duration::from_millis(100));
        tracing::info!("stopped");
        Ok(())
    }
}

/// Accepts on the Unix socket and hands the clients to the workers in turn.
async fn accept_unix(
    (path, listener): (unix::SocketPath, Socket),
    admission: Arc<ClientLimit>,
    drain: Drain,
    handovers: Vec<AcceptedSender>,
) {
    let mut turn = 0;
    let result = listener::accept(listener, Some(path), &admission, &drain, |socket, permit| {
        turn = (turn + 1) % handovers.len();
        // A worker that has ended takes no clients: this one is closed.
        drop(handovers[turn].send((socket, permit)));
    });
    if let Err(error) = result.await {
        tracing::error!(%error, "the Unix socket is not served");
    }
}

async fn sweep(cache: Option<Arc<SharedCache>>, stats: Stats) {
    let Some(cache) = cache else { return };
    loop {
        tokio::time::sleep(SWEEP_INTERVAL).await;
        cache.sweep(&stats.worker(0)).await;
    }
}
