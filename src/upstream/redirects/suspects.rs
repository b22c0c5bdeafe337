//! Redirects that are not believed at once: what the nodes say of themselves decides, asked after the
//! redirect came.
//!
//! A redirect that came from a script, a function or a module's command may be that code's own words. It is
//! followed only if its node does not own the slot any more, or is giving it away. A redirect to a node that
//! nobody has named is followed only if that node is named now. Each worker asks a node at most once in
//! `topology_refresh_gap_min`, for all that wait. Commands on one slot stay in order meanwhile: what is
//! redirected behind one that waits waits too.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time;

use super::redirect::Redirect;
use crate::clock::{self, LogThrottle, Nanos};
use crate::node::NodeId;
use crate::protocol::key::Slot;
use crate::protocol::resp::encode;
use crate::upstream::Upstream;
use crate::upstream::call::{Call, PendingCommand};
use crate::upstream::error::UpstreamError;
use crate::upstream::topology::cluster_nodes::NodeView;
use crate::upstream::topology::node_numbers::NodeIndex;
use crate::upstream::topology::slots::SlotTable;

/// All of one worker.
#[derive(Debug, Default)]
pub(in crate::upstream) struct Suspects {
    /// In the order in which they came.
    held: RefCell<Vec<Suspect>>,
    /// Counts them.
    came: Cell<u64>,
    inquiries: RefCell<HashMap<NodeIndex, Inquiry>>,
    /// Redirects that were not followed though no script can have said them, for the log.
    refused: Cell<LogThrottle>,
}

/// A redirect, and what waits until it is known whether it is true.
#[derive(Debug)]
struct Suspect {
    number: u64,
    /// Who sent it.
    node: NodeIndex,
    redirect: Redirect,
    /// The words may be those of code that is not the server's own.
    foreign: bool,
    /// Its command came behind ASKING: the node carries it out if it is taking the slot.
    asking: bool,
    /// When nobody waits any more.
    deadline: Nanos,
    then: AfterInquiry,
}

#[derive(Debug)]
enum AfterInquiry {
    /// The command is sent on, or gets this reply.
    Send(PendingCommand, Bytes),
    /// Whoever asked is told where it leads, if anywhere.
    Tell(oneshot::Sender<Option<Redirect>>),
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
enum Verdict {
    /// It is true, and leads there.
    Follow(Redirect),
    /// It is not known to be true.
    Refuse,
}

// === impl Suspect ===

impl Suspect {
    /// Whether nothing has to be asked: the server's own words name a node that the upstream names.
    fn is_plain(&self, table: &SlotTable) -> bool {
        !self.foreign && table.names(self.redirect.node())
    }

    /// What follows from what its node says of itself; `None` when more has to be asked.
    fn by_view(&self, view: &NodeView, table: &SlotTable) -> Option<Verdict> {
        let slot = self.redirect.slot();
        let serves = view.owns(slot) || (self.asking && view.arriving.contains(&slot));
        let is_true = match self.redirect {
            Redirect::Moved(..) => !serves,
            Redirect::Ask(..) => !serves || view.is_leaving(slot),
        };
        if self.foreign && !is_true {
            return Some(Verdict::Refuse);
        }
        table.names(self.redirect.node()).then(|| Verdict::Follow(self.redirect.clone()))
    }

    /// What follows from the table, which was filled since the redirect came. Where the address in the
    /// redirect is none that the upstream names, the owner that it names is asked.
    fn by_table(&self, table: &SlotTable) -> Verdict {
        let slot = self.redirect.slot();
        // Who owns a slot says nothing of who is taking it.
        let elsewhere = table.owner(slot).filter(|owner| *owner != self.node && !self.asking);
        if table.names(self.redirect.node()) && (!self.foreign || elsewhere.is_some()) {
            return Verdict::Follow(self.redirect.clone());
        }
        match (&self.redirect, elsewhere.and_then(|owner| table.node(owner))) {
            (Redirect::Moved(..), Some(owner)) => Verdict::Follow(Redirect::Moved(slot, owner)),
            _ => Verdict::Refuse,
        }
    }
}

// === impl Suspects ===

impl Suspects {
    /// Whether a command on `slot` waits here.
    pub(in crate::upstream) fn hold(&self, slot: Slot) -> bool {
        self.held.borrow().iter().any(|suspect| suspect.is_command() && suspect.redirect.slot() == slot)
    }

