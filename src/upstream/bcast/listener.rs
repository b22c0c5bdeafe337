//! The BCAST connection to one node, which is opened again after a loss.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{self, MissedTickBehavior};

use super::state::BcastState;
use crate::clock::{self, Nanos};
use crate::net::write_queue::WriteQueue;
use crate::node::NodeId;
use crate::protocol::resp::encode;
use crate::upstream::conn::handshake::{self, Greeting, TrackingScope};
use crate::upstream::conn::identity::ExpectedNode;
use crate::upstream::conn::inbox::Inbox;
use crate::upstream::conn::push::{self, NodePush};
use crate::upstream::conn::supervisor::{Attempt, Served, Supervised, supervise};
use crate::upstream::conn::tracking::ConnectionTracking;
use crate::upstream::conn::transport::{Transport, TransportEvent};
use crate::upstream::conn::turn::{self, Turn};
use crate::upstream::options::UpstreamOptions;
use crate::upstream::shared::SharedUpstream;
use crate::upstream::status::LinkStatus;

/// What a node reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BcastEvent {
    /// These keys changed.
    Keys(Vec<Bytes>),
    /// Anything may have changed without a report.
    Everything,
}

/// Called with what was reported, in the order of each node.
pub type OnBcastEvent = Arc<dyn Fn(BcastEvent) + Send + Sync>;

/// The BCAST connection to one node; dropping this closes it.
pub(super) struct BcastListener {
    work: Arc<BcastWork>,
    task: JoinHandle<()>,
}

/// A connection that was greeted, with the answers of the node.
type GreetedBcast = (Transport, Greeting, Arc<Inbox>);

/// What the task of a listener works with.
pub(super) struct BcastWork {
    pub(super) node: NodeId,
    pub(super) state: Arc<BcastState>,
    pub(super) options: UpstreamOptions,
    pub(super) shared: Arc<SharedUpstream>,
    pub(super) on_heard: OnBcastEvent,
    /// Notified when the node becomes trusted, and when it ceases to be.
    pub(super) changed: Arc<Notify>,
}

/// A connection that is up.
struct BcastConnection<'a> {
    work: &'a BcastWork,
    tracking: ConnectionTracking,
    run_id: Arc<str>,
    /// When the latest heartbeat was sent that was answered: all that the node pushed before was received.
    heard_until: Nanos,
    /// The questions that were not answered yet: one of each kind at most.
    asked: VecDeque<BcastQuestion>,
}

/// What the node was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BcastQuestion {
    /// The heartbeat, which was sent then.
    Heartbeat(Nanos),
    /// A PING as a fence: its answer comes after all pushes that were sent before it.
    WasAllHeard(u64),
}

// === impl BcastListener ===

impl BcastListener {
    /// Listens to a node, and keeps the connection to it up.
    pub(super) fn start(work: BcastWork) -> BcastListener {
        let work = Arc::new(work);
        let kept = work.clone();
        let task = tokio::spawn(async move {
            supervise(&*kept, &kept.node, None, &kept.options, &kept.shared).await;
        });
        BcastListener { work, task }
    }

    pub(super) fn state(&self) -> &Arc<BcastState> {
        &self.work.state
    }
}

impl Drop for BcastListener {
    fn drop(&mut self) {
        self.task.abort();
        self.work.state.set(None);
        self.work.shared.status.remove_listener(&self.work.node);
    }
}

// === impl BcastWork ===

impl Supervised<GreetedBcast> for BcastWork {
    const KIND: &'static str = "BCAST subscription";
    const IS_VITAL: bool = false;

    fn takes_turn(&self, _: Attempt) -> bool {
        true
    }

    fn begin(&self, _: Attempt) -> bool {
        self.shared.status.report_listener(&self.node, LinkStatus::Connecting);
        true
    }

    async fn connect(&self) -> io::Result<GreetedBcast> {
        let mut transport = Transport::connect(&self.node, &self.options, &self.shared).await?;
        let track = TrackingScope::Prefixes(&self.state.prefixes);
        let whom = ExpectedNode { node: &self.node, shared: &self.shared };
        let greeting = handshake::greet(&mut transport, &self.options, track, whom).await?;
        match &greeting.untracked {
            Some(why) => Err(handshake::refusal(why)),
            None => {
                let inbox = transport.inbox(self.options.heartbeat_interval)?;
                Ok((transport, greeting, inbox))
            }
        }
    }

    async fn serve(&self, (transport, greeting, inbox): GreetedBcast) -> Served {
        let prefixes = self.state.prefixes.len();
        tracing::info!(node = %self.node, prefixes, "BCAST subscription established");
        let mut connection = BcastConnection::new(self, &greeting, inbox);
        let error = connection.receive(transport).await;
        connection.distrust();
        // No command waits for it, so the next attempt has a delay.
        Served::Failed(error.to_string())
    }

    fn down(&self, _: &str) {
        self.shared.status.report_listener(&self.node, LinkStatus::Down);
    }
}

// === impl BcastConnection ===

