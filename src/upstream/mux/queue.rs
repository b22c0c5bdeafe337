//! The commands of one upstream connection: those that wait to be sent, and those that wait for a reply, in
//! one line.
//!
//! No socket here. What was written is known by counting bytes, so that after a loss it is certain which
//! commands never left.

use std::collections::{HashSet, VecDeque};

use bytes::Bytes;

use crate::clock::Nanos;
use crate::memory::MemoryHold;
use crate::net::write_queue::WriteQueue;
use crate::protocol::key::Slot;
use crate::upstream::call::{Completion, PendingCommand};

/// The line of commands.
#[derive(Debug)]
pub(in crate::upstream) struct CommandQueue {
    waiting: VecDeque<PendingCommand>,
    out: WriteQueue,
    /// Bytes put into `out` on the present connection.
    queued: u64,
    /// Bytes of those that the socket took.
    written: u64,
    /// Bytes of all commands in the line.
    bytes: usize,
    /// The same, as it counts against the ceiling.
    held: MemoryHold,
    /// From this size on a command is large.
    large_bytes_min: usize,
    /// Where the last large command ends that was put into `out`.
    large_until: u64,
    /// A large command waits for a connection.
    has_large: bool,
    /// Commands of callers that may touch anything: they name no keys and do not just read.
    unslotted: usize,
    /// Commands whose replies may be large.
    expecting_large: usize,
    /// So many commands may be under way at once.
    window: Window,
}

/// How many commands may be under way at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Window {
    /// All of the line.
    All,
    /// So many; with each reply twice as many, up to [`WINDOW_MAX`].
    Growing(usize),
    /// One, because the connection was lost with several.
    One,
}

/// Of commands one of which may end the connection, so many are under way at once at most.
const WINDOW_MAX: usize = 16;

/// What a command takes beside its bytes: its place here, what its session keeps until it is answered, and
/// its reply's place. Of 30,000 SETs that waited each took 1,430 bytes of resident memory.
pub(in crate::upstream) const COMMAND_BYTES: usize = 2 * 1024;

/// Room for so many commands is kept when none waits.
const KEPT_PLACES_MAX: usize = 1024;

// === impl Queue ===

impl CommandQueue {
    /// An empty line, in which commands from `large_bytes_min` on are large, and whose commands are counted
    /// in `held`.
    pub(in crate::upstream) fn new(large_bytes_min: usize, held: MemoryHold) -> CommandQueue {
        CommandQueue {
            waiting: VecDeque::new(),
            out: WriteQueue::default(),
            queued: 0,
            written: 0,
            bytes: 0,
            held,
            large_bytes_min,
            large_until: 0,
            has_large: false,
            unslotted: 0,
            expecting_large: 0,
            window: Window::All,
        }
    }

    /// From here on one command is under way on a new connection, and more once that was answered: what ends
    /// the connection takes few others along.
    pub(in crate::upstream) fn begin_with_one(&mut self) {
        self.window = Window::Growing(1);
    }

    /// One that was under way has been answered.
    #[cold]
    fn widen(&mut self) {
        let window = match self.window {
            _ if self.waiting.is_empty() => 1,
            Window::All | Window::One => 1,
            Window::Growing(window) => (2 * window).min(WINDOW_MAX),
        };
        if self.window != Window::One || self.waiting.is_empty() {
            self.window = Window::Growing(window);
        }
        self.fill_window(window);
    }

    /// Puts out what may be under way by now.
    #[cold]
    fn fill_window(&mut self, window: usize) {
        let mut waiting = std::mem::take(&mut self.waiting);
        for waiting in waiting.iter_mut().take(window).filter(|waiting| waiting.begins_at.is_none()) {
            waiting.begins_at = Some(self.append(waiting));
        }
        self.waiting = waiting;
    }

    /// Whether a large command has not left yet.
    pub(in crate::upstream) fn is_sending_large(&self) -> bool {
        self.has_large || self.written < self.large_until
    }

