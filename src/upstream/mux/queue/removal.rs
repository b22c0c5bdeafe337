//! Commands that leave the queue without a reply: their connection was lost, they are overdue, or they are
//! not to be sent.

use std::collections::{HashSet, VecDeque};

use bytes::Bytes;

use super::{CommandQueue, Window};
use crate::clock::Nanos;
use crate::protocol::db::DbIndex;
use crate::protocol::key::{KeySlots, Slot};
use crate::upstream::call::{Completion, PendingCommand};

impl CommandQueue {
    /// The node has refused to select `database`: takes out the commands of it, which were not sent. `None`
    /// if they may have been sent.
    pub(in crate::upstream) fn refuse_database(&mut self, database: DbIndex) -> Option<Vec<PendingCommand>> {
        if !self.databases.refuse(database) {
            return None;
        }
        let (mut kept, mut refused, mut is_over) = (VecDeque::new(), Vec::new(), false);
        for waiting in std::mem::take(&mut self.waiting) {
            is_over |= matches!(waiting.waiter, Completion::Select(_));
            match !is_over && waiting.call.database == Some(database) {
                true => refused.push(waiting),
                false => kept.push_back(waiting),
            }
        }
        if !is_over {
            self.databases.go_back();
        }
        self.waiting = kept;
        self.count();
        self.go_on();
        Some(refused)
    }

    /// The only request for which the node can have closed the connection: the only one of a caller in
    /// flight, or the one whose reply had begun.
    pub(in crate::upstream) fn cause(&self, reply_begun: bool) -> Option<Bytes> {
        let written = self.written;
        let is_under_way = |waiting: &&PendingCommand| {
            let has_left = waiting.begins_at.is_some_and(|begins_at| begins_at < written);
            has_left && matches!(waiting.waiter, Completion::Caller(_))
        };
        let mut under_way = self.waiting.iter().filter(is_under_way);
        let first = under_way.next()?;
        let is_first =
            self.waiting.front().is_some_and(|front| matches!(front.waiter, Completion::Caller(_)));
        let is_alone = under_way.next().is_none();
        (is_alone || (reply_begun && is_first)).then(|| first.call.bytes.clone())
    }

    /// Takes out what was sent on a former connection, to be sent again, with what has to stay behind it.
    /// Nothing, if a command waits that has to stay behind all of that.
    pub(in crate::upstream) fn take_suspects(&mut self) -> Vec<PendingCommand> {
        let sent = self.waiting.iter().filter(|waiting| waiting.rerouted);
        let slots: HashSet<Slot> = sent.filter_map(|waiting| waiting.call.slots.one()).collect();
        let has_to_stay = |waiting: &PendingCommand| waiting.is_unslotted() || waiting.asking;
        if slots.is_empty() || self.waiting.iter().any(has_to_stay) {
            return Vec::new();
        }
        self.refuse(|waiting| waiting.call.slots.one().is_some_and(|slot| slots.contains(&slot)))
    }

    /// The connection was lost. Keeps the commands that may go out on the next one and returns the others.
    ///
    /// A command that was not written is sent again. A command that was written is sent again only if it
    /// reads, and if no write that may touch its keys was written after it: a session's read must not see a
    /// write that it sent later (I6). That happens once, and once more, one command at a time, if few were in
    /// flight; never if it was alone already. A command that is overdue at `now` is not kept.
    pub(in crate::upstream) fn lose(&mut self, now: Nanos) -> Vec<PendingCommand> {
        let written = self.written;
        let was_among_few = match self.window {
            Window::All | Window::One => false,
            Window::Growing(_) => self.waiting.get(1).is_some_and(|second| second.begins_at.is_some()),
        };
        if was_among_few {
            self.window = Window::One;
        }
        let (mut written_slots, mut wrote_anything) = (HashSet::new(), false);
        let (mut kept, mut lost) = (VecDeque::new(), Vec::new());
        while let Some(mut waiting) = self.waiting.pop_back() {
            // The next connection begins anew.
            if matches!(waiting.waiter, Completion::Select(_)) {
                continue;
            }
            let left = waiting.begins_at.is_some_and(|begins_at| begins_at < written);
            let in_order = match waiting.call.slots {
                KeySlots::One(slot) => !wrote_anything && !written_slots.contains(&slot),
                KeySlots::Several => !wrote_anything && written_slots.is_empty(),
                KeySlots::None => false,
            };
            let was_alone = self.window != Window::All && !was_among_few;
            let once_more = was_among_few || !(waiting.rerouted || was_alone);
            let again = in_order && waiting.call.reads_only && once_more;
            if (left && !again) || waiting.deadline <= now {
                if left && !waiting.call.reads_only {
                    written_slots.extend(waiting.call.slots.one());
                    wrote_anything |= waiting.is_unslotted();
                }
                lost.push(waiting);
                continue;
            }
            waiting.rerouted |= left;
            waiting.begins_at = None;
            kept.push_front(waiting);
        }
        self.waiting = kept;
        self.count();
        self.out.clear();
        lost.reverse();
        lost
    }

    /// Takes the commands at the front whose deadline is over at `now`.
    pub(in crate::upstream) fn take_overdue(&mut self, now: Nanos) -> Vec<PendingCommand> {
        let is_overdue =
            |queue: &CommandQueue| queue.oldest_deadline().is_some_and(|deadline| deadline <= now);
        std::iter::from_fn(|| if is_overdue(self) { self.pop() } else { None }).collect()
    }

    /// Takes out commands that are not to be sent, each with the command before it that belongs to it. No
    /// command of the queue may have been written.
    pub(in crate::upstream) fn refuse(
        &mut self,
        is_refused: impl Fn(&PendingCommand) -> bool,
    ) -> Vec<PendingCommand> {
        if !self.waiting.iter().any(&is_refused) {
            return Vec::new();
        }
        let (mut kept, mut refused) = (VecDeque::new(), Vec::new());
        for waiting in std::mem::take(&mut self.waiting) {
            if !is_refused(&waiting) {
                kept.push_back(waiting);
                continue;
            }
            if kept
                .back()
                .is_some_and(|before: &PendingCommand| matches!(before.waiter, Completion::Nobody(_)))
            {
                kept.pop_back();
            }
            refused.push(waiting);
        }
        self.waiting = kept;
        self.count();
        refused
    }

    /// Takes everything.
    pub(in crate::upstream) fn take_all(&mut self) -> Vec<PendingCommand> {
        self.out.clear();
        let waiting = std::mem::take(&mut self.waiting).into();
        self.count();
        waiting
    }
}
