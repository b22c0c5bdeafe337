//! PUBLISH and SPUBLISH: one node gets the message, and the number of receivers is put right.
//!
//! To that node this daemon is one subscriber, however many clients it has. So its count is taken without ours, and
//! our clients are counted instead.

use std::rc::Rc;

use bytes::{Bytes, BytesMut};

use super::{Answer, Caller, Proxy, render, stopped};
use crate::command::{Flags, Keys, Spec};
use crate::key::Slot;
use crate::node::NodeId;
use crate::resp::cursor;
use crate::resp::encode;
use crate::resp::request::Request;
use crate::upstream::{Call, Kind, Topic};

// === impl Proxy ===

impl Proxy {
    pub(super) fn publish<'a>(
        self: &'a Rc<Proxy>,
        spec: &'static Spec,
        request: &Request<'_>,
        caller: Caller<'_>,
    ) -> Answer<'a> {
        let name = Bytes::copy_from_slice(request.arg(1));
        let slot = Slot::of(&name);
        let request = request.to_owned();
        let call = Call { bytes: request.bytes(), slot: Some(slot), reads_only: spec.flags.has(Flags::READ) };
        // A channel of a shard is a key: it is published where it lives, and redirects are followed.
        let sharded = spec.keys != Keys::None;
        let (node, sent) = if sharded {
            (self.upstream.owner_node(slot), self.upstream.send(slot, call))
        } else {
            self.upstream.publish(slot, call)
        };
        let channel = Topic::new(if sharded { Kind::Shard } else { Kind::Channel }, name);
        let (proxy, resp) = (self.clone(), caller.resp);
        Answer::Later(Box::pin(async move {
            let outcome = sent.reply.await.unwrap_or_else(stopped);
            let counted = match &outcome {
                Ok(reply) => cursor::integer(&reply.frame).map(|count| (count, reply.rerouted)),
                Err(_) => None,
            };
            match counted.filter(|_| !proxy.pubsub.feed().is_idle()) {
                Some((count, rerouted)) => {
                    let node = if rerouted { proxy.upstream.owner_node(slot) } else { node };
                    proxy.receivers(count, node.as_ref(), &channel)
                }
                None => render(outcome, spec.form, &request, resp),
            }
        }))
    }

    /// The number of receivers of a message of which `node` says that `count` got it.
    fn receivers(&self, count: i64, node: Option<&NodeId>, channel: &Topic) -> Bytes {
        let own = node.map_or(0, |node| self.pubsub.feed().own_receivers(node, channel));
        let mut out = BytesMut::new();
        encode::integer(&mut out, (count - own as i64).max(0) + self.pubsub.receivers(channel) as i64);
        out.freeze()
    }
}
