//! What a command may use beside its client: the parts that all sessions of a worker share.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::command_stats::CommandStats;
use super::report::ServerReport;
use super::server_state::ServerState;
use crate::clients::Clients;
use crate::clients::tracker::Tracker;
use crate::drain::Drain;
use crate::memory::MemoryCeiling;
use crate::namespace::{Namespaces, Rewriter};
use crate::protocol::db::DbIndex;
use crate::pubsub::Hub;
use crate::router::Router;
use crate::stats::WorkerStats;

/// The limits of one session.
#[derive(Clone, Copy, Debug)]
pub struct SessionLimits {
    /// Replies that may be outstanding.
    pub pipeline_depth_max: usize,
    /// Bytes of requests that may be on their way to nodes.
    pub in_flight_bytes_max: usize,
    /// Bytes of requests that may wait behind an exclusive request.
    pub ahead_bytes_max: usize,
    /// Bytes of the requests that are queued since MULTI.
    pub transaction_bytes_max: usize,
    /// Bytes that may wait for a subscribed client to read them.
    pub subscribed_output_bytes_max: usize,
    /// Subscriptions of one client.
    pub subscriptions_max: usize,
    /// Patterns among them.
    pub patterns_max: usize,
    /// How long a request may take to arrive, and a client to log in.
    pub arrival_timeout: Duration,
    /// How long the upstream may take to confirm a subscription, or BCAST tracking.
    pub subscribe_timeout: Duration,
}

/// What all sessions of a worker use: the router of the worker, and the state that all workers share.
#[derive(Debug)]
pub struct SessionContext {
    /// Answers commands about data.
    pub router: Rc<Router>,
    /// All connected clients, on all workers.
    pub clients: Arc<Clients>,
    /// The subscriptions of all clients.
    pub pubsub: Arc<Hub>,
    /// The state of the server that commands read and change.
    pub server: Arc<ServerState>,
    /// The clients with tracking on, on all workers.
    pub tracker: Arc<Tracker>,
    /// The memory ceiling of the daemon.
    pub ceiling: Arc<MemoryCeiling>,
    /// Facts about the daemon that never change, and parts that only reports read.
    pub report: Arc<ServerReport>,
    /// The limits of each session.
    pub limits: SessionLimits,
    /// The database in which clients begin.
    pub database: DbIndex,
    /// Which clients are in which namespace.
    pub namespaces: Arc<Namespaces>,
    /// Gives the requests of clients in namespaces the names that the servers have.
    pub rewriter: RefCell<Rewriter>,
    /// Signals when to stop.
    pub drain: Drain,
    /// The counters of this worker.
    pub stats: Arc<WorkerStats>,
    /// The counts of commands of this worker.
    pub command_stats: Arc<CommandStats>,
}

/// Whether a command may wait before it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExecContext {
    /// Outside of EXEC: servers may be asked for a part of the answer.
    None,
    /// In EXEC: the answer is an element of the reply to EXEC, and is needed at once.
    AtOnce,
}
