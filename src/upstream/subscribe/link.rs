//! One connection that subscribes: it comes, it carries what the ledger wants on its node, it is lost, it
//! comes again.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;
use tokio::time::{self, MissedTickBehavior};

use super::message::{self, SubscribePush};
use super::plan::{SubscribeCommand, SubscribePhase};
use super::subscriptions::Subscriptions;
use super::topic::{Topic, TopicKind};
use crate::clock;
use crate::net::write_queue::WriteQueue;
use crate::node::NodeId;
use crate::protocol::resp::encode;
use crate::upstream::conn::handshake;
use crate::upstream::conn::identity::ExpectedNode;
use crate::upstream::conn::pace::Pace;
use crate::upstream::conn::supervisor::{Attempt, Served, Supervised, supervise};
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

/// One connection, whichever life of it.
struct SubscribeLink {
    feed: Arc<Subscriptions>,
    index: NodeIndex,
    node: NodeId,
    wake: Arc<Notify>,
    on_message: Arc<OnMessage>,
}

/// Keeps the connection to `node` up until nothing is left for it to do.
pub(super) async fn run(
    feed: Arc<Subscriptions>,
    index: NodeIndex,
    node: NodeId,
    wake: Arc<Notify>,
    on_message: Arc<OnMessage>,
) {
    let link = SubscribeLink { feed, index, node, wake, on_message };
    supervise(&link, &link.node, None, &link.feed.options, &link.feed.upstream).await;
}

// === impl SubscribeLink ===

impl Supervised for SubscribeLink {
    const KIND: &'static str = "pub/sub connection";
    const IS_VITAL: bool = false;
    type Greeted = Transport;

    /// Clients wait for it.
    fn takes_turn(&self, _: Attempt) -> bool {
        false
    }

    fn begin(&self, attempt: Attempt) -> bool {
        attempt != Attempt::AfterFailure || !self.feed.ledger.lock().close_if_idle(self.index)
    }

    async fn connect(&self) -> io::Result<Transport> {
        let options = &self.feed.options;
        let mut wire = Transport::connect(&self.node, options, &self.feed.upstream).await?;
        let whom = ExpectedNode { node: &self.node, shared: &self.feed.upstream };
        handshake::introduce(&mut wire, options, whom).await?;
        handshake::exempt(&mut wire, options).await?;
        Ok(wire)
    }

    async fn serve(&self, wire: Transport) -> Served {
        let board = &self.feed.upstream.board;
        board.post_feed(true);
        self.feed.ledger.lock().enter(self.index, SubscribePhase::Up);
        self.feed.needed.notify_one();
        tracing::info!(node = %self.node, "pub/sub connection established");
        let lost = self.subscribe(wire).await;
        board.post_feed(false);
        let Some(cause) = lost else {
            tracing::info!(node = %self.node, "pub/sub connection closed: no subscriptions left");
            return Served::Done;
        };
        let subscriptions = self.feed.ledger.lock().lost(self.index);
        self.feed.settled.notify_waiters();
        self.feed.stats.pubsub_losses.add(1);
        tracing::info!(node = %self.node, cause, subscriptions, "pub/sub connection lost");
        self.feed.upstream.table.ask_refresh();
        Served::Lost
    }

    fn down(&self, cause: &str) {
        self.feed.ledger.lock().enter(self.index, SubscribePhase::Down(cause.to_owned()));
        self.feed.settled.notify_waiters();
        self.feed.needed.notify_one();
        self.feed.upstream.attempt_failed();
    }
}

