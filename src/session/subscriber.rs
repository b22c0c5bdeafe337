//! Subscribing and unsubscribing: what one client is subscribed to, and what it may do meanwhile.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use super::SessionContext;
use super::state::State;
use super::subscribed::Subscribed;
use crate::clients::Client;
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
    /// Shared with the confirmations that are still to come.
    subscribed: Rc<RefCell<Subscribed>>,
}

/// Answers SUBSCRIBE, UNSUBSCRIBE and their like. The session goes on with the next request meanwhile: whoever sends
/// many of them does not wait for each.
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
        let answer = subscriber.unsubscribe(kind, request, resp);
        subscriber.subscribed.borrow().show(client);
        if !subscriber.is_subscribed() {
            modes.subscriber = None;
        }
        return answer;
    }
    if let Some(wait) = context.proxy.wait_for_upstream() {
        return wait;
    }
    let answer = subscriber.subscribe(kind, request, resp, context);
    subscriber.subscribed.borrow().show(client);
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
    fn new(hub: &Arc<Hub>, client: &Arc<Client>) -> Subscriber {
        Subscriber { hub: hub.clone(), client: client.clone(), subscribed: Rc::default() }
    }

    /// Whether its client gets messages.
    pub(super) fn is_subscribed(&self) -> bool {
        self.subscribed.borrow().is_any()
    }

    /// Subscribes at once, so that nothing is missed, and confirms it when it stands upstream; what does not come to
    /// stand there is taken back.
    fn subscribe(
        &mut self,
        kind: Kind,
        request: &Request<'_>,
        resp: Resp,
        context: &SessionContext,
    ) -> Answer<'static> {
        let wanted = match self.want(kind, request, context) {
            Ok(wanted) => wanted,
            Err(error) => return Answer::Now(encode::error_reply(error)),
        };
        let mut subscribed = self.subscribed.borrow_mut();
        let number = subscribed.begin();
        let mut new = Vec::new();
        let mut confirmation = BytesMut::new();
        for topic in wanted.topics() {
            if subscribed.add(topic, number) {
                new.push(topic.clone());
            }
            write(&mut confirmation, &subscribed, kind, "subscribe", Some(&topic.name), resp);
        }
        drop(subscribed);
        self.hub.subscribe(&self.client, &new);
        let (hub, client, subscribed) = (self.hub.clone(), self.client.clone(), self.subscribed.clone());
        let timeout = context.limits.subscribe_timeout;
        let deadline = Instant::now() + timeout;
        Answer::Confirmation(Box::pin(async move {
            let Err(error) = stand(&wanted, deadline, timeout).await else {
                subscribed.borrow_mut().confirm(wanted.topics(), number);
                return confirmation.freeze();
            };
            let mut subscribed = subscribed.borrow_mut();
            hub.unsubscribe(&client, &subscribed.take_back(wanted.topics(), number));
            subscribed.show(&client);
            error
        }))
    }

    /// Begins to want what the request names.
    fn want(&self, kind: Kind, request: &Request<'_>, context: &SessionContext) -> Result<Wanted, String> {
        let names = request.args().skip(1);
        let topics: Vec<Topic> = names.map(|name| Topic::new(kind, Bytes::copy_from_slice(name))).collect();
        let subscribed = self.subscribed.borrow();
        let new: BTreeSet<&Topic> = topics.iter().filter(|topic| !subscribed.contains(topic)).collect();
        let max = context.limits.subscriptions_max;
        if subscribed.len() + new.len() > max {
            return Err(format!(
                "ERR nearside: a client may have {max} subscriptions (pubsub_subscriptions_max)"
            ));
        }
        let max = context.limits.patterns_max;
        if kind == Kind::Pattern && subscribed.patterns() + new.len() > max {
            return Err(format!("ERR nearside: a client may have {max} patterns (pubsub_patterns_max)"));
        }
        self.hub.feed().want(topics).ok_or_else(|| {
            "ERR nearside: too many different channels and patterns are subscribed to (pubsub_names_max)"
                .to_owned()
        })
    }

    /// Ends what the request names. The confirmation goes to the mailbox: what came before the end is in it already.
    fn unsubscribe(&mut self, kind: Kind, request: &Request<'_>, resp: Resp) -> Answer<'static> {
        let mut subscribed = self.subscribed.borrow_mut();
        let names: Vec<Bytes> = match request.len() {
            1 => subscribed.names(kind),
            _ => request.args().skip(1).map(Bytes::copy_from_slice).collect(),
        };
        let mut ended = Vec::new();
        let mut confirmation = BytesMut::new();
        for name in &names {
            let topic = Topic::new(kind, name.clone());
            if subscribed.remove(&topic) {
                ended.push(topic);
            }
            write(&mut confirmation, &subscribed, kind, "unsubscribe", Some(name), resp);
        }
        if names.is_empty() {
            write(&mut confirmation, &subscribed, kind, "unsubscribe", None, resp);
        }
        self.hub.unsubscribe(&self.client, &ended);
        self.client.mailbox.put(Mail::Behind(confirmation.freeze()));
        Answer::Mailed
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let topics = self.subscribed.borrow_mut().take_all();
        if !topics.is_empty() {
            self.hub.unsubscribe(&self.client, &topics);
        }
    }
}

/// Waits until what is wanted stands upstream; the error reply if it does not.
async fn stand(wanted: &Wanted, deadline: Instant, timeout: Duration) -> Result<(), Bytes> {
    loop {
        match wanted.readiness() {
            Readiness::Ready => return Ok(()),
            Readiness::Failed(error) => return Err(error),
            Readiness::NotYet if Instant::now() >= deadline => {
                return Err(encode::error_reply(format!(
                    "ERR nearside: the upstream did not confirm the subscription within {} ms \
                     (upstream_request_timeout)",
                    timeout.as_millis()
                )));
            }
            Readiness::NotYet => wanted.decided(deadline).await,
        }
    }
}

/// Appends the confirmation of one subscription, with the number of those that are left of its sort.
fn write(
    out: &mut BytesMut,
    subscribed: &Subscribed,
    kind: Kind,
    what: &str,
    name: Option<&Bytes>,
    resp: Resp,
) {
    let initial = match kind {
        Kind::Channel => "",
        Kind::Pattern => "p",
        Kind::Shard => "s",
    };
    out.extend_from_slice(if resp == Resp::Three { b">3\r\n" } else { b"*3\r\n" });
    encode::bulk(out, format!("{initial}{what}").as_bytes());
    match name {
        Some(name) => encode::bulk(out, name),
        None => encode::null(out, resp),
    }
    encode::integer(out, subscribed.count(kind) as i64);
}
