//! The modes of a session: MULTI, WATCH, subscriptions, MONITOR and tracking.
//!
//! A session in no mode checks one pointer for all of this.

use std::rc::Rc;

use super::step::Step;
use super::subscriber::Subscriber;
use super::transaction::Transaction;
use crate::commands::monitor::Watching;
use crate::commands::tracking::ClientTracking;
use crate::router::Watched;

/// The modes of one session; each is there while its client is in it.
#[derive(Debug, Default)]
pub(super) struct Modes {
    /// Between MULTI and EXEC or DISCARD.
    pub(super) transaction: Option<Transaction>,
    /// While the session itself continues a request.
    pub(super) step: Option<Step>,
    /// The keys of WATCH, until EXEC, DISCARD or UNWATCH.
    pub(super) watched: Option<Rc<Watched>>,
    /// While the client has a subscription, or is about to.
    pub(super) subscriber: Option<Subscriber>,
    /// After MONITOR.
    pub(super) monitor: Option<Watching>,
    /// CLIENT TRACKING: the client caches what it reads.
    pub(super) tracking: Option<ClientTracking>,
}

// === impl Modes ===

impl Modes {
    /// Whether the session is in none.
    pub(super) fn is_none(&self) -> bool {
        self.transaction.is_none()
            && self.step.is_none()
            && self.monitor.is_none()
            && self.subscriber.is_none()
            && self.tracking.is_none()
            && !self.is_watching()
    }

    /// The bytes of the requests queued since MULTI, and of the prefixes of CLIENT TRACKING.
    pub(super) fn kept_bytes(&self) -> usize {
        let queued = self.transaction.as_ref().map_or(0, Transaction::bytes);
        let executing = match &self.step {
            Some(Step::Exec(executing)) => executing.bytes,
            Some(Step::Reset | Step::Track(_)) | None => 0,
        };
        queued + executing + self.tracking.as_ref().map_or(0, ClientTracking::bytes)
    }

    /// Whether keys are watched.
    pub(super) fn is_watching(&self) -> bool {
        self.watched.as_ref().is_some_and(|watched| watched.is_any())
    }
}
