//! What a session remembers between two requests.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use smallvec::{SmallVec, smallvec};

use super::modes::Modes;
use super::step::Step;
use super::subscriber::{PushParts, Subscriber};
use crate::clock::Nanos;
use crate::commands::ClientState;
use crate::namespace::Delivered;
use crate::protocol::command::{CommandLookup, Denied};
use crate::router::{Answer, Caller, Coverage, ExclusiveEnd};

/// The state of one session.
#[derive(Debug)]
pub(super) struct SessionState {
    pub(super) client: ClientState,
    pub(super) recogniser: CommandLookup,
    /// Absent in a plain session, which most are.
    pub(super) modes: Option<Box<Modes>>,
    /// No request is taken before all earlier ones have been answered.
    pub(super) drains_first: bool,
}

// === impl SessionState ===

impl SessionState {
    /// The state of a session that begins.
    pub(super) fn new(client: ClientState, denied: Arc<Denied>) -> SessionState {
        SessionState {
            // The first request is held to the bounds for unauthenticated clients.
            drains_first: client.is_locked(),
            client,
            recogniser: CommandLookup::denying(denied),
            modes: None,
        }
    }

    /// The session as the router sees it at a request that arrived by `now`.
    #[inline]
    pub(super) fn caller<'a>(&'a self, coverage: Option<&'a Rc<Coverage>>, now: Nanos) -> Caller<'a> {
        Caller { resp: self.client.resp(), inflight: &self.client.inflight, now, coverage }
    }

    /// Has the session go on with a request itself, with `step`, when `until` has ended.
    pub(super) fn go_on_after(&mut self, until: LocalBoxFuture<'static, ()>, step: Step) -> Answer {
        self.modes.get_or_insert_default().step = Some(step);
        Answer::Exclusive(Box::pin(async move {
            until.await;
            ExclusiveEnd::Step
        }))
    }

    /// An error as the client gets it: some quote a key. Other replies stay as they are.
    pub(super) fn with_names_of_client(&self, reply: Bytes) -> Bytes {
        match &self.client.scope {
            Some(scope) => scope.error(reply),
            None => reply,
        }
    }

    /// Restores what a connection begins with: RESET.
    pub(super) fn reset(&mut self, asks_password: bool) {
        self.client.reset(asks_password);
        self.modes = None;
        self.drains_first |= self.client.is_locked();
        // Mail for one of its former modes would look like a reply to another request.
        self.client.entry.mailbox.discard();
    }

    /// Whether the client is in no mode, and may do what it likes.
    #[inline]
    pub(super) fn is_plain(&self) -> bool {
        self.modes.is_none() && !self.client.is_locked()
    }

    /// Whether requests are queued: between MULTI and EXEC.
    #[inline]
    pub(super) fn is_queueing(&self) -> bool {
        self.modes.as_ref().is_some_and(|modes| modes.transaction.is_some())
    }

    /// Whether the client gets messages of channels.
    pub(super) fn is_subscribed(&self) -> bool {
        let subscriber = self.modes.as_ref().and_then(|modes| modes.subscriber.as_ref());
        subscriber.is_some_and(|subscriber| subscriber.is_subscribed())
    }

    /// Whether what the client gets messages of has other names on the servers.
    pub(super) fn is_subscribed_in_namespace(&self) -> bool {
        let subscriber = self.modes.as_ref().and_then(|modes| modes.subscriber.as_ref());
        // A message may have come before the client unsubscribed from everything.
        subscriber.map_or(self.client.scope.is_some(), Subscriber::is_in_namespace)
    }

    /// What a client in a namespace is sent for a message.
    pub(super) fn delivered(&self, push: &Bytes) -> SmallVec<[PushParts; 1]> {
        if let Some(subscriber) = self.modes.as_ref().and_then(|modes| modes.subscriber.as_ref()) {
            return subscriber.delivered(push);
        }
        match self.client.scope.as_ref().and_then(|scope| scope.message(push)) {
            Some(Delivered::Message(head, message)) => smallvec![[head, message]],
            _ => SmallVec::new(),
        }
    }

    /// Whether the client waits for messages, and need not send requests.
    pub(super) fn listens(&self) -> bool {
        self.is_subscribed() || self.is_monitoring()
    }

    /// Whether the client follows all commands.
    pub(super) fn is_monitoring(&self) -> bool {
        self.modes.as_ref().is_some_and(|modes| modes.monitor.is_some())
    }

    /// Makes the session a plain one when its last mode has ended.
    pub(super) fn drop_ended_modes(&mut self) {
        if self.modes.as_ref().is_some_and(|modes| modes.is_none()) {
            self.modes = None;
        }
    }
}
