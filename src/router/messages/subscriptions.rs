//! PUBSUB: the subscriptions of all primaries and of our own clients, joined.
//!
//! A node sees this daemon as one subscriber, so what it counts of ours is left out and our clients are
//! counted.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::future::{LocalBoxFuture, join_all, ready};

use super::settled::until_settled;
use crate::node::NodeId;
use crate::protocol::command::{Spec, SubscriptionQuery, TopicKind};
use crate::protocol::resp::cursor::{self, Elements, ReplyHead};
use crate::protocol::resp::encode;
use crate::protocol::resp::reply::number;
use crate::protocol::resp::request::{OwnedRequest, Request};
use crate::pubsub::Hub;
use crate::router::answer::{Answer, ExclusiveEnd};
use crate::router::context::RouterContext;
use crate::router::replies::{failure_reply, odd_reply_to, stopped};
use crate::router::turns::give_turn;
use crate::upstream::{Call, PendingReply, Topic};

/// Answers PUBSUB.
#[derive(Debug)]
pub(in crate::router) struct SubscriptionQueries {
    context: Rc<RouterContext>,
    hub: Arc<Hub>,
}

// === impl SubscriptionQueries ===

impl SubscriptionQueries {
    /// Counts the clients of `hub`.
    pub(in crate::router) fn new(context: Rc<RouterContext>, hub: Arc<Hub>) -> Rc<SubscriptionQueries> {
        Rc::new(SubscriptionQueries { context, hub })
    }

    /// Answers one of the subcommands of PUBSUB.
    pub(in crate::router) fn answer(
        self: &Rc<SubscriptionQueries>,
        spec: &'static Spec,
        query: SubscriptionQuery,
        request: &Request<'_>,
    ) -> Answer {
        if query == SubscriptionQuery::Patterns && request.len() > 2 {
            // In a namespace: what the nodes count is of all of them.
            return Answer::Now(number(self.hub.patterns_below(request.arg(2)) as i64));
        }
        let (this, request) = (self.clone(), request.to_owned());
        let Some(settled) = until_settled(&self.hub, self.context.settings.request_timeout, None) else {
            return Answer::Later(self.ask(spec, query, request));
        };
        Answer::Exclusive(Box::pin(async move {
            settled.await;
            ExclusiveEnd::Sent(this.ask(spec, query, request))
        }))
    }

    /// Asks all nodes now, and adds our own clients to what they say.
    fn ask(
        self: &Rc<SubscriptionQueries>,
        spec: &'static Spec,
        query: SubscriptionQuery,
        request: OwnedRequest,
    ) -> LocalBoxFuture<'static, Bytes> {
        let call = Call::question(request.bytes());
        let (nodes, sent): (Vec<NodeId>, Vec<_>) = self.context.upstream.send_each(&call).into_iter().unzip();
        if nodes.is_empty() {
            return Box::pin(ready(failure_reply(&self.context.upstream.no_topology())));
        }
        let this = self.clone();
        Box::pin(async move { this.gather(spec, query, &request, nodes, sent).await })
    }

    async fn gather(
        &self,
        spec: &'static Spec,
        query: SubscriptionQuery,
        request: &OwnedRequest,
        nodes: Vec<NodeId>,
        sent: Vec<PendingReply>,
    ) -> Bytes {
        let outcomes = join_all(sent.into_iter().map(|sent| sent.reply)).await;
        let mut replies = Vec::with_capacity(nodes.len());
        for (node, outcome) in nodes.into_iter().zip(outcomes) {
            match outcome.unwrap_or_else(stopped) {
                Ok(reply) if reply.frame.starts_with(b"-") => return reply.frame,
                Ok(reply) => replies.push((node, reply.frame)),
                Err(failure) => return failure_reply(&failure),
            }
        }
        let odd = |reply: &Bytes| odd_reply_to(spec, reply);
        let answers = match query {
            SubscriptionQuery::Names(kind) => self.names(kind, request, &replies).await,
            SubscriptionQuery::Counts(kind) => self.subscribers(kind, request, &replies).await,
            SubscriptionQuery::Patterns => self.patterns(&replies),
        };
        answers.unwrap_or_else(odd)
    }

    /// The names with a subscriber, or the unexpected reply of a node.
    async fn names<'a>(
        &self,
        kind: TopicKind,
        request: &OwnedRequest,
        replies: &'a [(NodeId, Bytes)],
    ) -> Result<Bytes, &'a Bytes> {
        let request = request.as_request();
        let pattern = (request.len() > 2).then(|| request.arg(2));
        let own = self.hub.names(kind, pattern);
        let mut names: BTreeSet<&[u8]> = own.iter().map(|name| &name[..]).collect();
        for (_, reply) in replies {
            for (index, element) in elements_of(reply).ok_or(reply)?.enumerate() {
                names.insert(element.and_then(cursor::text).ok_or(reply)?);
                give_turn(index).await;
            }
        }
        let mut out = BytesMut::new();
        encode::array(&mut out, names.len());
        names.into_iter().for_each(|name| encode::bulk(&mut out, name));
        Ok(out.freeze())
    }

    /// How many are subscribed to each of the channels that the request names, or the reply of a node that is
    /// none to that.
    async fn subscribers<'a>(
        &self,
        kind: TopicKind,
        request: &OwnedRequest,
        replies: &'a [(NodeId, Bytes)],
    ) -> Result<Bytes, &'a Bytes> {
        let request = request.as_request();
        let asked = request.len() - 2;
        let mut answers = Vec::with_capacity(replies.len());
        for (node, reply) in replies {
            let elements = elements_of(reply).filter(|elements| elements.size_hint().1 == Some(2 * asked));
            answers.push((node, reply, elements.ok_or(reply)?));
        }
        let mut out = BytesMut::new();
        encode::array(&mut out, 2 * asked);
        for (index, name) in request.args().skip(2).enumerate() {
            let topic = Topic::new(kind, Bytes::copy_from_slice(name));
            let mut count = self.hub.subscribers(&topic) as i64;
            for (node, reply, elements) in &mut answers {
                let named = elements.next().flatten().and_then(cursor::text);
                let number = elements.next().flatten().and_then(cursor::integer);
                let number = number.filter(|_| named == Some(name)).ok_or(*reply)?;
                let own = i64::from(self.hub.feed().is_active_on(node, &topic));
                count = count.saturating_add(number.saturating_sub(own).max(0));
            }
            encode::bulk(&mut out, name);
            encode::integer(&mut out, count);
            give_turn(index).await;
        }
        Ok(out.freeze())
    }

    /// How many patterns are subscribed to, or the reply of a node that is none to that.
    fn patterns<'a>(&self, replies: &'a [(NodeId, Bytes)]) -> Result<Bytes, &'a Bytes> {
        let mut count = self.hub.sizes().patterns as i64;
        for (node, reply) in replies {
            let own = self.hub.feed().own_patterns(node) as i64;
            let others = cursor::integer(reply).ok_or(reply)?.saturating_sub(own);
            count = count.saturating_add(others.max(0));
        }
        let mut out = BytesMut::new();
        encode::integer(&mut out, count);
        Ok(out.freeze())
    }
}

/// The elements of a list.
fn elements_of(reply: &[u8]) -> Option<Elements<'_>> {
    matches!(cursor::head(reply), Some(ReplyHead::Aggregate { kind: b'*', .. }))
        .then(|| cursor::elements(reply))?
}
