//! Subscribing and unsubscribing: what one client is subscribed to, and what it may do meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use super::SessionContext;
use super::state::State;
use crate::clients::{Client, Mark};
use crate::command::Spec;
use crate::mailbox::Mail;
use crate::proxy::Answer;
use crate::pubsub::Hub;
use crate::resp::Resp;
use crate::resp::encode;
use crate::resp::request::Request;
use crate::upstream::{Kind, Readiness, Topic, Wanted};

/// The subscriptions of one session. They end with it.
#[derive(Debug)]
pub(super) struct Subscriber {
    hub: Arc<Hub>,
    client: Arc<Client>,
    channels: BTreeSet<Bytes>,
    patterns: BTreeSet<Bytes>,
    shards: BTreeSet<Bytes>,
    /// What the request at hand subscribes to, until that stands upstream; and how long it may take.
    pending: Option<(Wanted, Instant)>,
    /// What the request at hand has ended, until no node counts it any more.
    leaving: Option<Leaving>,
}

/// Subscriptions that have ended here.
#[derive(Debug)]
struct Leaving {
    topics: Arc<[Topic]>,
    confirmation: Bytes,
    deadline: Instant,
}

/// Answers SUBSCRIBE, UNSUBSCRIBE and their like. What a client subscribes to is confirmed in its mailbox, in one step
/// with the messages that come from then on, so the reply itself is empty.
pub(super) fn answer(
    spec: &'static Spec,
    request: &Request<'_>,
    state: &mut State,
    context: &SessionContext,
) -> Answer<'static> {
    let resp = state.resp();
    let State { modes, client, .. } = state;
    let modes = modes.get_or_insert_default();
    let subscriber = modes.subscriber.get_or_insert_with(|| Subscriber::new(&context.pubsub, client));
    let kind = match spec.name {
        "psubscribe" | "punsubscribe" => Kind::Pattern,
        "ssubscribe" | "sunsubscribe" => Kind::Shard,
        _ => Kind::Channel,
    };
    if spec.name.ends_with("unsubscribe") {
        let answer = subscriber.unsubscribe(kind, request, resp, context);
        subscriber.show(client);
        if !subscriber.is_subscribed() && subscriber.leaving.is_none() {
            modes.subscriber = None;
        }
        return answer;
    }
    if let Some(wait) = context.proxy.wait_for_upstream() {
        return wait;
    }
    let answer = subscriber.subscribe(kind, request, resp, context);
    subscriber.show(client);
    answer
}

/// What a client of RESP2 that is subscribed gets for a request: it can tell a reply from a message only if there are
/// hardly any replies.
pub(super) fn intercept(
    subscriber: &Subscriber,
    spec: &'static Spec,
    request: &Request<'_>,
    resp: Resp,
) -> Option<Answer<'static>> {
    if resp == Resp::Three || !subscriber.is_subscribed() {
        return None;
    }
    match spec.name {
        "ping" if request.len() <= 2 => {
            let mut out = BytesMut::from(&b"*2\r\n$4\r\npong\r\n"[..]);
            encode::bulk(&mut out, request.arg(1));
            Some(Answer::Now(out.freeze()))
        }
        "ping" | "subscribe" | "psubscribe" | "ssubscribe" | "unsubscribe" | "punsubscribe"
        | "sunsubscribe" | "quit" | "reset" => None,
        name => {
            let code = if name == "exec" { "EXECABORT Transaction discarded because of:" } else { "ERR" };
            Some(Answer::Now(encode::error_reply(format!(
                "{code} Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are \
                 allowed in this context"
            ))))
        }
    }
}

// === impl Subscriber ===

impl Subscriber {
    /// Has CLIENT LIST tell what the client is subscribed to.
    fn show(&self, client: &Client) {
        client.channels.store(self.channels.len(), Ordering::Relaxed);
        client.patterns.store(self.patterns.len(), Ordering::Relaxed);
        client.shard_channels.store(self.shards.len(), Ordering::Relaxed);
        client.mark(Mark::PubSub, self.is_subscribed());
    }

    fn new(hub: &Arc<Hub>, client: &Arc<Client>) -> Subscriber {
        let (channels, patterns, shards) = Default::default();
        let (hub, client) = (hub.clone(), client.clone());
        Subscriber { hub, client, channels, patterns, shards, pending: None, leaving: None }
    }

    /// Whether its client gets messages.
    pub(super) fn is_subscribed(&self) -> bool {
        !(self.channels.is_empty() && self.patterns.is_empty() && self.shards.is_empty())
    }

