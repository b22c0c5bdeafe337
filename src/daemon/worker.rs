//! A worker: one thread with its own event loop, its own listeners and its own upstream connections.

use std::io;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;

use socket2::SockRef;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc;
use tokio::task;
use tokio_util::sync::CancellationToken;

use super::panics;
use super::warm::WarmUp;
use crate::cache::policy::CurrentPolicies;
use crate::cache::{NearCache, SharedCache};
use crate::clients::tracker::Tracker;
use crate::clients::{Clients, Endpoints};
use crate::commands::{ServerReport, ServerState, SessionContext, SessionLimits};
use crate::drain::Drain;
use crate::memory::MemoryCeiling;
use crate::net::connection::{Connection, ReadBuffer};
use crate::net::listener::{self, ClientLimit, ClientListener, ClientSocket, Permit};
use crate::net::socket::Stream;
use crate::protocol::resp::scan::RequestLimits;
use crate::pubsub::Hub;
use crate::router::coherence::invalidator::Invalidator;
use crate::router::{Router, RouterMemory, RouterSettings};
use crate::session::Session;
use crate::stats::WorkerStats;
use crate::upstream::{SharedUpstream, Upstream, UpstreamOptions};

/// After so many turns of its sessions a busy worker looks at its sockets: what nodes push waits there.
/// Tokio's default of 61 let a value be served for a tenth of a second after its successor was written.
const TURNS_PER_LOOK: u32 = 8;

/// Where clients that another thread accepted are handed over to a worker. Each has its permit, so no more
/// than `max_clients` wait there.
pub(super) type AcceptedSender = mpsc::UnboundedSender<(ClientSocket, Permit)>;

/// What a worker grows from; all of it can cross threads.
#[derive(Debug)]
pub(super) struct WorkerParts {
    pub(super) index: usize,
    pub(super) listeners: Vec<TcpListener>,
    pub(super) upstream_options: UpstreamOptions,
    pub(super) session_limits: SessionLimits,
    pub(super) request_limits: RequestLimits,
    pub(super) alone: bool,
    pub(super) upstream: Arc<SharedUpstream>,
    pub(super) cache: Option<Arc<SharedCache>>,
    pub(super) clients: Arc<Clients>,
    pub(super) memory: Arc<RouterMemory>,
    pub(super) policies: Arc<CurrentPolicies>,
    pub(super) keyspace_bytes_max: usize,
    pub(super) ceiling: Arc<MemoryCeiling>,
    pub(super) pubsub: Arc<Hub>,
    pub(super) desk: Arc<ServerState>,
    pub(super) tracker: Arc<Tracker>,
    pub(super) invalidator: Invalidator,
    pub(super) report: Arc<ServerReport>,
    pub(super) stats: Arc<WorkerStats>,
    pub(super) admission: Arc<ClientLimit>,
    /// What this worker reads as soon as it can.
    pub(super) warm: Option<WarmUp>,
    /// Whether some of the hits are verified.
    pub(super) shadow: bool,
    pub(super) drain: Drain,
    pub(super) stop: CancellationToken,
}

/// A running worker.
#[derive(Debug)]
pub(super) struct Worker {
    thread: thread::JoinHandle<()>,
    handed_over: AcceptedSender,
}

/// Takes clients in, on the worker's own thread.
struct SessionSpawner {
    context: Rc<SessionContext>,
    buffer: ReadBuffer,
    request_limits: RequestLimits,
}

/// Starts a worker.
///
/// # Errors
/// The system refused the thread or its event loop.
pub(super) fn spawn(seed: WorkerParts) -> io::Result<Worker> {
    #[expect(
        clippy::disallowed_methods,
        reason = "each client has its permit: no more than max_clients wait"
    )]
    let (handed_over, receiver) = mpsc::unbounded_channel();
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    let thread = thread::Builder::new().name(format!("worker-{}", seed.index)).spawn(move || {
        let mut builder = Builder::new_current_thread();
        builder.enable_all().event_interval(TURNS_PER_LOOK);
        let runtime = builder.build_local(LocalOptions::default());
        match runtime {
            Ok(runtime) => {
                let _ = tell.send(Ok(()));
                runtime.block_on(run(seed, receiver));
            }
            Err(error) => drop(tell.send(Err(error))),
        }
    })?;
    told.recv().map_err(io::Error::other)??;
    Ok(Worker { thread, handed_over })
}

