//! The commands of one upstream connection, in one queue: first those that wait for a reply, behind them
//! those that wait to be sent.
//!
//! Bytes written to the socket are counted, so that after a loss it is certain which commands never left.
//!
//! Must never know: the socket, or which node it leads to. Begin with [`CommandQueue`]; `tests.rs` shows what
//! it does after a loss.

mod databases;
mod removal;

use std::collections::VecDeque;

use bytes::Bytes;

use crate::clock::Nanos;
use crate::memory::MemoryHold;
use crate::net::write_queue::WriteQueue;
use crate::protocol::db::DbIndex;
use crate::protocol::key::{KeySlots, Slot};
use crate::upstream::call::{Completion, PendingCommand};
use databases::Databases;

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
    /// The memory that the commands take, as it counts against the ceiling.
    held: MemoryHold,
    /// From this size on a command is large.
    large_bytes_min: usize,
    /// Where the last large command ends that was put into `out`.
    large_until: u64,
    /// A large command waits for a connection.
    has_large: bool,
    /// Commands of callers whose place no slot keeps ([`PendingCommand::is_unslotted`]).
    unslotted: usize,
    /// Commands whose replies may be large.
    expecting_large: usize,
    /// The bound on the commands in flight.
    window: Window,
    databases: Databases,
}

/// How many commands may be under way at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Window {
    /// All of the line.
    All,
    /// This many; with each reply twice as many, up to [`WINDOW_MAX`].
    Growing(usize),
    /// A single one, because the connection was lost with several.
    One,
}

/// The most commands in flight at once when one of them may end the connection.
const WINDOW_MAX: usize = 16;

/// What a command takes beside its bytes: its place here, what its session keeps until it is answered, and
/// its reply's place. Of 30,000 SETs that waited each took 1,430 bytes of resident memory.
pub(in crate::upstream) const COMMAND_BYTES: usize = 2 * 1024;

/// Places that are kept allocated when no command waits.
const KEPT_PLACES_MAX: usize = 1024;

// === impl CommandQueue ===

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
            databases: Databases::new(),
        }
    }

    /// From here on one command is under way on a new connection, and more once that was answered: what ends
    /// the connection takes few others along.
    pub(in crate::upstream) fn start_slowly(&mut self) {
        self.window = Window::Growing(1);
    }

    /// Allows more commands in flight after a reply.
    #[cold]
    fn grow_window(&mut self) {
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
            if self.databases.awaits() {
                break;
            }
            waiting.begins_at = Some(self.append(waiting));
        }
        self.waiting = waiting;
    }

    /// Whether a large command has not left yet.
    pub(in crate::upstream) fn is_sending_large(&self) -> bool {
        self.has_large || self.written < self.large_until
    }

    /// Whether a command whose place no slot keeps is in the line.
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

    /// Counts bytes that the socket took.
    pub(in crate::upstream) fn note_written(&mut self, bytes: u64) {
        self.written += bytes;
    }

    /// Adds a command at the end; `connected` when it may go out at once.
    #[inline]
    pub(in crate::upstream) fn push(&mut self, waiting: PendingCommand, connected: bool) {
        // Only a connection that is up is in a known database.
        if connected && let Some(select) = self.databases.select_before(&waiting) {
            self.push_select(select);
        }
        self.push_one(waiting, connected);
    }

    #[cold]
    fn push_select(&mut self, select: PendingCommand) {
        self.push_one(select, true);
    }

    #[inline(always)]
    fn push_one(&mut self, mut waiting: PendingCommand, connected: bool) {
        self.bytes += waiting.call.bytes.len();
        self.unslotted += usize::from(waiting.is_unslotted());
        self.expecting_large += usize::from(waiting.expects_large);
        self.has_large |= !connected && waiting.call.bytes.len() >= self.large_bytes_min;
        let goes_out = connected
            && !self.databases.awaits()
            && match self.window {
                Window::All => true,
                Window::Growing(window) => self.waiting.len() < window,
                Window::One => self.waiting.is_empty(),
            };
        waiting.begins_at = goes_out.then(|| self.append(&mut waiting));
        self.waiting.push_back(waiting);
        self.held.set_roughly(self.takes());
    }

    /// Begins on a new connection: everything in the queue goes out, in order.
    pub(in crate::upstream) fn start(&mut self) {
        self.out.clear();
        self.put_selects();
        (self.queued, self.written, self.large_until, self.has_large) = (0, 0, 0, false);
        self.waiting.iter_mut().for_each(|waiting| waiting.begins_at = None);
        if let Window::Growing(_) = self.window {
            self.start_slowly();
        }
        self.go_on();
    }

    /// Puts SELECT before each command that needs it on a new connection.
    fn put_selects(&mut self) {
        self.databases = Databases::new();
        let waiting = std::mem::take(&mut self.waiting);
        for waiting in waiting {
            self.waiting.extend(self.databases.select_before(&waiting));
            self.waiting.push_back(waiting);
        }
        self.count();
    }

    /// Puts out what may be under way in the present window.
    fn go_on(&mut self) {
        self.fill_window(match self.window {
            Window::All => usize::MAX,
            Window::Growing(window) => window,
            Window::One => 1,
        });
    }

    /// The node has confirmed that `database` is selected.
    pub(in crate::upstream) fn note_selected(&mut self, database: DbIndex) {
        if self.databases.confirm(database) {
            self.go_on();
        }
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
            self.note_empty();
        } else {
            self.held.set_roughly(self.takes());
        }
        self.unslotted -= usize::from(waiting.is_unslotted());
        self.expecting_large -= usize::from(waiting.expects_large);
        if self.window != Window::All && waiting.begins_at.is_some() {
            self.grow_window();
        }
        Some(waiting)
    }

    /// The slot of the command whose reply comes next.
    pub(in crate::upstream) fn next_slot(&self) -> Option<Slot> {
        self.waiting.front()?.call.slots.one()
    }

    /// Whether the next reply is to a question of the connection's own.
    pub(in crate::upstream) fn is_own_next(&self) -> bool {
        self.waiting.front().is_some_and(|waiting| !matches!(waiting.waiter, Completion::Caller(_)))
    }

    /// When the oldest command stops waiting.
    pub(in crate::upstream) fn oldest_deadline(&self) -> Option<Nanos> {
        self.waiting.front().map(|waiting| waiting.deadline)
    }

    /// Whether a command on `slot` is in the line.
    pub(in crate::upstream) fn has(&self, slot: Slot) -> bool {
        self.waiting.iter().any(|waiting| waiting.call.slots == KeySlots::One(slot))
    }

    /// Counts the commands of the queue, none of which is on a connection.
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
    fn note_empty(&mut self) {
        self.held.set(0);
        if self.waiting.capacity() > KEPT_PLACES_MAX {
            self.waiting = VecDeque::new();
        }
    }

    fn append(&mut self, waiting: &mut PendingCommand) -> u64 {
        if let Some(parts) = &mut waiting.parts {
            parts.start();
        }
        self.databases.note_sent(waiting);
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
mod tests;
