//! PUBLISH and SPUBLISH: one node gets the message, and the number of receivers is put right.
//!
//! To that node this daemon is one subscriber, however many clients it has. So its count is taken without
//! ours, and our clients are counted instead. Both is right only if the node has received all that they began
//! and ended.

use std::rc::Rc;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::future::LocalBoxFuture;
use tokio::task::yield_now;

use super::settled::until_settled;
use crate::node::NodeId;
use crate::protocol::command::{Flags, Keys, Spec, TopicKind};
use crate::protocol::key::{KeySlots, Slot};
use crate::protocol::resp::cursor;
use crate::protocol::resp::encode;
use crate::protocol::resp::request::{OwnedRequest, Request};
use crate::pubsub::{Hub, Search};
use crate::router::answer::{Answer, ExclusiveEnd};
use crate::router::caller::Caller;
use crate::router::coherence::inflight::Hold;
use crate::router::context::RouterContext;
use crate::router::replies::{render, stopped};
use crate::upstream::{Call, Topic};

/// What there was of ours when a message was sent.
#[derive(Clone, Copy, Debug)]
struct Ours {
    /// How many receivers the node takes us for.
    counted: usize,
    /// How many of our clients get the message.
    clients: usize,
}

/// Publishes messages.
#[derive(Debug)]
pub(in crate::router) struct Publisher {
    context: Rc<RouterContext>,
    hub: Arc<Hub>,
}

// === impl Publisher ===

impl Publisher {
    /// Counts the receivers among the clients of `hub`.
    pub(in crate::router) fn new(context: Rc<RouterContext>, hub: Arc<Hub>) -> Rc<Publisher> {
        Rc::new(Publisher { context, hub })
    }

    /// PUBLISH and SPUBLISH.
    pub(in crate::router) fn publish(
        self: &Rc<Publisher>,
        spec: &'static Spec,
        request: &Request<'_>,
        caller: Caller<'_>,
    ) -> Answer {
        let name = Bytes::copy_from_slice(request.arg(1));
        // A channel of a shard is a key: it is published where it lives, and redirects are followed.
        let kind = if spec.keys == Keys::None { TopicKind::Channel } else { TopicKind::Shard };
        let channel = Topic::new(kind, name);
        let request = request.to_owned();
        let Some(settled) = self.until_settled(&channel) else {
            return Answer::Later(self.send(spec, channel, request, caller));
        };
        let (this, caller) = (self.clone(), caller.to_owned());
        Answer::Exclusive(Box::pin(async move {
            settled.await;
            while let Some(pause) = this.context.pause.hold(spec.flags) {
                pause.await;
                if let Some(settled) = this.until_settled(&channel) {
                    settled.await;
                }
            }
            ExclusiveEnd::Sent(this.send(spec, channel, request, caller.as_caller()))
        }))
    }

    fn until_settled(&self, channel: &Topic) -> Option<LocalBoxFuture<'static, ()>> {
        until_settled(&self.hub, self.context.settings.request_timeout, Some(channel))
    }

    /// Sends the message now; the reply will come.
    fn send(
        self: &Rc<Publisher>,
        spec: &'static Spec,
        channel: Topic,
        request: OwnedRequest,
        caller: Caller<'_>,
    ) -> LocalBoxFuture<'static, Bytes> {
        let (slot, sharded) = (Slot::of(&channel.name), channel.kind == TopicKind::Shard);
        let call = Call {
            slots: KeySlots::One(slot),
            ..Call::without_keys(request.bytes(), spec.flags.has(Flags::READ))
        };
        let (node, sent) = if sharded {
            (self.context.upstream.owner_node(slot), self.context.upstream.send(Some(slot), call))
        } else {
            self.context.upstream.publish(slot, call)
        };
        let mut search = (!self.hub.feed().is_idle()).then(|| self.hub.search(&channel));
        let over = search.as_mut().is_none_or(|search| self.hub.go_on(search));
        // What the session asks behind it may change what there is.
        let hold = (!over).then(|| Hold::of(caller.inflight));
        let (this, resp) = (self.clone(), caller.resp);
        let ours = search.as_ref().filter(|_| over).map(|search| self.ours(node.as_ref(), search));
        Box::pin(async move {
            let ours = match (ours, &mut search) {
                (None, Some(search)) => {
                    while !this.hub.go_on(search) {
                        yield_now().await;
                    }
                    Some(this.ours(node.as_ref(), search))
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
                    let elsewhere = || this.ours(this.context.upstream.owner_node(slot).as_ref(), &search);
                    let ours = if rerouted { elsewhere() } else { ours };
                    let others = count.saturating_sub(ours.counted as i64).max(0);
                    let mut out = BytesMut::new();
                    encode::integer(&mut out, others.saturating_add(ours.clients as i64));
                    out.freeze()
                }
                None => render(outcome, spec.form, &request, resp),
            }
        })
    }

    /// What there is of ours for a message that `node` gets, given what gets the messages of its channel.
    fn ours(&self, node: Option<&NodeId>, search: &Search) -> Ours {
        let feed = self.hub.feed();
        let counted = node.map_or(0, |node| feed.own_receivers(node, search.topics()));
        Ours { counted, clients: self.hub.receivers(search) }
    }
}