impl SubscribeLink {
    /// Subscribes over `wire`; returns why the connection was lost, or nothing when it was closed because nothing
    /// was left for it to do.
    async fn subscribe(&self, mut wire: Transport) -> Option<String> {
        let mut out = WriteQueue::default();
        let mut pace = Pace::default();
        let mut ticks = time::interval(self.feed.options.heartbeat_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.reset();
        let mut is_idle = false;
        loop {
            self.take_commands(&mut out);
            if let Err(error) = wire.write(&mut out) {
                return Some(error.to_string());
            }
            tokio::select! {
                event = wire.event(!out.is_empty()) => {
                    let received = event.and_then(|event| {
                        if event == TransportEvent::Read {
                            self.receive(&mut wire, &mut pace)?;
                        }
                        Ok(())
                    });
                    if let Err(error) = received {
                        return Some(error.to_string());
                    }
                }
                () = self.wake.notified() => is_idle = false,
                _ = ticks.tick() => {
                    if self.is_overdue(&pace) {
                        return Some("the node does not answer".to_owned());
                    }
                    let mut ledger = self.feed.ledger.lock();
                    // Not at once: who gives up one channel often takes another.
                    if is_idle && ledger.close_if_idle(self.index) {
                        return None;
                    }
                    is_idle = true;
                    ledger.try_again(self.index);
                    if ledger.wants_ping(self.index, clock::now()) {
                        out.push(&encode::request(&FENCE));
                    }
                }
            }
        }
    }

    /// Queues what the ledger wants to be sent. Behind each command goes a [`FENCE`]: what comes before its
    /// answer is about the command, and all that it subscribed to stands by then.
    fn take_commands(&self, out: &mut WriteQueue) {
        let next = || self.feed.ledger.lock().take_commands(self.index, clock::now());
        for command in std::iter::from_fn(next).flatten() {
            out.push(&written(&command));
            out.push(&encode::request(&FENCE));
        }
    }

    /// Whether the node owes an answer for too long, and said nothing else meanwhile, or too slowly.
    fn is_overdue(&self, pace: &Pace) -> bool {
        let since = self.feed.ledger.lock().owes_since(self.index);
        since.is_some_and(|since| pace.deadline(since, &self.feed.options.pace) < clock::now())
    }

    /// Takes in what was read, in the order in which the node sent it.
    fn receive(&self, wire: &mut Transport, pace: &mut Pace) -> io::Result<()> {
        let mut answered = false;
        let now = clock::now();
        pace.moved(wire.take_received(), now, &self.feed.options.pace);
        while let Some(frame) = wire.next_frame()? {
            pace.moved_whole(now);
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
                    if self.feed.ledger.lock().done(self.index) > 0 {
                        self.feed.upstream.table.ask_refresh();
                    }
                }
            }
        }
        if answered {
            let restored = self.feed.ledger.lock().take_restored();
            if restored > 0 {
                self.feed.stats.pubsub_restored.add(restored);
                tracing::info!(node = %self.node, subscriptions = restored, "subscriptions restored");
            }
            self.feed.settled.notify_waiters();
        }
        Ok(())
    }

    fn pushed(&self, frame: &Bytes) {
        match message::parse(frame) {
            SubscribePush::Message(topic, channel) => {
                if self.feed.ledger.lock().accepts(self.index, &topic, &channel) {
                    (self.on_message)(&topic, frame);
                }
            }
            SubscribePush::Ended(topic) => {
                if self.feed.ledger.lock().ended(self.index, &topic) {
                    tracing::info!(node = %self.node, "shard subscription ended: its slot has moved");
                    self.feed.upstream.table.ask_refresh();
                }
            }
            SubscribePush::Other => {}
        }
    }

    fn refused(&self, error: &Bytes) {
        let why = truncate::cut(error.trim_ascii_end());
        tracing::warn!(node = %self.node, error = %why.as_bytes().escape_ascii(), "subscription refused by the node");
        let error = truncate::redirect_cut(Bytes::copy_from_slice(error));
        self.feed.ledger.lock().refused(self.index, error);
    }
}

/// A command of the ledger as a request.
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
    let mut out = BytesMut::new();
    encode::array(&mut out, 1 + command.topics.len());
    encode::bulk(&mut out, name.as_bytes());
    command.topics.iter().for_each(|topic| encode::bulk(&mut out, &topic.name));
    out.freeze()
}
