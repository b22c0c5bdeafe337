//! Subscribing and unsubscribing: what one client is subscribed to, and what it may do meanwhile.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use futures_util::future::LocalBoxFuture;
use tokio::task::yield_now;
use tokio::time::Instant;

use super::state::SessionState;
use super::subscribed::Subscribed;
use crate::clients::Client;
use crate::clients::mailbox::Mail;
use crate::commands::{SessionContext, SessionLimits};
use crate::memory::{self, MemoryCeiling};
use crate::protocol::command::Spec;
use crate::protocol::resp::Resp;
use crate::protocol::resp::encode;
use crate::protocol::resp::request::{OwnedRequest, Request};
use crate::pubsub::Hub;
use crate::router::Answer;
use crate::upstream::{Readiness, SubscriptionGuard, Topic, TopicKind};

/// The subscriptions of one session. They end with it.
#[derive(Debug)]
pub(super) struct Subscriber {
    hub: Arc<Hub>,
    client: Arc<Client>,
    /// Shared with the confirmations that are still to come.
    subscribed: Rc<RefCell<Subscribed>>,
}

/// A request to subscribe, until it is confirmed or taken back.
struct SubscribeRequest {
    hub: Arc<Hub>,
    client: Arc<Client>,
    subscribed: Rc<RefCell<Subscribed>>,
    /// The number of the request.
    number: u64,
    terms: SubscribeTerms,
    ceiling: Arc<MemoryCeiling>,
    /// What was added so far, by what was added in one turn.
    wanted: Vec<SubscriptionGuard>,
    confirmation: BytesMut,
}

/// What holds for a request to subscribe.
#[derive(Clone, Copy)]
struct SubscribeTerms {
    kind: TopicKind,
    resp: Resp,
    limits: SessionLimits,
}

/// A request to unsubscribe.
struct UnsubscribeRequest {
    hub: Arc<Hub>,
    client: Arc<Client>,
    subscribed: Rc<RefCell<Subscribed>>,
    kind: TopicKind,
    resp: Resp,
}

/// What is unsubscribed from.
enum UnsubscribeNames {
    /// All there was.
    All(Vec<Bytes>),
    /// What the request names.
    Asked(OwnedRequest),
}

/// So many names are looked at before others get their turn.
const NAMES_AT_ONCE: usize = 256;

/// Answers SUBSCRIBE, UNSUBSCRIBE and their like. The session goes on with the next request meanwhile:
/// whoever sends many of them does not wait for each.
pub(super) fn answer(
    spec: &'static Spec,
    request: &Request<'_>,
    state: &mut SessionState,
    context: &SessionContext,
) -> Answer {
    let resp = state.client.resp();
    let SessionState { modes, client, .. } = state;
    let modes = modes.get_or_insert_default();
    let subscriber = modes.subscriber.get_or_insert_with(|| Subscriber::new(context, &client.entry));
    let kind = match spec.name {
        "psubscribe" | "punsubscribe" => TopicKind::Pattern,
        "ssubscribe" | "sunsubscribe" => TopicKind::Shard,
        _ => TopicKind::Channel,
    };
    if spec.name.ends_with("unsubscribe") {
        let answer = subscriber.unsubscribe(kind, request, resp);
        if !subscriber.is_subscribed() {
            modes.subscriber = None;
        }
        return answer;
    }
    if let Some(wait) = context.proxy.wait_for_upstream() {
        return wait;
    }
    subscriber.subscribe(kind, request, resp, context)
}

