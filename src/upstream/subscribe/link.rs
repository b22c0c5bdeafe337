//! A connection that subscribes to what the plan wants on its node.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{self, MissedTickBehavior};

use super::inflight::SubscribeCommand;
use super::message::{self, SubscribePush};
use super::planned_connection::SubscribePhase;
use super::subscriptions::Subscriptions;
use super::topic::Topic;
use crate::clock;
use crate::net::write_queue::WriteQueue;
use crate::node::NodeId;
use crate::protocol::command::TopicKind;
use crate::protocol::resp::encode;
use crate::stats::CountGuard;
use crate::upstream::conn::handshake;
use crate::upstream::conn::identity::ExpectedNode;
use crate::upstream::conn::supervisor::{Attempt, Served, Supervised, supervise};
use crate::upstream::conn::transfer::TransferProgress;
use crate::upstream::conn::transport::{Transport, TransportEvent};
use crate::upstream::topology::node_numbers::NodeIndex;
use crate::upstream::truncate;

/// Called with what was subscribed to and the message as the node pushed it, in the order in which the node
/// did.
pub type OnMessage = Box<dyn Fn(&Topic, &Bytes) + Send + Sync>;

/// What is asked behind a subscription. An error before its answer is about the subscription, so it has to be
/// something that no user is denied, as PING may be.
const FENCE: [&str; 2] = ["HELLO", "3"];

/// The type of its answer: a map.
const FENCE_ANSWER: u8 = b'%';

/// The connection to one node, which is opened again after a loss.
struct SubscribeLink {
    subscriptions: Arc<Subscriptions>,
    index: NodeIndex,
    node: NodeId,
    wake: Arc<Notify>,
    on_message: Arc<OnMessage>,
}

/// Keeps the connection to `node` up until nothing is left for it to do.
pub(super) async fn run(
    subscriptions: Arc<Subscriptions>,
    index: NodeIndex,
    node: NodeId,
    wake: Arc<Notify>,
    on_message: Arc<OnMessage>,
) {
    let link = SubscribeLink { subscriptions, index, node, wake, on_message };
    supervise(&link, &link.node, None, &link.subscriptions.options, &link.subscriptions.upstream).await;
}

// === impl SubscribeLink ===

impl Supervised<Transport> for SubscribeLink {
    const KIND: &'static str = "pub/sub connection";
    const IS_VITAL: bool = false;

    /// Clients wait for it.
    fn takes_turn(&self, _: Attempt) -> bool {
        false
    }

    fn begin(&self, attempt: Attempt) -> bool {
        attempt != Attempt::AfterFailure || !self.subscriptions.plan.lock().close_if_idle(self.index)
    }

    async fn connect(&self) -> io::Result<Transport> {
        let options = &self.subscriptions.options;
        let mut transport = Transport::connect(&self.node, options, &self.subscriptions.upstream).await?;
        let whom = ExpectedNode { node: &self.node, shared: &self.subscriptions.upstream };
        handshake::greet_untracked(&mut transport, options, whom).await?;
        handshake::exempt(&mut transport, options).await?;
        Ok(transport)
    }

    async fn serve(&self, transport: Transport) -> Served {
        let counted = CountGuard::more(&self.subscriptions.upstream.status.subscribers);
        self.subscriptions.plan.lock().enter(self.index, SubscribePhase::Up);
        self.subscriptions.needed.notify_one();
        tracing::info!(node = %self.node, "pub/sub connection established");
        let lost = self.subscribe(transport).await;
        drop(counted);
        let Some(cause) = lost else {
            tracing::info!(node = %self.node, "pub/sub connection closed: no subscriptions left");
            return Served::Done;
        };
        let subscriptions = self.subscriptions.plan.lock().lost(self.index);
        self.subscriptions.settled.notify_waiters();
        self.subscriptions.stats.pubsub_losses.add(1);
        tracing::info!(node = %self.node, cause, subscriptions, "pub/sub connection lost");
        self.subscriptions.upstream.table.ask_refresh();
        Served::Lost
    }

    fn down(&self, cause: &str) {
        self.subscriptions.plan.lock().enter(self.index, SubscribePhase::Down(cause.to_owned()));
        self.subscriptions.settled.notify_waiters();
        self.subscriptions.needed.notify_one();
        self.subscriptions.upstream.attempt_failed();
    }
}