    /// How many commands that `node` redirected wait here, and their bytes: they are in flight.
    #[inline]
    pub(in crate::upstream) fn load(&self, node: NodeIndex) -> (usize, usize) {
        let held = self.held.borrow();
        // As a rule there are none.
        if held.is_empty() {
            return (0, 0);
        }
        let waiting = held.iter().filter(|suspect| suspect.node == node).filter_map(|suspect| {
            if let AfterInquiry::Send(waiting, _) = &suspect.then {
                Some(waiting.call.bytes.len())
            } else {
                None
            }
        });
        waiting.fold((0, 0), |(count, bytes), more| (count + 1, bytes + more))
    }

    fn put(&self, suspect: Suspect) {
        self.came.set(self.came.get() + 1);
        self.held.borrow_mut().push(Suspect { number: self.came.get(), ..suspect });
    }

    /// When the first of those that `node` sent stops waiting.
    fn deadline(&self, node: NodeIndex) -> Option<Nanos> {
        let held = self.held.borrow();
        held.iter().filter(|suspect| suspect.node == node).map(|suspect| suspect.deadline).min()
    }

    /// Takes out what is decided, in its order: nothing overtakes a command on its slot that still waits.
    fn take(&self, verdict: impl Fn(&Suspect) -> Option<Verdict>) -> Vec<(Suspect, Verdict)> {
        let mut blocked = HashSet::new();
        let (mut taken, mut kept) = (Vec::new(), Vec::new());
        for suspect in self.held.take() {
            let slot = suspect.redirect.slot();
            match verdict(&suspect).filter(|_| !suspect.is_command() || !blocked.contains(&slot)) {
                Some(verdict) => taken.push((suspect, verdict)),
                None => {
                    if suspect.is_command() {
                        blocked.insert(slot);
                    }
                    kept.push(suspect);
                }
            }
        }
        self.held.replace(kept);
        taken
    }

    /// Takes out those for which nobody waits any more.
    fn take_overdue(&self, now: Nanos) -> Vec<Suspect> {
        self.held.borrow_mut().extract_if(.., |suspect| suspect.deadline <= now).collect()
    }

    /// Whether nobody asks `node` yet: whoever asks this does from here on.
    fn begin_inquiry(&self, node: NodeIndex) -> bool {
        let now = clock::now();
        let mut inquiries = self.inquiries.borrow_mut();
        inquiries.retain(|_, inquiry| inquiry.is_running || inquiry.next_at > now);
        !std::mem::replace(&mut inquiries.entry(node).or_default().is_running, true)
    }

    fn end_inquiry(&self, node: NodeIndex) {
        if let Some(inquiry) = self.inquiries.borrow_mut().get_mut(&node) {
            inquiry.is_running = false;
        }
    }

    fn next_question_at(&self, node: NodeIndex) -> Nanos {
        self.inquiries.borrow().get(&node).map_or(0, |inquiry| inquiry.next_at)
    }

    fn put_next_question(&self, node: NodeIndex, at: Nanos) {
        if let Some(inquiry) = self.inquiries.borrow_mut().get_mut(&node) {
            inquiry.next_at = at;
        }
    }
}

impl Suspect {
    fn is_command(&self) -> bool {
        matches!(self.then, AfterInquiry::Send(..))
    }
}

// === impl Upstream ===

impl Upstream {
    /// Follows a redirect that `node` answered to `waiting`, if it is true; else `words` are the reply.
    pub(in crate::upstream) fn weigh(
        self: &Rc<Self>,
        redirect: Redirect,
        node: NodeIndex,
        waiting: PendingCommand,
        words: Bytes,
    ) {
        let (foreign, asking, deadline) = (waiting.call.foreign, waiting.asking, waiting.deadline);
        let slot = redirect.slot();
        let then = AfterInquiry::Send(waiting, words);
        let suspect = Suspect { number: 0, node, redirect, foreign, asking, deadline, then };
        if suspect.is_plain(&self.shared.table) && !self.suspects.hold(slot) {
            let follow = Verdict::Follow(suspect.redirect.clone());
            return self.carry_out(suspect, follow);
        }
        self.suspect(suspect);
    }

    /// Where a redirect leads that `node` answered, or code that is not the server's own (`foreign`), if it
    /// is true.
    pub(in crate::upstream) async fn weighed(
        self: &Rc<Self>,
        redirect: Redirect,
        node: &NodeId,
        foreign: bool,
    ) -> Option<Redirect> {
        let (tell, told) = oneshot::channel();
        let deadline = clock::now() + clock::nanos(self.options.request_timeout);
        let (node, then) = (self.shared.table.index_of(node), AfterInquiry::Tell(tell));
        let suspect = Suspect { number: 0, node, redirect, foreign, asking: false, deadline, then };
        if suspect.is_plain(&self.shared.table) {
            return Some(suspect.redirect);
        }
        self.suspect(suspect);
        told.await.ok().flatten()
    }

