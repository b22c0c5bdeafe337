//! Redirects that are not believed at once: after the redirect, the nodes are asked for their own view, which
//! decides.
//!
//! A redirect that came from a script, a function or a module's command may be a text of that code. It is
//! followed only if its node does not own the slot any more, or is giving it away. A redirect to a node that
//! is no member of the topology is followed only if another node names that node now. Each worker asks a node
//! at most once in `topology_refresh_gap_min`, for all that wait. Commands on one slot stay in order
//! meanwhile: what is redirected behind one that waits waits too.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::redirect::Redirect;
use crate::clock::{self, LogThrottle, Nanos};
use crate::protocol::key::Slot;
use crate::upstream::call::PendingCommand;
use crate::upstream::topology::cluster_nodes::NodeView;
use crate::upstream::topology::node_numbers::NodeIndex;
use crate::upstream::topology::slots::SlotTable;

/// The unconfirmed redirects of one worker.
#[derive(Debug, Default)]
pub(in crate::upstream) struct UnconfirmedRedirects {
    /// The redirects, in the order in which they came.
    pub(in crate::upstream) held: RefCell<Vec<UnconfirmedRedirect>>,
    /// Counts them.
    pub(in crate::upstream) came: Cell<u64>,
    inquiries: RefCell<HashMap<NodeIndex, Inquiry>>,
    /// Limits the log lines about redirects that were not followed though no script can have written them.
    pub(in crate::upstream) refused: Cell<LogThrottle>,
}

/// A redirect, and what waits for the verdict about it.
#[derive(Debug)]
pub(in crate::upstream) struct UnconfirmedRedirect {
    pub(in crate::upstream) number: u64,
    /// The node that sent it.
    pub(in crate::upstream) node: NodeIndex,
    pub(in crate::upstream) redirect: Redirect,
    /// The text may come from user code.
    pub(in crate::upstream) runs_user_code: bool,
    /// Its command came behind ASKING: the node carries it out if it is taking the slot.
    pub(in crate::upstream) asking: bool,
    /// When the caller stops waiting.
    pub(in crate::upstream) deadline: Nanos,
    pub(in crate::upstream) then: AfterInquiry,
}

#[derive(Debug)]
pub(in crate::upstream) enum AfterInquiry {
    /// The command is sent on, or gets this reply.
    Send(PendingCommand, Bytes),
    /// The caller gets where it leads, if anywhere.
    Answer(oneshot::Sender<Option<Redirect>>),
}

/// The questions to one node.
#[derive(Clone, Copy, Debug, Default)]
struct Inquiry {
    is_running: bool,
    /// Not before is the node asked again.
    next_at: Nanos,
}

/// What was found out about a redirect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::upstream) enum Verdict {
    /// Confirmed; this is where it leads.
    Follow(Redirect),
    /// Not confirmed.
    Refuse,
}

// === impl UnconfirmedRedirect ===

impl UnconfirmedRedirect {
    /// Whether nothing has to be asked: the server's own words name a node that the upstream names.
    pub(in crate::upstream) fn is_plain(&self, table: &SlotTable) -> bool {
        !self.runs_user_code && table.is_member(&self.redirect.node)
    }

    /// What follows from what its node says of itself; `None` when more has to be asked.
    pub(in crate::upstream) fn by_view(&self, view: &NodeView, table: &SlotTable) -> Option<Verdict> {
        let slot = self.redirect.slot;
        let serves = view.owns(slot) || (self.asking && view.arriving.contains(&slot));
        let is_true = !serves || self.redirect.asking && view.is_leaving(slot);
        if self.runs_user_code && !is_true {
            return Some(Verdict::Refuse);
        }
        table.is_member(&self.redirect.node).then(|| Verdict::Follow(self.redirect.clone()))
    }

    /// What follows from the table, which was filled since the redirect came. Where the address in the
    /// redirect is none that the upstream names, the owner that it names is asked.
    pub(in crate::upstream) fn by_table(&self, table: &SlotTable) -> Verdict {
        let slot = self.redirect.slot;
        // The owner of a slot says nothing about the node that imports it.
        let elsewhere = table.owner(slot).filter(|owner| *owner != self.node && !self.asking);
        if table.is_member(&self.redirect.node) && (!self.runs_user_code || elsewhere.is_some()) {
            return Verdict::Follow(self.redirect.clone());
        }
        match elsewhere.and_then(|owner| table.node(owner)).filter(|_| !self.redirect.asking) {
            Some(node) => Verdict::Follow(Redirect { slot, node, asking: false }),
            None => Verdict::Refuse,
        }
    }
}

