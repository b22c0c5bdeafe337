//! Fills: a fill brings a missed reply into L1. Its leader sent the read upstream; its followers sent an
//! equal read while it ran.
//!
//! Fills are joined within one worker only: there the command of the leader is in front of everything that
//! the session of a follower sends next on that connection, so a follower never sees a write that came after
//! its read (I6).

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};

use bytes::Bytes;
use foldhash::fast::RandomState;
use tokio::sync::oneshot;

use super::entry::{CacheQuery, CommandId};
use super::generation::Generation;
use crate::cache::policy::CacheTerms;
use crate::clock::Nanos;
use crate::node::Epoch;

/// The right to keep the reply of one fill, made before its command is sent (I1): what must not have changed
/// at the commit.
#[derive(Clone, Debug)]
pub struct Ticket {
    pub(super) hash: u64,
    pub(super) generation: Generation,
    pub(super) epoch: Epoch,
    pub(super) began: Nanos,
    pub(super) terms: CacheTerms,
}

/// The followers, which wait for the reply. They are dropped with the leader, and notice that.
type Followers<T> = RefCell<Vec<oneshot::Sender<T>>>;

/// The fills that run in one worker. At most one command upstream each, so their number is bounded by what
/// may be in flight there; their followers are bounded by what each session may wait for.
#[derive(Debug)]
pub(super) struct Fills<T> {
    running: HashMap<u64, RunningFill<T>, RandomState>,
    /// The latest number of a fill.
    latest: u64,
}

#[derive(Debug)]
struct RunningFill<T> {
    command: CommandId,
    tail: Bytes,
    ticket: Ticket,
    number: u64,
    followers: Weak<Followers<T>>,
}

/// Held by the leader of a fill while it runs.
#[derive(Debug)]
pub struct Lead<T> {
    query_hash: u64,
    followers: Rc<Followers<T>>,
}

// === impl Ticket ===

impl Ticket {
    /// Whether the connection whose invalidations count was not lost by `now`.
    pub fn is_live(&self, now: Nanos) -> bool {
        self.epoch.is_live(now)
    }

    /// Changes the terms on which the reply is kept.
    pub fn on(self, terms: CacheTerms) -> Ticket {
        Ticket { terms, ..self }
    }
}

// === impl Fills ===

impl<T: Clone> Fills<T> {
    pub(super) fn new() -> Fills<T> {
        Fills { running: HashMap::default(), latest: 0 }
    }

    /// A higher number than any before.
    pub(super) fn next_number(&mut self) -> u64 {
        self.latest += 1;
        self.latest
    }

    /// Joins the fill of `query`, if one runs whose ticket is still valid: a read that begins after an
    /// invalidation never joins a fill that began before it (I3). Nor does it join one with a lower number
    /// than `behind`.
    pub(super) fn join(
        &mut self,
        query_hash: u64,
        query: &CacheQuery<'_>,
        behind: u64,
        is_good: impl FnOnce(&Ticket) -> bool,
    ) -> Option<(oneshot::Receiver<T>, u64)> {
        let fill = self.running.get(&query_hash)?;
        let same = fill.command == query.command && *fill.tail == *query.args && fill.number >= behind;
        let followers = fill.followers.upgrade().filter(|_| same && is_good(&fill.ticket))?;
        let (sender, receiver) = oneshot::channel();
        followers.borrow_mut().push(sender);
        Some((receiver, fill.number))
    }

    /// Registers a fill that others may join. A fill of an equal read that runs already keeps its followers,
    /// and gets no more.
    pub(super) fn begin(
        &mut self,
        query_hash: u64,
        command: CommandId,
        tail: Bytes,
        ticket: Ticket,
    ) -> Lead<T> {
        let followers = Rc::default();
        let fill =
            RunningFill { command, tail, ticket, number: self.latest, followers: Rc::downgrade(&followers) };
        self.running.insert(query_hash, fill);
        Lead { query_hash, followers }
    }

    /// Ends a fill: all followers get `outcome`.
    pub(super) fn finish(&mut self, lead: Lead<T>, outcome: &T) {
        let followers = Rc::downgrade(&lead.followers);
        if self.running.get(&lead.query_hash).is_some_and(|fill| fill.followers.ptr_eq(&followers)) {
            self.running.remove(&lead.query_hash);
        }
        for follower in lead.followers.take() {
            // A follower whose client has left does not wait any more.
            let _ = follower.send(outcome.clone());
        }
    }
}
