//! Puts the parts together: bind everything, then start the workers, then say that we are ready; drain at a
//! signal.
//!
//! The thread that calls [`Daemon::run`] keeps the topology, accepts on the Unix socket and waits for
//! signals. Each worker has a thread of its own.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select_all;
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

mod descriptors;
mod memory;
mod options;
mod panics;
mod reload;
mod relogin;
mod secret_files;
pub mod shared;
pub mod systemd;
mod warm;
mod worker;

use crate::cache::SharedCache;
use crate::config::{Config, SettingValues, Sources};
use crate::drain::Drain;
use crate::memory::Allocator;
use crate::net::listener::{self, ClientLimit, ClientListener, tcp, unix};
use crate::stats::Stats;
pub use panics::end_on_panic;
use shared::Shared;
use warm::Warm;
use worker::{AcceptedSender, Worker};

/// Why the daemon did not start or did not go on.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// A socket could not be bound; the text names it.
    #[error("{0}")]
    Listen(io::Error),
    /// The system lets the process open too few files for a single client.
    #[error(
        "only {limit} files may be open, too few for any client: set LimitNOFILE= of the unit, or ulimit -n, to {wanted} \
         at least"
    )]
    Descriptors {
        /// What it lets it open.
        limit: usize,
        /// What is wanted for all clients.
        wanted: usize,
    },
    /// The system refused a thread, a runtime or a signal handler.
    #[error("cannot start: {0}")]
    Start(io::Error),
}

/// A daemon that listens.
#[derive(Debug)]
pub struct Daemon {
    runtime: runtime::Runtime,
    signals: Signals,
    drain_timeout: Duration,
    tcp: Vec<SocketAddr>,
    unix: Option<unix::UnixListener>,
    shared: Shared,
    workers: Vec<Worker>,
    allocator: Allocator,
}

/// What the daemon is told by its service manager.
#[derive(Debug)]
struct Signals {
    /// Those that end it.
    end: [Signal; 5],
    hangup: Signal,
}

/// Everything that was bound, before anything is served.
struct Bound {
    /// For each worker, its listener on each address.
    tcp: Vec<Vec<std::net::TcpListener>>,
    addresses: Vec<SocketAddr>,
    unix: Option<unix::UnixListener>,
}

/// How long those may take to hear why they get no answer who have none when `drain_timeout` is over.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How often entries that can never be served again are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(30);

// === impl Signals ===

impl Signals {
    /// Only inside of a runtime.
    fn listen() -> io::Result<Signals> {
        Ok(Signals {
            // Those whose default is to end the process at once, of which somebody may think that it is asked
            // politely.
            end: [
                signal(SignalKind::terminate())?,
                signal(SignalKind::interrupt())?,
                signal(SignalKind::quit())?,
                signal(SignalKind::user_defined1())?,
                signal(SignalKind::user_defined2())?,
            ],
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

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
        let bound = bind(&config.values).map_err(DaemonError::Listen)?;
        let shared = Shared::new(config, &bound.addresses);
        let mut workers = Vec::with_capacity(config.values.workers);
        let mut warm_up = shared.warm.as_ref().and_then(Warm::read);
        for (index, listeners) in bound.tcp.into_iter().enumerate() {
            // The first worker alone: the others share L1 with it.
            let warm_up = warm_up.take();
            workers.push(worker::spawn(shared.seed(index, listeners, warm_up)).map_err(DaemonError::Start)?);
        }
        warn(config, &bound.addresses);
        options::warn_of_values_never_kept(config);
        announce(&bound.addresses, config.values.unix.as_ref(), &config.values.upstream.to_string());
        Ok(Daemon {
            runtime,
            signals,
            drain_timeout: config.values.drain_timeout,
            tcp: bound.addresses,
            unix: bound.unix,
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
            let topology = tokio::spawn(shared.keep_topology());
            tokio::spawn(shared.pubsub.clone().run());
            let listening = tokio::spawn(shared.listen());
            let keeping = tokio::spawn(shared.keep_memory(allocator));
            let sweeping = tokio::spawn(sweep(shared.cache.clone(), shared.stats.clone()));
            let saving = tokio::spawn(save_now_and_then(shared.warm.clone()));
            let reloading = tokio::spawn(shared.reload(sources).at_each(hangup));
            let (relogin, sentinel_relogin) = (shared.relogin.clone(), shared.sentinel_relogin.clone());
            let looking = tokio::spawn(async move {
                tokio::join!(relogin.at_each_refusal(), sentinel_relogin.at_each_refusal());
            });
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
                    // They are told so, as far as they listen.
                    drain.expire();
                    drain.finished(LAST_WORDS).await;
                },
                () = any_of(&mut end) => tracing::warn!("a second signal: closing at once"),
            }
            topology.abort();
            listening.abort();
            sweeping.abort();
            keeping.abort();
            reloading.abort();
            looking.abort();
            saving.abort();
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

/// Waits for one of `signals`.
async fn any_of(signals: &mut [Signal]) {
    select_all(signals.iter_mut().map(|signal| Box::pin(signal.recv()))).await;
}

fn bind(values: &SettingValues) -> io::Result<Bound> {
    let (workers, backlog) = (values.workers, values.listen_backlog as u32);
    let mut tcp: Vec<Vec<std::net::TcpListener>> = (0..workers).map(|_| Vec::new()).collect();
    let mut addresses = Vec::new();
    for address in &values.listen {
        let listeners = tcp::bind(*address, workers, backlog)?;
        addresses.extend(listeners.first().map(std::net::TcpListener::local_addr).transpose()?);
        for (worker, listener) in tcp.iter_mut().zip(listeners) {
            worker.push(listener);
        }
    }
    let unix = values.unix.as_ref().map(|path| unix::bind(path, values.unix_mode, backlog)).transpose()?;
    Ok(Bound { tcp, addresses, unix })
}

/// Says what the operator should know.
fn warn(config: &Config, tcp: &[SocketAddr]) {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    if config.values.password_file.is_some() {
        return;
    }
    for address in tcp.iter().filter(|address| !address.ip().to_canonical().is_loopback()) {
        match config.values.allow_remote {
            true => tracing::warn!(
                %address,
                "whoever reaches this address may do everything with the data: there is no password (password_file), and \
                 allow_remote is true"
            ),
            false => tracing::warn!(
                %address,
                "clients of other machines will be refused: set password_file, or allow_remote if nobody can reach this \
                 address who should not"
            ),
        }
    }
}

fn announce(tcp: &[SocketAddr], unix: Option<&PathBuf>, upstream: &str) {
    for address in tcp {
        tracing::info!(address = %address, upstream, "listening");
    }
    if let Some(path) = unix {
        tracing::info!(address = %path.display(), upstream, "listening");
    }
}

/// Saves what is to survive a restart, if anything is.
async fn save_now_and_then(warm: Option<Warm>) {
    if let Some(warm) = warm {
        warm.save_now_and_then().await;
    }
}

/// Accepts on the Unix socket and hands the clients to the workers in turn.
async fn accept_unix(
    listener: unix::UnixListener,
    admission: Arc<ClientLimit>,
    drain: Drain,
    handovers: Vec<AcceptedSender>,
) {
    let mut turn = 0;
    let result = listener::accept(ClientListener::Unix(listener), &admission, &drain, |socket, permit| {
        turn = (turn + 1) % handovers.len();
        // A worker that has ended takes nobody in: the client is closed.
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