    /// Whether a command that may touch anything is in the line.
    pub(in crate::upstream) fn has_unslotted(&self) -> bool {
        self.unslotted > 0
    }

    /// Whether a command is in the line whose reply may be large.
    pub(in crate::upstream) fn expects_large(&self) -> bool {
        self.expecting_large > 0
    }

    /// Commands in the line.
    pub(in crate::upstream) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Bytes of the commands in the line.
    pub(in crate::upstream) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What the commands in the line take, in bytes.
    pub(in crate::upstream) fn takes(&self) -> usize {
        self.bytes + self.waiting.len() * COMMAND_BYTES
    }

    /// What goes out next.
    pub(in crate::upstream) fn out(&mut self) -> &mut WriteQueue {
        &mut self.out
    }

    /// The socket took so many bytes of it.
    pub(in crate::upstream) fn note_written(&mut self, bytes: u64) {
        self.written += bytes;
    }

    /// Adds a command at the end; `connected` when it may go out at once.
    pub(in crate::upstream) fn push(&mut self, mut waiting: PendingCommand, connected: bool) {
        self.bytes += waiting.call.bytes.len();
        self.unslotted += usize::from(waiting.is_unslotted());
        self.expecting_large += usize::from(waiting.expects_large);
        self.has_large |= !connected && waiting.call.bytes.len() >= self.large_bytes_min;
        let goes_out = connected
            && match self.window {
                Window::All => true,
                Window::Growing(window) => self.waiting.len() < window,
                Window::One => self.waiting.is_empty(),
            };
        waiting.begins_at = goes_out.then(|| self.append(&mut waiting));
        self.waiting.push_back(waiting);
        self.held.set_roughly(self.takes());
    }

    /// A connection stands: everything in the line goes out, in order.
    pub(in crate::upstream) fn start(&mut self) {
        self.out.clear();
        (self.queued, self.written, self.large_until, self.has_large) = (0, 0, 0, false);
        self.waiting.iter_mut().for_each(|waiting| waiting.begins_at = None);
        let window = match self.window {
            Window::All => usize::MAX,
            Window::Growing(_) => {
                self.begin_with_one();
                1
            }
            Window::One => 1,
        };
        self.fill_window(window);
    }

    /// Whether `frame` belongs to the command whose reply comes next without being that reply.
    #[inline]
    pub(in crate::upstream) fn take_part(&mut self, frame: &Bytes) -> bool {
        let parts = self.waiting.front_mut().and_then(|waiting| waiting.parts.as_mut());
        parts.is_some_and(|parts| parts.take(frame))
    }

    /// The command whose reply comes next.
    pub(in crate::upstream) fn pop(&mut self) -> Option<PendingCommand> {
        let waiting = self.waiting.pop_front()?;
        self.bytes -= waiting.call.bytes.len();
        if self.waiting.is_empty() {
            self.rest();
        } else {
            self.held.set_roughly(self.takes());
        }
        self.unslotted -= usize::from(waiting.is_unslotted());
        self.expecting_large -= usize::from(waiting.expects_large);
        if self.window != Window::All && waiting.begins_at.is_some() {
            self.widen();
        }
        Some(waiting)
    }

    /// The slot of the command whose reply comes next.
    pub(in crate::upstream) fn next_slot(&self) -> Option<Slot> {
        self.waiting.front()?.call.slot
    }

    /// Whether the next reply is to a question of the connection's own.
    pub(in crate::upstream) fn is_own_next(&self) -> bool {
        self.waiting.front().is_some_and(|waiting| !matches!(waiting.waiter, Completion::Caller(_)))
    }