/// What a client of RESP2 that is subscribed gets for a request: it can tell a reply from a message only if
/// there are hardly any replies.
pub(super) fn intercept(
    subscriber: &Subscriber,
    spec: &'static Spec,
    request: &Request<'_>,
    resp: Resp,
) -> Option<Answer> {
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
    fn new(context: &SessionContext, client: &Arc<Client>) -> Subscriber {
        let subscribed = Subscribed::new(context.ceiling.hold(memory::MemoryUse::Subscriptions));
        Subscriber {
            hub: context.pubsub.clone(),
            client: client.clone(),
            subscribed: Rc::new(RefCell::new(subscribed)),
        }
    }

    /// Whether its client gets messages.
    pub(super) fn is_subscribed(&self) -> bool {
        self.subscribed.borrow().is_any()
    }

    /// Subscribes at once, so that nothing is missed, and confirms it when it stands upstream; what does not
    /// come to stand there is taken back.
    fn subscribe(
        &self,
        kind: TopicKind,
        request: &Request<'_>,
        resp: Resp,
        context: &SessionContext,
    ) -> Answer {
        let mut beginning = SubscribeRequest {
            hub: self.hub.clone(),
            client: self.client.clone(),
            subscribed: self.subscribed.clone(),
            number: self.subscribed.borrow_mut().begin(),
            terms: SubscribeTerms { kind, resp, limits: context.limits },
            ceiling: context.ceiling.clone(),
            wanted: Vec::new(),
            confirmation: BytesMut::new(),
        };
        let names = request.len() - 1;
        if names > NAMES_AT_ONCE {
            let request = request.to_owned();
            return Answer::Confirmation(Box::pin(async move {
                for first in (0..names).step_by(NAMES_AT_ONCE) {
                    if let Err(error) = beginning.add(request.as_request().args().skip(1 + first)) {
                        beginning.take_back().await;
                        return encode::error_reply(error);
                    }
                    yield_now().await;
                }
                beginning.finish().await
            }));
        }
        match beginning.add(request.args().skip(1)) {
            Ok(()) => Answer::Confirmation(Box::pin(beginning.finish())),
            Err(error) => Answer::Now(encode::error_reply(error)),
        }
    }

    /// Ends what the request names. The confirmation goes to the mailbox: what came before the end is in it
    /// already.
    fn unsubscribe(&self, kind: TopicKind, request: &Request<'_>, resp: Resp) -> Answer {
        let names = match request.len() {
            1 => UnsubscribeNames::All(self.subscribed.borrow().names(kind)),
            _ => UnsubscribeNames::Asked(request.to_owned()),
        };
        let ending = UnsubscribeRequest {
            hub: self.hub.clone(),
            client: self.client.clone(),
            subscribed: self.subscribed.clone(),
            kind,
            resp,
        };
        let count = names.len();
        if count <= NAMES_AT_ONCE {
            ending.end(&names, 0);
            return Answer::Mailed;
        }
        Answer::Later(Box::pin(async move {
            for first in (0..count).step_by(NAMES_AT_ONCE) {
                ending.end(&names, first);
                yield_now().await;
            }
            // What there is to say went to the mailbox.
            Bytes::new()
        }))
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let topics = self.subscribed.borrow_mut().end();
        if !topics.is_empty() {
            self.hub.unsubscribe(&self.client, &topics);
        }
    }
}

/// Whether a request about subscriptions is so large that others have to get their turn while it is worked
/// on: nothing else of its session is, then.
pub(super) fn is_large(spec: &Spec, request: &Request<'_>, state: &SessionState) -> bool {
    let all = || {
        let subscriber = state.modes.as_ref().and_then(|modes| modes.subscriber.as_ref());
        subscriber.map_or(0, |subscriber| subscriber.subscribed.borrow().len())
    };
    let names =
        if request.len() == 1 && spec.name.ends_with("unsubscribe") { all() } else { request.len() - 1 };
    names > NAMES_AT_ONCE
}

/// Ends very many subscriptions of a session that is to have none, without a word to its client. Others get
/// their turn meanwhile; `None` if there are so few that nobody waits for long.
pub(super) fn leave(state: &SessionState) -> Option<LocalBoxFuture<'static, ()>> {
    let subscriber = state.modes.as_ref()?.subscriber.as_ref()?;
    if subscriber.subscribed.borrow().len() <= NAMES_AT_ONCE {
        return None;
    }
    let Subscriber { hub, client, subscribed } = subscriber;
    let (hub, client, subscribed) = (hub.clone(), client.clone(), subscribed.clone());
    client.holds_nothing();
    Some(Box::pin(async move {
        loop {
            let topics = subscribed.borrow_mut().take(NAMES_AT_ONCE);
            if topics.is_empty() {
                return;
            }
            hub.unsubscribe(&client, &topics);
            yield_now().await;
        }
    }))
}

// === impl Beginning ===