impl SubscribeLink {
    /// Subscribes over `transport`; returns why the connection was lost, or nothing when it was closed
    /// because nothing was left for it to do.
    async fn subscribe(&self, mut transport: Transport) -> Option<String> {
        let mut out = WriteQueue::default();
        let mut transfer = TransferProgress::default();
        let mut ticks = time::interval(self.subscriptions.options.heartbeat_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.reset();
        let mut is_idle = false;
        loop {
            self.take_commands(&mut out);
            if let Err(error) = transport.write(&mut out) {
                return Some(error.to_string());
            }
            tokio::select! {
                event = transport.event(!out.is_empty()) => {
                    let received = event.and_then(|event| {
                        if event == TransportEvent::Read {
                            self.receive(&mut transport, &mut transfer)?;
                        }
                        Ok(())
                    });
                    if let Err(error) = received {
                        return Some(error.to_string());
                    }
                }
                () = self.wake.notified() => is_idle = false,
                _ = ticks.tick() => {
                    if self.is_overdue(&transfer) {
                        return Some("the node does not answer".to_owned());
                    }
                    let mut plan = self.subscriptions.plan.lock();
                    // Not at once: a client that leaves one channel often joins another.
                    if is_idle && plan.close_if_idle(self.index) {
                        return None;
                    }
                    is_idle = true;
                    plan.try_again(self.index);
                    if plan.wants_ping(self.index, clock::now()) {
                        out.push(&encode::request(&FENCE));
                    }
                }
            }
        }
    }

    /// Queues what the plan wants to be sent. Behind each command goes a [`FENCE`]: what comes before its
    /// answer is about the command, and all that it subscribed to is active by then.
    fn take_commands(&self, out: &mut WriteQueue) {
        let next = || self.subscriptions.plan.lock().take_commands(self.index, clock::now());
        for command in std::iter::from_fn(next).flatten() {
            out.push(&written(&command));
            out.push(&encode::request(&FENCE));
        }
    }

    /// Whether the node owes an answer for too long, and said nothing else meanwhile, or too slowly.
    fn is_overdue(&self, transfer: &TransferProgress) -> bool {
        let since = self.subscriptions.plan.lock().owes_since(self.index);
        since.is_some_and(|since| {
            transfer.deadline(since, &self.subscriptions.options.transfer) < clock::now()
        })
    }

    /// Takes in what was read, in the order in which the node sent it.
    fn receive(&self, transport: &mut Transport, transfer: &mut TransferProgress) -> io::Result<()> {
        let mut answered = false;
        let now = clock::now();
        transfer.moved(transport.take_received(), now, &self.subscriptions.options.transfer);
        while let Some(frame) = transport.next_frame()? {
            transfer.moved_whole(now);
            match frame.first() {
                Some(b'>') => self.pushed(&frame),
                Some(b'-') => self.refused(&frame),
                // All that is subscribed to is confirmed by pushes: what else would this be the answer to?
                Some(kind) if *kind != FENCE_ANSWER => {
                    let error = "it answered with something that is no reply to a subscription";
                    return Err(io::Error::new(io::ErrorKind::InvalidData, error));
                }
                _ => {
                    answered = true;
                    if self.subscriptions.plan.lock().done(self.index) > 0 {
                        self.subscriptions.upstream.table.ask_refresh();
                    }
                }
            }
        }
        if answered {
            let restored = self.subscriptions.plan.lock().take_restored();
            if restored > 0 {
                self.subscriptions.stats.pubsub_restored.add(restored);
                tracing::info!(node = %self.node, subscriptions = restored, "subscriptions restored");
            }
            self.subscriptions.settled.notify_waiters();
        }
        Ok(())
    }

    fn pushed(&self, frame: &Bytes) {
        match message::parse(frame) {
            SubscribePush::Message(topic, channel) => {
                if self.subscriptions.plan.lock().accepts(self.index, &topic, &channel) {
                    (self.on_message)(&topic, frame);
                }
            }
            SubscribePush::Ended(topic) => {
                if self.subscriptions.plan.lock().ended(self.index, &topic) {
                    tracing::info!(node = %self.node, "shard subscription ended: its slot has moved");
                    self.subscriptions.upstream.table.ask_refresh();
                }
            }
            SubscribePush::Other => {}
        }
    }

    fn refused(&self, error: &Bytes) {
        let why = truncate::cut(error.trim_ascii_end());
        tracing::warn!(node = %self.node, error = %why.as_bytes().escape_ascii(), "subscription refused by the node");
        let error = truncate::redirect_cut(Bytes::copy_from_slice(error));
        self.subscriptions.plan.lock().refused(self.index, error);
    }
}

/// A command of the plan as a request.
fn written(command: &SubscribeCommand) -> Bytes {
    let kind = command.topics.first().map_or(TopicKind::Channel, |topic| topic.kind);
    let name = match (kind, command.subscribes) {
        (TopicKind::Channel, true) => "SUBSCRIBE",
        (TopicKind::Channel, false) => "UNSUBSCRIBE",
        (TopicKind::Pattern, true) => "PSUBSCRIBE",
        (TopicKind::Pattern, false) => "PUNSUBSCRIBE",
        (TopicKind::Shard, true) => "SSUBSCRIBE",
        (TopicKind::Shard, false) => "SUNSUBSCRIBE",
    };
    let topics = command.topics.iter().map(|topic| &topic.name[..]);
    encode::request(&std::iter::once(name.as_bytes()).chain(topics).collect::<Vec<_>>())
}
