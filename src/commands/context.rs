//! What the commands of a session may use beside its client: the parts that all sessions of a worker share.

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
use crate::pubsub::Hub;
use crate::router::Router;
use crate::stats::WorkerStats;

/// The bounds on one session.
#[derive(Clone, Copy, Debug)]
pub struct SessionLimits {
    /// Answers that may be outstanding.
    pub pipeline_depth_max: usize,
    /// Bytes of requests that may be on their way to nodes.
    pub in_flight_bytes_max: usize,
    /// Bytes of requests that may wait while an earlier one is carried out alone.
    pub ahead_bytes_max: usize,
    /// Bytes that the requests queued since MULTI take.
    pub transaction_bytes_max: usize,
    /// Bytes that may wait for a client that is subscribed to something to read them.
    pub subscribed_output_bytes_max: usize,
    /// Subscriptions of one client.
    pub subscriptions_max: usize,
    /// Patterns among them.
    pub patterns_max: usize,
    /// How long a request may take to arrive, and a client to say its password.
    pub arrival_timeout: Duration,
    /// How long a client may ask nothing; zero is for ever.
    pub idle_timeout: Duration,
    /// How long the upstream may take to confirm a subscription, or that it tells of all keys.
    pub subscribe_timeout: Duration,
}

/// What all sessions of a worker use.
#[derive(Debug)]
pub struct SessionContext {
    /// Answers what is about data.
    pub router: Rc<Router>,
    /// All clients that are connected, to whichever worker.
    pub clients: Arc<Clients>,
    /// Which client is subscribed to what.
    pub pubsub: Arc<Hub>,
    /// The state that the sessions of all workers share.
    pub server: Arc<ServerState>,
    /// The clients that cache, whichever worker serves them.
    pub tracker: Arc<Tracker>,
    /// What may be held for all of them.
    pub ceiling: Arc<MemoryCeiling>,
    /// What the daemon says of itself.
    pub report: Arc<ServerReport>,
    /// The bounds.
    pub limits: SessionLimits,
    /// Signals when to stop.
    pub drain: Drain,
    /// Where this worker counts.
    pub stats: Arc<WorkerStats>,
    /// Where this worker counts what each command did.
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