impl BcastConnection<'_> {
    fn new<'a>(work: &'a BcastWork, greeting: &Greeting, inbox: Arc<Inbox>) -> BcastConnection<'a> {
        let mut connection = BcastConnection {
            work,
            tracking: ConnectionTracking::new(work.options.lease, inbox),
            run_id: greeting.note(&work.shared, &work.node, false),
            heard_until: clock::now(),
            asked: VecDeque::new(),
        };
        let (sent_at, health) = &greeting.health;
        connection.tracking.note_heartbeat(*sent_at, health.clone(), &work.shared.table, clock::now());
        connection.publish();
        connection
    }

    /// Receives pushes until the connection is lost, or the node is silent for longer than the lease; returns
    /// the cause.
    async fn receive(&mut self, mut transport: Transport) -> io::Error {
        let mut out = WriteQueue::default();
        let mut ticks = time::interval(self.work.options.heartbeat_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // What comes seldom is looked at first; and in one order always, so that a simulated run can
                // be repeated.
                biased;
                _ = ticks.tick() => {
                    if clock::now() > self.heard_until + clock::nanos(self.work.options.lease) {
                        return io::Error::new(io::ErrorKind::TimedOut, "the node is silent");
                    }
                    self.beat(&mut out);
                }
                () = self.work.state.wanted.notified() => self.ask(&mut out),
                event = transport.event(!out.is_empty()) => match event {
                    Ok(TransportEvent::Read) => if let Err(error) = self.take(&mut transport, &mut out).await { return error },
                    Ok(TransportEvent::Room) => {}
                    Err(error) => return error,
                },
            }
            if let Err(error) = transport.write(&mut out) {
                return error;
            }
        }
    }

    fn beat(&mut self, out: &mut WriteQueue) {
        let now = clock::now();
        self.tracking.beats(now);
        if !self.asked.iter().any(|asked| matches!(asked, BcastQuestion::Heartbeat(_))) {
            self.asked.push_back(BcastQuestion::Heartbeat(now));
            out.push(&self.work.options.heartbeat.request());
        }
    }

    /// Sends a fence if a reader waits for one. The fence serves all readers that wait by then.
    fn ask(&mut self, out: &mut WriteQueue) {
        if self.asked.iter().any(|asked| matches!(asked, BcastQuestion::WasAllHeard(_))) {
            return;
        }
        if let Some(number) = self.work.state.unanswered() {
            self.asked.push_back(BcastQuestion::WasAllHeard(number));
            out.push(&encode::request(&["PING"]));
        }
    }

    /// Takes in what was read.
    async fn take(&mut self, transport: &mut Transport, out: &mut WriteQueue) -> io::Result<()> {
        let mut turn = Turn::default();
        while let Some(frame) = transport.next_frame()? {
            turn.note(1).await;
            if frame.first() == Some(&b'>') {
                match push::parse(&frame) {
                    NodePush::Invalidate(keys) => {
                        for keys in turn::parts(keys) {
                            let work = keys.len();
                            (self.work.on_heard)(BcastEvent::Keys(keys));
                            turn.note(work).await;
                        }
                    }
                    NodePush::InvalidateEverything => {
                        self.tracking.flush();
                        self.publish();
                        (self.work.on_heard)(BcastEvent::Everything);
                    }
                    NodePush::Other => {}
                }
                continue;
            }
            match self.asked.pop_front() {
                Some(BcastQuestion::Heartbeat(sent_at)) => self.note_heartbeat(sent_at, &frame),
                Some(BcastQuestion::WasAllHeard(number)) => {
                    self.work.state.answer(number);
                    self.ask(out);
                }
                None => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "a reply that nobody asked for"));
                }
            }
        }
        Ok(())
    }

    fn note_heartbeat(&mut self, sent_at: Nanos, frame: &[u8]) {
        self.heard_until = sent_at;
        let (table, health) = (&self.work.shared.table, self.work.options.heartbeat.read(frame));
        if let Some(why) = self.tracking.note_heartbeat(sent_at, health, table, clock::now()) {
            tracing::info!(node = %self.work.node, why, "BCAST invalidations not trusted until the topology is refreshed");
        }
        self.publish();
    }

    /// Publishes the epoch of the connection. Whenever an epoch begins or ends, something may have been
    /// missed.
    fn publish(&self) {
        let epoch = self.tracking.epoch().cloned();
        let changed = self.work.state.is_armed() != epoch.is_some();
        let link =
            if self.tracking.is_refused() { LinkStatus::Untracked } else { LinkStatus::Up(epoch.clone()) };
        self.work.shared.status.report_listener(&self.work.node, link);
        self.work.state.set(epoch.map(|epoch| (self.run_id.clone(), epoch)));
        if changed {
            (self.work.on_heard)(BcastEvent::Everything);
            self.work.changed.notify_one();
        }
    }

    /// The connection is over, and its epoch with it.
    fn distrust(&mut self) {
        self.tracking.end();
        self.publish();
    }
}