    /// The request for which alone a node can have hung up on the connection: the only one of a caller that
    /// was under way, or that whose reply had begun.
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
        let slots: HashSet<Slot> = sent.filter_map(|waiting| waiting.call.slot).collect();
        let has_to_stay = |waiting: &PendingCommand| waiting.is_unslotted() || waiting.asking;
        if slots.is_empty() || self.waiting.iter().any(has_to_stay) {
            return Vec::new();
        }
        self.refuse(|waiting| waiting.call.slot.is_some_and(|slot| slots.contains(&slot)))
    }

    /// When the oldest command stops waiting.
    pub(in crate::upstream) fn oldest_deadline(&self) -> Option<Nanos> {
        self.waiting.front().map(|waiting| waiting.deadline)
    }

    /// Whether a command on `slot` is in the line.
    pub(in crate::upstream) fn has(&self, slot: Slot) -> bool {
        self.waiting.iter().any(|waiting| waiting.call.slot == Some(slot))
    }

    /// The connection was lost. Keeps the commands that may go out on the next one and returns the others.
    ///
    /// What was not written may. What was written may only if it just reads, and nothing that writes the same
    /// slot was written after it: a session's read must not see a write that it sent later (I6). That
    /// once, and once more if few were under way, of which each goes alone then; not if it was alone
    /// already. What is overdue at `now` is not kept.
    pub(in crate::upstream) fn lose(&mut self, now: Nanos) -> Vec<PendingCommand> {
        let written = self.written;
        let was_among_few = match self.window {
            Window::All | Window::One => false,
            Window::Growing(_) => self.waiting.get(1).is_some_and(|second| second.begins_at.is_some()),
        };
        if was_among_few {
            self.window = Window::One;
        }
        let mut written_slots = HashSet::new();
        let (mut kept, mut lost) = (VecDeque::new(), Vec::new());
        while let Some(mut waiting) = self.waiting.pop_back() {
            let left = waiting.begins_at.is_some_and(|begins_at| begins_at < written);
            let slot = waiting.call.slot;
            let in_order = slot.is_some() && !written_slots.contains(&slot);
            let was_alone = self.window != Window::All && !was_among_few;
            let once_more = was_among_few || !(waiting.rerouted || was_alone);
            let again = in_order && waiting.call.reads_only && once_more;
            if (left && !again) || waiting.deadline <= now {
                if left && !waiting.call.reads_only {
                    written_slots.insert(slot);
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

    /// Takes out what is not to be sent, each with what stands before it and belongs to it. Nothing of the
    /// line may have been written.
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

    /// Counts what is in the line, none of which is on a connection.
    fn count(&mut self) {
        let sizes = self.waiting.iter().map(|waiting| waiting.call.bytes.len());
        self.bytes = sizes.clone().sum();
        self.held.set(self.takes());
        self.has_large = sizes.max().is_some_and(|bytes| bytes >= self.large_bytes_min);
        self.unslotted = self.waiting.iter().filter(|waiting| waiting.is_unslotted()).count();
        self.expecting_large = self.waiting.iter().filter(|waiting| waiting.expects_large).count();
        self.large_until = 0;
    }

    /// Nothing is in the line any more.
    fn rest(&mut self) {
        self.held.set(0);
        if self.waiting.capacity() > KEPT_PLACES_MAX {
            self.waiting = VecDeque::new();
        }
    }

    fn append(&mut self, waiting: &mut PendingCommand) -> u64 {
        if let Some(parts) = &mut waiting.parts {
            parts.start();
        }
        let begins_at = self.queued;
        self.out.push(&waiting.call.bytes);
        self.queued += waiting.call.bytes.len() as u64;
        if waiting.call.bytes.len() >= self.large_bytes_min {
            self.large_until = self.queued;
        }
        begins_at
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::memory::{MemoryCeiling, MemoryUse};
    use crate::upstream::call::Call;
    use crate::upstream::rights::Right;

    fn waiting(name: &'static str, slot: u64, reads_only: bool) -> PendingCommand {
        let call = Call {
            bytes: Bytes::from_static(name.as_bytes()),
            slot: Slot::from_number(slot),
            reads_only,
            foreign: false,
        };
        PendingCommand::new(call, Completion::Nobody(Right::Asking), 100)
    }

    fn queue() -> CommandQueue {
        CommandQueue::new(6, Arc::<MemoryCeiling>::default().hold(MemoryUse::InFlight))
    }

    fn names(waiting: impl IntoIterator<Item = PendingCommand>) -> Vec<Bytes> {
        waiting.into_iter().map(|waiting| waiting.call.bytes).collect()
    }

    #[test]
    fn after_a_loss_only_what_cannot_have_run_or_only_reads_is_kept() {
        let mut queue = queue();
        queue.push(waiting("read1", 1, true), true);
        queue.push(waiting("read2", 2, true), true);
        queue.push(waiting("write1", 1, false), true);
        queue.push(waiting("read1b", 1, true), true);
        queue.push(waiting("unsent", 3, false), true);
        queue.note_written("read1read2write1read1b".len() as u64);
        assert_eq!(names(queue.lose(0)), ["read1", "write1"], "read1 came before a write of its slot");
        assert_eq!(names(queue.take_all()), ["read2", "read1b", "unsent"]);
    }

    #[test]
    fn a_large_command_is_in_the_way_until_its_last_byte_has_left() {
        let mut queue = queue();
        queue.push(waiting("small", 1, true), false);
        assert!(!queue.is_sending_large());
        queue.push(waiting("large1", 2, false), false);
        assert!(queue.is_sending_large(), "it waits for a connection");
        queue.start();
        queue.push(waiting("after", 3, true), true);
        queue.note_written(10);
        assert!(queue.is_sending_large());
        queue.note_written(1);
        assert!(!queue.is_sending_large());
        queue.push(waiting("large2", 3, true), true);
        assert_eq!(names(queue.lose(0)), ["large1"]);
        assert!(queue.is_sending_large(), "it waits for the next connection");
        queue.take_all();
        assert!(!queue.is_sending_large());
    }

    #[test]
    fn commands_that_may_touch_anything_are_counted_until_they_are_answered() {
        let unslotted = |reads_only| {
            let (sender, _) = tokio::sync::oneshot::channel();
            let call = Call { bytes: Bytes::from_static(b"x"), slot: None, reads_only, foreign: false };
            PendingCommand::new(call, Completion::Caller(sender), 100)
        };
        let mut queue = queue();
        queue.push(unslotted(true), true);
        queue.push(waiting("write1", 1, false), true);
        assert!(!queue.has_unslotted());
        queue.push(unslotted(false), true);
        queue.push(unslotted(false), true);
        for _ in 0..3 {
            assert!(queue.has_unslotted());
            queue.pop();
        }
        assert!(queue.has_unslotted());
        assert_eq!(queue.lose(100).len(), 1);
        assert!(!queue.has_unslotted());
    }

    #[test]
    fn commands_that_may_have_large_replies_are_counted_until_they_are_answered_or_lost() {
        let expecting = |name| PendingCommand { expects_large: true, ..waiting(name, 1, true) };
        let mut queue = queue();
        queue.push(waiting("small", 1, true), true);
        assert!(!queue.expects_large());
        queue.push(expecting("one"), true);
        queue.push(expecting("two"), true);
        queue.pop();
        assert!(queue.expects_large());
        queue.pop();
        assert!(queue.expects_large());
        queue.lose(Nanos::MAX);
        assert!(!queue.expects_large());
    }

    #[test]
    fn a_command_of_which_one_byte_left_counts_as_sent() {
        let mut queue = queue();
        queue.push(waiting("write1", 1, false), true);
        queue.note_written(1);
        assert_eq!(names(queue.lose(0)), ["write1"]);
    }

    #[test]
    fn what_is_overdue_is_not_sent_again() {
        let mut queue = queue();
        queue.push(waiting("read1", 1, true), true);
        queue.push(waiting("unsent", 1, false), true);
        queue.note_written(5);
        assert_eq!(names(queue.lose(100)), ["read1", "unsent"]);
    }

    #[test]
    fn a_read_is_sent_again_once() {
        let mut queue = queue();
        queue.push(waiting("read1", 1, true), true);
        queue.note_written(5);
        assert!(queue.lose(0).is_empty());
        queue.start();
        queue.note_written(5);
        assert_eq!(names(queue.lose(0)), ["read1"]);
    }

    #[test]
    fn what_is_refused_takes_along_what_belongs_to_it() {
        let mut queue = queue();
        let (sender, _reply) = tokio::sync::oneshot::channel();
        queue.push(waiting("CACHING NO", 1, false), false);
        queue.push(
            PendingCommand { waiter: Completion::Caller(sender), ..waiting("too large", 1, true) },
            false,
        );
        queue.push(waiting("small", 1, true), false);
        let refused = queue.refuse(|waiting| waiting.call.bytes == "too large");
        assert_eq!(names(refused), ["too large"]);
        assert_eq!(queue.bytes(), "small".len());
        assert_eq!(names(queue.take_all()), ["small"]);
    }

    #[test]
    fn what_a_node_may_have_hung_up_on_goes_apart_with_what_stands_behind_it() {
        let mut queue = queue();
        queue.push(waiting("read1", 1, true), true);
        queue.push(waiting("read2", 2, true), true);
        queue.note_written(10);
        queue.push(waiting("write1", 1, false), false);
        queue.push(waiting("write3", 3, false), false);
        assert!(queue.lose(0).is_empty());
        assert_eq!(names(queue.take_suspects()), ["read1", "read2", "write1"]);
        assert_eq!(names(queue.take_all()), ["write3"]);
    }

    #[test]
    fn of_what_a_node_may_hang_up_on_few_are_under_way() {
        let mut queue = queue();
        queue.begin_with_one();
        for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            queue.push(waiting(name, 1, true), false);
        }
        for under_way in [1, 2, 4, 5] {
            if under_way == 1 {
                queue.start()
            } else {
                drop(queue.pop())
            }
            let out = queue.waiting.iter().filter(|waiting| waiting.begins_at.is_some()).count();
            assert_eq!(out, under_way);
        }
        queue.push(waiting("i", 1, true), true);
        assert!(queue.waiting.back().unwrap().begins_at.is_some());
        queue.note_written(9);
        assert!(queue.lose(0).is_empty(), "nobody knows which one it was");
        for left in (1..=queue.len()).rev() {
            queue.start();
            assert_eq!(queue.out().len(), 1, "each goes alone on the next connection");
            queue.note_written(1);
            assert_eq!((queue.lose(0).len(), queue.len()), (1, left - 1));
        }
    }

    #[test]
    fn a_node_can_have_hung_up_for_what_was_alone_or_was_being_answered() {
        let caller = |name| {
            let (sender, _reply) = tokio::sync::oneshot::channel();
            PendingCommand { waiter: Completion::Caller(sender), ..waiting(name, 1, true) }
        };
        let mut queue = queue();
        queue.push(caller("one"), true);
        assert_eq!(queue.cause(false), None, "it has not left");
        queue.note_written(3);
        assert_eq!(queue.cause(false).unwrap(), "one");
        queue.push(caller("two"), true);
        queue.note_written(3);
        assert_eq!(queue.cause(false), None);
        assert_eq!(queue.cause(true).unwrap(), "one");
    }

    #[test]
    fn what_waits_for_a_connection_goes_out_in_order_once_it_stands() {
        let mut queue = queue();
        queue.push(waiting("a", 1, true), false);
        queue.push(waiting("b", 1, false), false);
        assert!(queue.out().is_empty());
        queue.start();
        assert_eq!(queue.out().len(), 2);
        assert_eq!(queue.bytes(), 2);
        assert_eq!(queue.pop().unwrap().call.bytes, "a");
        assert_eq!(queue.len(), 1);
    }
}
