//! PUBSUB: what is subscribed to, gathered from all primaries and from our own clients.
//!
//! A node sees this daemon as one subscriber, so what it counts of ours is left out and our clients are counted.

use std::collections::BTreeSet;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use futures_util::future::join_all;

use super::{Answer, Caller, Proxy, failure_reply, stopped};
use crate::command::Spec;
use crate::node::NodeId;
use crate::resp::cursor::{self, Head};
use crate::resp::encode;
use crate::resp::request::{OwnedRequest, Request};
use crate::upstream::{Call, Kind, Topic};

// === impl Proxy ===

impl Proxy {
    pub(super) fn subscriptions<'a>(
        self: &'a Rc<Proxy>,
        spec: &'static Spec,
        request: &Request<'_>,
        caller: Caller<'_>,
    ) -> Answer<'a> {
        if let Some(wait) = self.wait_for_subscriptions(None, caller) {
            return wait;
        }
        let request = request.to_owned();
        let call = Call { bytes: request.bytes(), slot: None, reads_only: true, foreign: false };
        let (nodes, sent): (Vec<NodeId>, Vec<_>) = self.upstream.send_each(&call).into_iter().unzip();
        if nodes.is_empty() {
            return Answer::Now(failure_reply(&self.upstream.no_topology()));
        }
        let proxy = self.clone();
        Answer::Later(Box::pin(async move {
            let outcomes = join_all(sent.into_iter().map(|sent| sent.reply)).await;
            let mut replies = Vec::with_capacity(nodes.len());
            for (node, outcome) in nodes.into_iter().zip(outcomes) {
                match outcome.unwrap_or_else(stopped) {
                    Ok(reply) if reply.frame.starts_with(b"-") => return reply.frame,
                    Ok(reply) => replies.push((node, reply.frame)),
                    Err(failure) => return failure_reply(&failure),
                }
            }
            match spec.name {
                "pubsub|channels" => proxy.names(Kind::Channel, &request, &replies),
                "pubsub|shardchannels" => proxy.names(Kind::Shard, &request, &replies),
                "pubsub|numsub" => proxy.subscribers(Kind::Channel, &request, &replies),
                "pubsub|shardnumsub" => proxy.subscribers(Kind::Shard, &request, &replies),
                _ => proxy.patterns(&replies),
            }
        }))
    }

    /// The names that somebody is subscribed to.
    fn names(&self, kind: Kind, request: &OwnedRequest, replies: &[(NodeId, Bytes)]) -> Bytes {
        let request = request.as_request();
        let pattern = (request.len() > 2).then(|| request.arg(2));
        let own = self.pubsub.names(kind, pattern);
        let mut names: BTreeSet<&[u8]> = own.iter().map(|name| &name[..]).collect();
        for (_, reply) in replies {
            let elements = cursor::elements(reply).into_iter().flatten().flatten();
            names.extend(elements.filter_map(|element| match cursor::head(element) {
                Some(Head::Blob { body, .. }) => Some(body),
                _ => None,
            }));
        }
        let mut out = BytesMut::new();
        encode::array(&mut out, names.len());
        names.into_iter().for_each(|name| encode::bulk(&mut out, name));
        out.freeze()
    }

    /// How many are subscribed to each of the channels that the request names.
    fn subscribers(&self, kind: Kind, request: &OwnedRequest, replies: &[(NodeId, Bytes)]) -> Bytes {
        let request = request.as_request();
        let asked = request.len() - 2;
        let mut counts = vec![0; asked];
        let topics: Vec<Topic> =
            request.args().skip(2).map(|name| Topic::new(kind, Bytes::copy_from_slice(name))).collect();
        for (node, reply) in replies {
            let numbers = cursor::elements(reply).into_iter().flatten().flatten().skip(1).step_by(2);
            for ((count, topic), number) in counts.iter_mut().zip(&topics).zip(numbers) {
                let own = i64::from(self.pubsub.feed().stands_on(node, topic));
                *count += (cursor::integer(number).unwrap_or_default() - own).max(0);
            }
        }
        let mut out = BytesMut::new();
        encode::array(&mut out, 2 * asked);
        for (topic, count) in topics.iter().zip(counts) {
            encode::bulk(&mut out, &topic.name);
            encode::integer(&mut out, count + self.pubsub.subscribers(topic) as i64);
        }
        out.freeze()
    }

    /// How many patterns are subscribed to.
    fn patterns(&self, replies: &[(NodeId, Bytes)]) -> Bytes {
        let others = replies.iter().map(|(node, reply)| {
            let own = self.pubsub.feed().own_patterns(node) as i64;
            (cursor::integer(reply).unwrap_or_default() - own).max(0)
        });
        let mut out = BytesMut::new();
        encode::integer(&mut out, others.sum::<i64>() + self.pubsub.sizes().patterns as i64);
        out.freeze()
    }
}
