//! PUBLISH and SPUBLISH: one node gets the message, and the number of receivers is put right.
//!
//! To that node this daemon is one subscriber, however many clients it has. So its count is taken without
//! ours, and our clients are counted instead. Both is right only if the node has heard of all that they began
//! and ended.

use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use tokio::task::yield_now;
use tokio::time::Instant;

use super::answer::Answer;
use super::caller::Caller;
use super::coherence::inflight::Hold;
use super::dispatch::Router;
use super::replies::{render, stopped};
use crate::node::NodeId;
use crate::protocol::command::{Flags, Keys, Spec};
use crate::protocol::key::Slot;
use crate::protocol::resp::cursor;
use crate::protocol::resp::encode;
use crate::protocol::resp::request::Request;
use crate::pubsub::Search;
use crate::upstream::{Call, Topic, TopicKind};

/// What there was of ours when a message was sent.
#[derive(Clone, Copy, Debug)]
struct Ours {
    /// How many receivers the node takes us for.
    counted: usize,
    /// How many of our clients get the message.
    clients: usize,
}

// === impl Proxy ===

impl Router {
    pub(super) fn publish(
        self: &Rc<Router>,
        spec: &'static Spec,
        request: &Request<'_>,
        caller: Caller<'_>,
    ) -> Answer {
        let name = Bytes::copy_from_slice(request.arg(1));
        let slot = Slot::of(&name);
        // A channel of a shard is a key: it is published where it lives, and redirects are followed.
        let sharded = spec.keys != Keys::None;
        let channel = Topic::new(if sharded { TopicKind::Shard } else { TopicKind::Channel }, name);
        if let Some(wait) = self.wait_for_subscriptions(Some(&channel), caller) {
            return wait;
        }
        let request = request.to_owned();
        let call = Call {
            bytes: request.bytes(),
            slot: Some(slot),
            reads_only: spec.flags.has(Flags::READ),
            foreign: false,
        };
        let (node, sent) = if sharded {
            (self.upstream.owner_node(slot), self.upstream.send(slot, call))
        } else {
            self.upstream.publish(slot, call)
        };
        let mut search = (!self.pubsub.feed().is_idle()).then(|| self.pubsub.search(&channel));
        let over = search.as_mut().is_none_or(|search| self.pubsub.go_on(search));
        // What the session asks behind it may change what there is.
        let hold = (!over).then(|| Hold::of(caller.own_writes));
        let (proxy, resp) = (self.clone(), caller.resp);
        let ours = search.as_ref().filter(|_| over).map(|search| self.ours(node.as_ref(), search));
        Answer::Later(Box::pin(async move {
            let ours = match (ours, &mut search) {
                (None, Some(search)) => {
                    while !proxy.pubsub.go_on(search) {
                        yield_now().await;
                    }
                    Some(proxy.ours(node.as_ref(), search))
                }
                (ours, _) => ours,
            };
            drop(hold);
            let outcome = sent.reply.await.unwrap_or_else(stopped);
            let counted = match &outcome {
                Ok(reply) => cursor::integer(&reply.frame).map(|count| (count, reply.rerouted)),
                Err(_) => None,
            };
            match counted.zip(ours).zip(search) {
                Some((((count, rerouted), ours), search)) => {
                    let elsewhere = || proxy.ours(proxy.upstream.owner_node(slot).as_ref(), &search);
                    let ours = if rerouted { elsewhere() } else { ours };
                    let others = count.saturating_sub(ours.counted as i64).max(0);
                    let mut out = BytesMut::new();
                    encode::integer(&mut out, others.saturating_add(ours.clients as i64));
                    out.freeze()
                }
                None => render(outcome, spec.form, &request, resp),
            }
        }))
    }

    /// Has the request wait, once, while a node is told what our clients began or ended: of what gets the
    /// messages of `channel`, or of anything. Until it has answered nobody knows what it counts, and who
    /// has sent SUBSCRIBE before would miss a message, which no client of a plain server would.
    pub fn wait_for_subscriptions(&self, channel: Option<&Topic>, caller: Caller<'_>) -> Option<Answer> {
        let feed = self.pubsub.feed();
        if caller.own_writes.take_waited() || !feed.is_changing(channel) {
            return None;
        }
        let (feed, channel, own_writes) = (feed.clone(), channel.cloned(), caller.own_writes.clone());
        let deadline = Instant::now() + self.settings.patience;
        Some(Answer::NotYet(Box::pin(async move {
            feed.settled(deadline, move |feed| !feed.is_changing(channel.as_ref())).await;
            own_writes.note_waited();
        })))
    }

    /// What there is of ours for a message that `node` gets, given what gets the messages of its channel.
    fn ours(&self, node: Option<&NodeId>, search: &Search) -> Ours {
        let feed = self.pubsub.feed();
        let counted = node.map_or(0, |node| feed.own_receivers(node, search.topics()));
        Ours { counted, clients: self.pubsub.receivers(search) }
    }
}
