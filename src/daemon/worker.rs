//! A worker: one thread with its own event loop, its own listeners and its own upstream connections.

use std::cell::RefCell;
use std::io;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;

use socket2::Socket;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc;
use tokio::task;

use super::first_database;
use super::options;
use super::panics;
use super::shared::Shared;
use super::warm::WarmUp;
use crate::cache::NearCache;
use crate::clients::Endpoints;
use crate::commands::SessionContext;
use crate::drain::Drain;
use crate::namespace::Namespace;
use crate::net::connection::{Connection, ReadBuffer};
use crate::net::listener::{self, ClientLimit, ClientSocket, Permit};
use crate::protocol::db::DbIndex;
use crate::protocol::resp::scan::RequestLimits;
use crate::router::{Router, RouterSettings};
use crate::session::Session;
use crate::stats::WorkerStats;
use crate::upstream::Upstream;

/// Turns of its sessions after which a busy worker polls its sockets: pushes of nodes wait there.
/// Tokio's default of 61 let a value be served for a tenth of a second after its successor was written.
const TURNS_PER_LOOK: u32 = 8;

/// Where clients that another thread accepted are handed over to a worker. Each has its permit, so no more
/// than `max_clients` wait there.
pub(super) type AcceptedSender = mpsc::UnboundedSender<(ClientSocket, Permit)>;

/// The parts that one worker has for itself, with those that all share; all of it can cross threads.
#[derive(Debug)]
pub(super) struct WorkerParts {
    pub(super) shared: Arc<Shared>,
    pub(super) index: usize,
    pub(super) listeners: Vec<Socket>,
    /// What this worker reads as soon as it can.
    pub(super) warm_up: Option<WarmUp>,
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
pub(super) fn spawn(parts: WorkerParts) -> io::Result<Worker> {
    #[expect(
        clippy::disallowed_methods,
        reason = "each client has its permit: no more than max_clients wait"
    )]
    let (handed_over, receiver) = mpsc::unbounded_channel();
    let (starting, started) = std::sync::mpsc::sync_channel(1);
    let thread = thread::Builder::new().name(format!("worker-{}", parts.index)).spawn(move || {
        let mut builder = Builder::new_current_thread();
        builder.enable_all().event_interval(TURNS_PER_LOOK);
        let runtime = builder.build_local(LocalOptions::default());
        match runtime {
            Ok(runtime) => {
                let _ = starting.send(Ok(()));
                runtime.block_on(run(parts, receiver));
            }
            Err(error) => drop(starting.send(Err(error))),
        }
    })?;
    started.recv().map_err(io::Error::other)??;
    Ok(Worker { thread, handed_over })
}

/// Is worker `index` on the calling thread, for clients that are handed over: the simulator has one thread
/// and its own time.
pub async fn work(
    shared: Arc<Shared>,
    index: usize,
    handed_over: mpsc::UnboundedReceiver<(ClientSocket, Permit)>,
) {
    run(WorkerParts { shared, index, listeners: Vec::new(), warm_up: None }, handed_over).await;
}