    fn suspect(self: &Rc<Self>, suspect: Suspect) {
        let node = suspect.node;
        self.suspects.put(suspect);
        if self.suspects.begin_inquiry(node) {
            tokio::task::spawn_local(self.clone().inquire(node));
        }
    }

    /// Finds out about all that `node` sent, until nothing of it waits.
    async fn inquire(self: Rc<Self>, node: NodeIndex) {
        while let Some(deadline) = self.suspects.deadline(node) {
            let _ = time::timeout_at(clock::instant(deadline), self.find_out(node)).await;
            for overdue in self.suspects.take_overdue(clock::now()) {
                self.give_up(overdue);
            }
        }
        self.suspects.end_inquiry(node);
    }

    /// Asks the node and, if that is not enough, for the owners of all slots.
    async fn find_out(self: &Rc<Self>, node: NodeIndex) {
        let table = &self.shared.table;
        time::sleep_until(clock::instant(self.suspects.next_question_at(node))).await;
        self.suspects.put_next_question(node, clock::now() + clock::nanos(self.options.refresh_gap_min));
        // What comes from here on is about a later time than the answer.
        let newest = self.suspects.came.get();
        let is_asked = |suspect: &Suspect| suspect.node == node && suspect.number <= newest;
        if let Some(view) = self.view_of(node).await {
            table.introduce(&view.names);
            self.decide(|suspect| is_asked(suspect).then(|| suspect.by_view(&view, table)).flatten());
        }
        if self.suspects.held.borrow().iter().any(is_asked) {
            self.refreshed_once().await;
            self.decide(|suspect| is_asked(suspect).then(|| suspect.by_table(table)));
        }
    }

    /// What a node says of itself now; `None` when it does not.
    async fn view_of(self: &Rc<Self>, node: NodeIndex) -> Option<NodeView> {
        let (node, bytes) = (self.node(node), encode::request(&["CLUSTER", "NODES"]));
        let call = Call { bytes, slot: None, reads_only: true, foreign: false };
        let reply = self.send_to_known(&node, call).reply.await.ok()?.ok()?;
        self.view(&reply.frame, &node)
    }

    fn decide(self: &Rc<Self>, verdict: impl Fn(&Suspect) -> Option<Verdict>) {
        let table = &self.shared.table;
        let plain =
            |suspect: &Suspect| suspect.is_plain(table).then(|| Verdict::Follow(suspect.redirect.clone()));
        for (suspect, verdict) in self.suspects.take(|suspect| plain(suspect).or_else(|| verdict(suspect))) {
            self.carry_out(suspect, verdict);
        }
    }

    fn carry_out(self: &Rc<Self>, suspect: Suspect, verdict: Verdict) {
        let Suspect { node, redirect, foreign, then, .. } = suspect;
        if verdict == Verdict::Refuse {
            self.stats.upstream_redirects_refused.add(1);
        }
        if verdict == Verdict::Refuse && !foreign {
            let mut refused = self.suspects.refused.get();
            if let Some(count) = refused.note(clock::now()) {
                let (node, to, slot) = (self.node(node), redirect.node(), redirect.slot());
                tracing::warn!(count, %node, %to, %slot, "redirects to nodes that the upstream does not name are not followed");
            }
            self.suspects.refused.set(refused);
        }
        match (then, verdict) {
            (AfterInquiry::Send(waiting, _), Verdict::Follow(redirect)) => self.redirect(redirect, waiting),
            (AfterInquiry::Send(waiting, words), Verdict::Refuse) => waiting.answer(words, false),
            // Whoever asked may have gone.
            (AfterInquiry::Tell(tell), Verdict::Follow(redirect)) => drop(tell.send(Some(redirect))),
            (AfterInquiry::Tell(tell), Verdict::Refuse) => drop(tell.send(None)),
        }
    }

    fn give_up(&self, suspect: Suspect) {
        let AfterInquiry::Send(waiting, _) = suspect.then else { return };
        self.stats.upstream_timeouts.add(1);
        let (node, after) = (self.node(suspect.node), self.options.request_timeout);
        waiting.fail(&UpstreamError::TimedOut { node, after });
    }
}