    fn subscribe(
        &mut self,
        kind: Kind,
        request: &Request<'_>,
        resp: Resp,
        context: &SessionContext,
    ) -> Answer<'static> {
        if self.pending.is_none() {
            match self.want(kind, request, context) {
                Ok(pending) => self.pending = Some(pending),
                Err(error) => return Answer::Now(encode::error_reply(error)),
            }
        }
        let Some((wanted, deadline)) = self.pending.take() else { return Answer::Now(Bytes::new()) };
        match wanted.readiness() {
            Readiness::Ready => self.confirm(kind, &wanted, resp),
            Readiness::Failed(error) => return Answer::Now(error),
            Readiness::NotYet if Instant::now() >= deadline => {
                return Answer::Now(encode::error_reply(format!(
                    "ERR nearside: the upstream did not confirm the subscription within {} ms \
                     (upstream_request_timeout)",
                    context.limits.subscribe_timeout.as_millis()
                )));
            }
            Readiness::NotYet => {
                let decided = wanted.decided(deadline);
                self.pending = Some((wanted, deadline));
                return Answer::NotYet(Box::pin(decided));
            }
        }
        Answer::Now(Bytes::new())
    }

    /// Begins to want what the request names.
    fn want(
        &self,
        kind: Kind,
        request: &Request<'_>,
        context: &SessionContext,
    ) -> Result<(Wanted, Instant), String> {
        let limits = &context.limits;
        let names = request.args().skip(1);
        let topics: Vec<Topic> = names.map(|name| Topic::new(kind, Bytes::copy_from_slice(name))).collect();
        let new: BTreeSet<&Bytes> =
            topics.iter().map(|topic| &topic.name).filter(|name| !self.of(kind).contains(*name)).collect();
        let present = self.channels.len() + self.patterns.len() + self.shards.len();
        if present + new.len() > limits.subscriptions_max {
            return Err(format!(
                "ERR nearside: a client may have {} subscriptions (pubsub_subscriptions_max)",
                limits.subscriptions_max
            ));
        }
        let wanted = self.hub.feed().want(topics).ok_or(
            "ERR nearside: too many different channels and patterns are subscribed to (pubsub_names_max)",
        )?;
        Ok((wanted, Instant::now() + limits.subscribe_timeout))
    }

    fn confirm(&mut self, kind: Kind, wanted: &Wanted, resp: Resp) {
        let mut new = Vec::new();
        let mut confirmation = BytesMut::new();
        for topic in wanted.topics() {
            if self.of_mut(kind).insert(topic.name.clone()) {
                new.push(topic.clone());
            }
            self.write(&mut confirmation, kind, "subscribe", Some(&topic.name), resp);
        }
        self.hub.subscribe(&self.client, &new, confirmation.freeze());
    }

    /// Confirms the end once no node counts it any more: whoever publishes after that gets the right number.
    fn unsubscribe(
        &mut self,
        kind: Kind,
        request: &Request<'_>,
        resp: Resp,
        context: &SessionContext,
    ) -> Answer<'static> {
        let leaving = match self.leaving.take() {
            Some(leaving) => leaving,
            None => {
                let (topics, confirmation) = self.leave(kind, request, resp);
                let deadline = Instant::now() + context.limits.subscribe_timeout;
                Leaving { topics: topics.into(), confirmation, deadline }
            }
        };
        let feed = self.hub.feed();
        if Instant::now() < leaving.deadline && feed.is_leaving(&leaving.topics) {
            let topics = leaving.topics.clone();
            let left = feed.settled(leaving.deadline, move |feed| !feed.is_leaving(&topics));
            self.leaving = Some(leaving);
            return Answer::NotYet(Box::pin(left));
        }
        self.client.mailbox.put(Mail::Now(leaving.confirmation));
        Answer::Now(Bytes::new())
    }

    /// Ends what the request names; what was subscribed to of it, and the confirmation.
    fn leave(&mut self, kind: Kind, request: &Request<'_>, resp: Resp) -> (Vec<Topic>, Bytes) {
        let names: Vec<Bytes> = match request.len() {
            1 => self.of(kind).iter().cloned().collect(),
            _ => request.args().skip(1).map(Bytes::copy_from_slice).collect(),
        };
        let mut ended = Vec::new();
        let mut confirmation = BytesMut::new();
        for name in &names {
            if self.of_mut(kind).remove(name) {
                ended.push(Topic::new(kind, name.clone()));
            }
            self.write(&mut confirmation, kind, "unsubscribe", Some(name), resp);
        }
        if names.is_empty() {
            self.write(&mut confirmation, kind, "unsubscribe", None, resp);
        }
        self.hub.unsubscribe(&self.client, &ended);
        (ended, confirmation.freeze())
    }

    /// Appends the confirmation of one subscription, with the number of those that are left of its sort.
    fn write(&self, out: &mut BytesMut, kind: Kind, what: &str, name: Option<&Bytes>, resp: Resp) {
        let (initial, count) = match kind {
            Kind::Channel => ("", self.channels.len() + self.patterns.len()),
            Kind::Pattern => ("p", self.channels.len() + self.patterns.len()),
            Kind::Shard => ("s", self.shards.len()),
        };
        out.extend_from_slice(if resp == Resp::Three { b">3\r\n" } else { b"*3\r\n" });
        encode::bulk(out, format!("{initial}{what}").as_bytes());
        match name {
            Some(name) => encode::bulk(out, name),
            None => encode::null(out, resp),
        }
        encode::integer(out, count as i64);
    }

    fn of(&self, kind: Kind) -> &BTreeSet<Bytes> {
        match kind {
            Kind::Channel => &self.channels,
            Kind::Pattern => &self.patterns,
            Kind::Shard => &self.shards,
        }
    }

    fn of_mut(&mut self, kind: Kind) -> &mut BTreeSet<Bytes> {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
            Kind::Shard => &mut self.shards,
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let mut topics = Vec::new();
        for kind in [Kind::Channel, Kind::Pattern, Kind::Shard] {
            topics.extend(self.of(kind).iter().map(|name| Topic::new(kind, name.clone())));
        }
        if !topics.is_empty() {
            self.hub.unsubscribe(&self.client, &topics);
        }
    }
}