/// Is a worker, on the calling thread, until it has to stop.
async fn run(parts: WorkerParts, mut handed_over: mpsc::UnboundedReceiver<(ClientSocket, Permit)>) {
    let WorkerParts { shared, index, listeners, warm_up } = parts;
    let (values, stats) = (&shared.values, shared.stats.worker(index));
    let upstream = upstream(&shared, index, &stats);
    let cache = shared.cache.clone().map(|cache| NearCache::new(cache, stats.clone()));
    let settings = RouterSettings {
        request_timeout: values.upstream_request_timeout,
        single_worker: values.workers == 1,
        keyspace_bytes_max: values.keyspace_bytes_max,
        transactions_per_slot: values.transactions,
    };
    let (pubsub, memory, policies) =
        (shared.pubsub.clone(), shared.router_memory.clone(), shared.policies.clone());
    let router = Router::new(cache, upstream, pubsub, memory, policies, stats.clone(), settings);
    if let Some(warm_up) = warm_up {
        task::spawn_local(warm_up.run(router.clone(), shared.report.clone(), shared.drain.clone()));
    }
    if values.shadow_verify.is_some() {
        task::spawn_local(router.verify_samples(values.lease));
    }
    let database = DbIndex::new(values.upstream.database);
    if index == 0 && database != DbIndex::default() {
        task::spawn_local(first_database::verify(router.clone(), database));
    }
    let context = SessionContext {
        router,
        clients: shared.clients.clone(),
        pubsub: shared.pubsub.clone(),
        command_stats: shared.server.command_stats_of(index),
        server: shared.server.clone(),
        tracker: shared.tracker.clone(),
        ceiling: shared.ceiling.clone(),
        report: shared.report.clone(),
        limits: options::session_limits(values),
        database,
        namespaces: shared.namespaces.clone(),
        rewriter: RefCell::default(),
        drain: shared.drain.clone(),
        stats,
    };
    let host = Rc::new(SessionSpawner {
        context: Rc::new(context),
        buffer: ReadBuffer::default(),
        request_limits: options::request_limits(values),
    });
    let (admission, drain) = (&shared.admission, &shared.drain);
    let homes = shared.namespaces.tcp.iter().cloned().chain(std::iter::repeat(None));
    for (listener, home) in listeners.into_iter().zip(homes) {
        task::spawn_local(accept(listener, home, host.clone(), admission.clone(), drain.clone()));
    }
    let taking_in = async {
        while let Some((socket, permit)) = handed_over.recv().await {
            host.spawn(socket, permit, shared.namespaces.unix.clone());
        }
        std::future::pending().await
    };
    tokio::select! { () = taking_in => (), () = shared.stop.cancelled() => () }
}

/// The upstream connections of one worker. The first worker's canary measures them.
fn upstream(shared: &Shared, index: usize, stats: &Arc<WorkerStats>) -> Rc<Upstream> {
    let invalidator = shared.invalidator(index);
    let (canary, cache) = (invalidator.canary.clone(), shared.cache.clone());
    let on_push = Box::new(move |invalidation: &_| invalidator.on_push(invalidation));
    let on_side = Box::new(move || cache.iter().for_each(|cache| cache.note_multi_stream()));
    let (options, shared) = (shared.upstream_options.clone(), shared.upstream.clone());
    let upstream = Upstream::new(index, options, shared, on_push, on_side, stats.clone());
    task::spawn_local(upstream.clone().run());
    if let Some(canary) = canary {
        task::spawn_local(canary.run(upstream.clone()));
    }
    upstream
}

async fn accept(
    listener: Socket,
    home: Option<Arc<Namespace>>,
    host: Rc<SessionSpawner>,
    admission: Arc<ClientLimit>,
    drain: Drain,
) {
    let spawn = |socket, permit| host.spawn(socket, permit, home.clone());
    let accepting = listener::accept(listener, None, &admission, &drain, spawn);
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

    /// Waits for the end of a worker that has to stop.
    pub(super) fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("a worker panicked");
        }
    }
}

// === impl SessionSpawner ===

impl SessionSpawner {
    /// Begins the session of a new client, whose listener has the namespace `home`.
    fn spawn(&self, socket: ClientSocket, permit: Permit, home: Option<Arc<Namespace>>) {
        let ClientSocket { stream, address } = socket;
        let descriptor = stream.as_raw_fd();
        let endpoints = match address {
            Some(address) => {
                let local = stream.local_addr().ok().and_then(|local| local.as_socket());
                let local_address = local.map(|local| local.to_string()).unwrap_or_default();
                Endpoints {
                    address: address.to_string(),
                    local_address,
                    unix: None,
                    descriptor,
                    namespace: home,
                }
            }
            None => {
                // What the socket was bound to had another name: it was moved to this one when it listened.
                let path = self.context.report.unix.as_ref().map(|(path, _)| path.display().to_string());
                let path = path.unwrap_or_default();
                let address = format!("{path}:0");
                Endpoints {
                    local_address: address.clone(),
                    address,
                    unix: Some(path),
                    descriptor,
                    namespace: home,
                }
            }
        };
        if let Some(bytes) = self.context.ceiling.socket_bytes() {
            // What the kernel holds counts in a control group. A socket that takes no such setting is as wide
            // as others.
            let _ = stream.set_send_buffer_size(bytes).and_then(|()| stream.set_recv_buffer_size(bytes));
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
            Err(error) => tracing::warn!(%error, "a client could not be accepted"),
        }
    }
}