// === impl UnconfirmedRedirects ===

impl UnconfirmedRedirects {
    /// Whether a command on `slot` waits here.
    pub(in crate::upstream) fn has_slot(&self, slot: Slot) -> bool {
        self.held
            .borrow()
            .iter()
            .any(|unconfirmed| unconfirmed.is_command() && unconfirmed.redirect.slot == slot)
    }

    /// How many commands that `node` redirected wait here, and their bytes: they are in flight.
    #[inline]
    pub(in crate::upstream) fn load(&self, node: NodeIndex) -> (usize, usize) {
        let held = self.held.borrow();
        // As a rule there are none.
        if held.is_empty() {
            return (0, 0);
        }
        let waiting = held.iter().filter(|unconfirmed| unconfirmed.node == node).filter_map(|unconfirmed| {
            if let AfterInquiry::Send(waiting, _) = &unconfirmed.then {
                Some(waiting.call.bytes.len())
            } else {
                None
            }
        });
        waiting.fold((0, 0), |(count, bytes), more| (count + 1, bytes + more))
    }

    pub(in crate::upstream) fn put(&self, unconfirmed: UnconfirmedRedirect) {
        self.came.set(self.came.get() + 1);
        self.held.borrow_mut().push(UnconfirmedRedirect { number: self.came.get(), ..unconfirmed });
    }

    /// When the first of those that `node` sent stops waiting.
    pub(in crate::upstream) fn deadline(&self, node: NodeIndex) -> Option<Nanos> {
        let held = self.held.borrow();
        held.iter()
            .filter(|unconfirmed| unconfirmed.node == node)
            .map(|unconfirmed| unconfirmed.deadline)
            .min()
    }

    /// Takes out what is decided, in its order: nothing overtakes a command on its slot that still waits.
    pub(in crate::upstream) fn take(
        &self,
        verdict: impl Fn(&UnconfirmedRedirect) -> Option<Verdict>,
    ) -> Vec<(UnconfirmedRedirect, Verdict)> {
        let mut blocked = HashSet::new();
        let (mut taken, mut kept) = (Vec::new(), Vec::new());
        for unconfirmed in self.held.take() {
            let slot = unconfirmed.redirect.slot;
            match verdict(&unconfirmed).filter(|_| !unconfirmed.is_command() || !blocked.contains(&slot)) {
                Some(verdict) => taken.push((unconfirmed, verdict)),
                None => {
                    if unconfirmed.is_command() {
                        blocked.insert(slot);
                    }
                    kept.push(unconfirmed);
                }
            }
        }
        self.held.replace(kept);
        taken
    }

    /// Takes out those whose callers stopped waiting.
    pub(in crate::upstream) fn take_overdue(&self, now: Nanos) -> Vec<UnconfirmedRedirect> {
        self.held.borrow_mut().extract_if(.., |unconfirmed| unconfirmed.deadline <= now).collect()
    }

    /// Begins to ask `node`; false if that was begun before.
    pub(in crate::upstream) fn begin_inquiry(&self, node: NodeIndex) -> bool {
        let now = clock::now();
        let mut inquiries = self.inquiries.borrow_mut();
        inquiries.retain(|_, inquiry| inquiry.is_running || inquiry.next_at > now);
        !std::mem::replace(&mut inquiries.entry(node).or_default().is_running, true)
    }

    pub(in crate::upstream) fn end_inquiry(&self, node: NodeIndex) {
        if let Some(inquiry) = self.inquiries.borrow_mut().get_mut(&node) {
            inquiry.is_running = false;
        }
    }

    pub(in crate::upstream) fn next_question_at(&self, node: NodeIndex) -> Nanos {
        self.inquiries.borrow().get(&node).map_or(0, |inquiry| inquiry.next_at)
    }

    pub(in crate::upstream) fn put_next_question(&self, node: NodeIndex, at: Nanos) {
        if let Some(inquiry) = self.inquiries.borrow_mut().get_mut(&node) {
            inquiry.next_at = at;
        }
    }
}

impl UnconfirmedRedirect {
    fn is_command(&self) -> bool {
        matches!(self.then, AfterInquiry::Send(..))
    }
}