impl SubscribeRequest {
    /// Subscribes to the first of `names`, as many as are looked at in one turn.
    ///
    /// # Errors
    /// They are too many, or there is no memory for them; nothing of them was done.
    fn add<'a>(&mut self, names: impl Iterator<Item = &'a [u8]>) -> Result<(), String> {
        let SubscribeTerms { kind, resp, limits } = self.terms;
        let names = names.take(NAMES_AT_ONCE);
        let topics: Vec<Topic> = names.map(|name| Topic::new(kind, Bytes::copy_from_slice(name))).collect();
        let mut subscribed = self.subscribed.borrow_mut();
        if subscribed.is_over() {
            // Nobody reads it.
            return Err(String::new());
        }
        let new: BTreeSet<&Topic> = topics.iter().filter(|topic| !subscribed.contains(topic)).collect();
        let max = limits.subscriptions_max;
        if subscribed.len() + new.len() > max {
            return Err(format!(
                "ERR nearside: a client may have {max} subscriptions (pubsub_subscriptions_max)"
            ));
        }
        let max = limits.patterns_max;
        if kind == TopicKind::Pattern && subscribed.patterns() + new.len() > max {
            return Err(format!("ERR nearside: a client may have {max} patterns (pubsub_patterns_max)"));
        }
        let bytes = new.iter().map(|topic| Subscribed::bytes_of(topic)).sum();
        if !self.ceiling.fits(bytes) {
            self.ceiling.counts.requests_refused.fetch_add(1, Ordering::Relaxed);
            return Err(self.ceiling.refusal("a subscription", bytes, "nothing was subscribed to"));
        }
        let wanted = self.hub.feed().want(topics).ok_or_else(|| {
            "ERR nearside: too many different channels and patterns are subscribed to (pubsub_names_max)"
                .to_owned()
        })?;
        let mut new = Vec::new();
        for topic in wanted.topics() {
            if subscribed.add(topic, self.number) {
                new.push(topic.clone());
            }
            write(&mut self.confirmation, &subscribed, kind, "subscribe", Some(&topic.name), resp);
        }
        subscribed.show(&self.client);
        drop(subscribed);
        self.hub.subscribe(&self.client, &new);
        self.wanted.push(wanted);
        Ok(())
    }

    /// The confirmation, once all of it stands; the error if it does not.
    async fn finish(mut self) -> Bytes {
        if let Err(error) = self.stand().await {
            self.take_back().await;
            return error;
        }
        for wanted in std::mem::take(&mut self.wanted) {
            self.subscribed.borrow_mut().confirm(wanted.topics(), self.number);
            drop(wanted);
            if self.is_large() {
                yield_now().await;
            }
        }
        self.confirmation.freeze()
    }

    /// Takes back what waits for this request.
    async fn take_back(&mut self) {
        for wanted in std::mem::take(&mut self.wanted) {
            let back = self.subscribed.borrow_mut().take_back(wanted.topics(), self.number);
            self.hub.unsubscribe(&self.client, &back);
            self.subscribed.borrow().show(&self.client);
            drop(wanted);
            if self.is_large() {
                yield_now().await;
            }
        }
    }

    /// Waits until what is wanted stands upstream, all of it at the same time; the error reply if it does
    /// not.
    async fn stand(&self) -> Result<(), Bytes> {
        let timeout = self.terms.limits.subscribe_timeout;
        let deadline = Instant::now() + timeout;
        let mut waited = true;
        while std::mem::take(&mut waited) {
            for wanted in &self.wanted {
                loop {
                    match wanted.readiness() {
                        Readiness::Ready => break,
                        Readiness::Failed(error) => return Err(error),
                        Readiness::NotYet if Instant::now() >= deadline => {
                            return Err(encode::error_reply(format!(
                                "ERR nearside: the upstream did not confirm the subscription within {} ms \
                                 (upstream_request_timeout)",
                                timeout.as_millis()
                            )));
                        }
                        Readiness::NotYet => {
                            waited = true;
                            wanted.decided(deadline).await;
                        }
                    }
                }
                if self.is_large() {
                    yield_now().await;
                }
            }
        }
        Ok(())
    }

    fn is_large(&self) -> bool {
        self.wanted.len() > 1
    }
}

// === impl Names ===

impl UnsubscribeNames {
    fn len(&self) -> usize {
        match self {
            UnsubscribeNames::All(names) => names.len(),
            UnsubscribeNames::Asked(request) => request.as_request().len() - 1,
        }
    }

    /// Those from number `first` on that are looked at in one turn.
    fn from(&self, first: usize) -> Vec<Bytes> {
        match self {
            UnsubscribeNames::All(names) => names.iter().skip(first).take(NAMES_AT_ONCE).cloned().collect(),
            UnsubscribeNames::Asked(request) => {
                let request = request.as_request();
                let names = request.args().skip(1 + first).take(NAMES_AT_ONCE);
                names.map(Bytes::copy_from_slice).collect()
            }
        }
    }
}

// === impl Ending ===

impl UnsubscribeRequest {
    /// Ends the subscriptions to those names from number `first` on that are looked at in one turn.
    fn end(&self, names: &UnsubscribeNames, first: usize) {
        let UnsubscribeRequest { kind, resp, .. } = *self;
        let mut subscribed = self.subscribed.borrow_mut();
        let mut ended = Vec::new();
        let mut confirmation = BytesMut::new();
        for name in names.from(first) {
            let topic = Topic::new(kind, name);
            let was_there = subscribed.remove(&topic);
            write(&mut confirmation, &subscribed, kind, "unsubscribe", Some(&topic.name), resp);
            ended.extend(was_there.then_some(topic));
        }
        if names.len() == 0 {
            write(&mut confirmation, &subscribed, kind, "unsubscribe", None, resp);
        }
        subscribed.show(&self.client);
        drop(subscribed);
        self.hub.unsubscribe(&self.client, &ended);
        self.client.mailbox.put(Mail::Behind(confirmation.freeze()));
    }
}

/// Appends the confirmation of one subscription, with the number of those that are left of its sort.
fn write(
    out: &mut BytesMut,
    subscribed: &Subscribed,
    kind: TopicKind,
    what: &str,
    name: Option<&Bytes>,
    resp: Resp,
) {
    let initial = match kind {
        TopicKind::Channel => "",
        TopicKind::Pattern => "p",
        TopicKind::Shard => "s",
    };
    out.extend_from_slice(if resp == Resp::Three { b">3\r\n" } else { b"*3\r\n" });
    encode::bulk(out, format!("{initial}{what}").as_bytes());
    match name {
        Some(name) => encode::bulk(out, name),
        None => encode::null(out, resp),
    }
    encode::integer(out, subscribed.count(kind) as i64);
}
