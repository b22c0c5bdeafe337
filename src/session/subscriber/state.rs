//! The subscriptions of one session.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::subscribed::Subscribed;
use crate::clients::Client;
use crate::commands::{ClientState, SessionContext};
use crate::memory;
use crate::pubsub::Hub;

/// Names that are looked at before others get their turn.
pub(super) const NAMES_AT_ONCE: usize = 256;

/// The subscriptions of one session. They end with it.
#[derive(Debug)]
pub(in crate::session) struct Subscriber {
    pub(super) hub: Arc<Hub>,
    pub(super) client: Arc<Client>,
    /// Shared with the confirmations that are still to come.
    pub(super) subscribed: Rc<RefCell<Subscribed>>,
}

// === impl Subscriber ===

impl Subscriber {
    /// A client without subscriptions.
    pub(super) fn new(context: &SessionContext, client: &ClientState) -> Subscriber {
        let held = context.ceiling.hold(memory::MemoryUse::Subscriptions);
        let subscribed = Subscribed::new(held, client.scope.clone());
        Subscriber {
            hub: context.pubsub.clone(),
            client: client.entry.clone(),
            subscribed: Rc::new(RefCell::new(subscribed)),
        }
    }

    /// Whether its client gets messages.
    pub(in crate::session) fn is_subscribed(&self) -> bool {
        self.subscribed.borrow().is_any()
    }

    /// How many subscriptions there are.
    pub(super) fn len(&self) -> usize {
        self.subscribed.borrow().len()
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