/// Is a worker, on the calling thread, until it is told to stop.
pub(super) async fn run(seed: WorkerParts, mut handed_over: mpsc::UnboundedReceiver<(ClientSocket, Permit)>) {
    let WorkerParts { index, listeners, upstream_options, stats, cache, drain, stop, admission, .. } = seed;
    let patience = upstream_options.request_timeout;
    let invalidator = seed.invalidator;
    let canary = invalidator.canary.clone();
    let pushed = Box::new(move |invalidation: &_| invalidator.on_push(invalidation));
    let on_side = {
        let cache = cache.clone();
        Box::new(move || cache.iter().for_each(|cache| cache.note_multi_stream()))
    };
    let upstream = Upstream::new(index, upstream_options, seed.upstream, pushed, on_side, stats.clone());
    task::spawn_local(upstream.clone().run());
    if let Some(canary) = canary {
        task::spawn_local(canary.run(upstream.clone()));
    }
    let cache = cache.map(|shared| NearCache::new(shared, stats.clone()));
    let settings =
        RouterSettings { patience, alone: seed.alone, keyspace_bytes_max: seed.keyspace_bytes_max };
    let (pubsub, memory, policies) = (seed.pubsub.clone(), seed.memory, seed.policies);
    let proxy = Router::new(cache, upstream, pubsub, memory, policies, stats.clone(), settings);
    if let Some(warm) = seed.warm {
        task::spawn_local(warm.run(proxy.clone(), seed.report.clone(), drain.clone()));
    }
    if seed.shadow {
        task::spawn_local(proxy.verify_samples(seed.report.lease));
    }
    let limits = seed.session_limits;
    let context = SessionContext {
        proxy,
        clients: seed.clients,
        pubsub: seed.pubsub,
        tally: seed.desk.tally(index),
        desk: seed.desk,
        tracker: seed.tracker,
        ceiling: seed.ceiling,
        report: seed.report,
        limits,
        drain: drain.clone(),
        stats,
    };
    let request_limits = seed.request_limits;
    let host =
        Rc::new(SessionSpawner { context: Rc::new(context), buffer: ReadBuffer::default(), request_limits });
    for listener in listeners {
        task::spawn_local(accept(listener, host.clone(), admission.clone(), drain.clone()));
    }
    let stopped = async {
        while let Some((socket, permit)) = handed_over.recv().await {
            host.spawn(socket, permit);
        }
        std::future::pending().await
    };
    tokio::select! { () = stopped => (), () = stop.cancelled() => () }
}

async fn accept(listener: TcpListener, host: Rc<SessionSpawner>, admission: Arc<ClientLimit>, drain: Drain) {
    let listener = ClientListener::Tcp(listener);
    let accepting =
        listener::accept(listener, &admission, &drain, |socket, permit| host.spawn(socket, permit));
    if let Err(error) = accepting.await {
        tracing::error!(%error, "a TCP address is not served");
    }
}

// === impl Worker ===

impl Worker {
    /// Where to hand clients over.
    pub(super) fn handed_over(&self) -> AcceptedSender {
        self.handed_over.clone()
    }

    /// Waits for the end of a worker that was told to stop.
    pub(super) fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("a worker panicked");
        }
    }
}

// === impl Host ===

impl SessionSpawner {
    /// Begins the session of a new client.
    fn spawn(&self, socket: ClientSocket, permit: Permit) {
        let (stream, endpoints) = match socket {
            ClientSocket::Tcp(stream, address) => {
                let local_address =
                    stream.local_addr().map_or_else(|_| String::new(), |local| local.to_string());
                let descriptor = stream.as_raw_fd();
                let address = address.to_string();
                (Stream::Tcp(stream), Endpoints { address, local_address, unix: None, descriptor })
            }
            ClientSocket::Unix(stream) => {
                // What the socket was bound to had another name: it was moved to this one when it listened.
                let path = self.context.report.unix.as_ref().map(|(path, _)| path.display().to_string());
                let path = path.unwrap_or_default();
                let (address, descriptor) = (format!("{path}:0"), stream.as_raw_fd());
                let local_address = address.clone();
                (Stream::Unix(stream), Endpoints { address, local_address, unix: Some(path), descriptor })
            }
        };
        if let Some(bytes) = self.context.ceiling.socket_bytes() {
            // What the kernel holds counts in a control group. A socket that takes no such setting is as wide
            // as others.
            let socket = SockRef::from(&stream);
            let _ = socket.set_send_buffer_size(bytes).and_then(|()| socket.set_recv_buffer_size(bytes));
        }
        match Connection::new(stream, self.buffer.clone(), self.request_limits, self.context.ceiling.clone())
        {
            Ok(connection) => {
                let session = Session::new(self.context.clone(), connection, endpoints);
                let running = self.context.drain.running();
                task::spawn_local(async move {
                    panics::contained(session.run()).await;
                    drop((permit, running));
                });
            }
            Err(error) => tracing::warn!(%error, "a client could not be taken in"),
        }
    }
}
