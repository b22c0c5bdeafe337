//! A request to subscribe: nothing is missed from its beginning on, and it is confirmed, or taken back.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use tokio::task::yield_now;
use tokio::time::Instant;

use super::confirmation::write;
use super::state::{NAMES_AT_ONCE, Subscriber};
use super::subscribed::Subscribed;
use crate::clients::Client;
use crate::commands::{SessionContext, SessionLimits};
use crate::memory::MemoryCeiling;
use crate::protocol::command::TopicKind;
use crate::protocol::resp::Resp;
use crate::protocol::resp::encode;
use crate::protocol::resp::request::Request;
use crate::pubsub::Hub;
use crate::router::Answer;
use crate::upstream::{Readiness, SubscriptionGuard};

/// A request to subscribe, until it is confirmed or taken back.
struct SubscribeRequest {
    hub: Arc<Hub>,
    client: Arc<Client>,
    subscribed: Rc<RefCell<Subscribed>>,
    /// The number of the request.
    number: u64,
    terms: SubscribeTerms,
    ceiling: Arc<MemoryCeiling>,
    /// What was added so far, by what was added in one turn: the names, and what they lead to upstream.
    wanted: Vec<(Vec<Bytes>, SubscriptionGuard)>,
    confirmation: BytesMut,
}

/// What holds for a request to subscribe.
#[derive(Clone, Copy)]
struct SubscribeTerms {
    kind: TopicKind,
    resp: Resp,
    limits: SessionLimits,
}

/// Subscribes at once, so that nothing is missed, and confirms it when it is active upstream; what
/// does not become active there is taken back.
pub(super) fn begin_subscribe(
    subscriber: &Subscriber,
    kind: TopicKind,
    request: &Request<'_>,
    resp: Resp,
    context: &SessionContext,
) -> Answer {
    let mut beginning = SubscribeRequest {
        hub: subscriber.hub.clone(),
        client: subscriber.client.clone(),
        subscribed: subscriber.subscribed.clone(),
        number: subscriber.subscribed.borrow_mut().begin(),
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

// === impl SubscribeRequest ===

impl SubscribeRequest {
    /// Subscribes to the first of `names`, as many as are looked at in one turn.
    ///
    /// # Errors
    /// There are too many names, or no memory for them; nothing was subscribed to.
    fn add<'a>(&mut self, names: impl Iterator<Item = &'a [u8]>) -> Result<(), String> {
        let SubscribeTerms { kind, resp, limits } = self.terms;
        let names: Vec<Bytes> = names.take(NAMES_AT_ONCE).map(Bytes::copy_from_slice).collect();
        let mut subscribed = self.subscribed.borrow_mut();
        if subscribed.is_over() {
            // No client reads it.
            return Err(String::new());
        }
        let new: BTreeSet<&Bytes> = names.iter().filter(|name| !subscribed.contains(kind, name)).collect();
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
        let bytes = new.iter().map(|name| subscribed.bytes_of(kind, name)).sum();
        if !self.ceiling.fits(bytes) {
            self.ceiling.counts.requests_refused.fetch_add(1, Ordering::Relaxed);
            return Err(self.ceiling.refusal("a subscription", bytes, "nothing was subscribed to"));
        }
        let topics = names.iter().flat_map(|name| subscribed.topics(kind, name)).collect();
        let wanted = self.hub.feed().want(topics).ok_or_else(|| {
            "ERR nearside: too many different channels and patterns are subscribed to (pubsub_names_max)"
                .to_owned()
        })?;
        let mut new = Vec::new();
        for name in &names {
            new.extend(subscribed.add(kind, name, self.number));
            write(&mut self.confirmation, &subscribed, kind, "subscribe", Some(name), resp);
        }
        subscribed.show(&self.client);
        drop(subscribed);
        self.hub.subscribe(&self.client, &new);
        self.wanted.push((names, wanted));
        Ok(())
    }

    /// The confirmation, once all of it is active; the error if that fails.
    async fn finish(mut self) -> Bytes {
        if let Err(error) = self.until_active().await {
            self.take_back().await;
            return error;
        }
        for (names, wanted) in std::mem::take(&mut self.wanted) {
            self.subscribed.borrow_mut().confirm(self.terms.kind, &names, self.number);
            drop(wanted);
            if self.is_large() {
                yield_now().await;
            }
        }
        self.confirmation.freeze()
    }

    /// Takes back what waits for this request.
    async fn take_back(&mut self) {
        for (names, wanted) in std::mem::take(&mut self.wanted) {
            let back = self.subscribed.borrow_mut().take_back(self.terms.kind, &names, self.number);
            self.hub.unsubscribe(&self.client, &back);
            self.subscribed.borrow().show(&self.client);
            drop(wanted);
            if self.is_large() {
                yield_now().await;
            }
        }
    }

    /// Waits until all wanted subscriptions are active upstream at the same time; returns the error reply if
    /// that fails.
    async fn until_active(&self) -> Result<(), Bytes> {
        let timeout = self.terms.limits.subscribe_timeout;
        let deadline = Instant::now() + timeout;
        let mut waited = true;
        while std::mem::take(&mut waited) {
            for (_, wanted) in &self.wanted {
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
