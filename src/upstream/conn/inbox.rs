//! The unread bytes of a tracked connection, for lookups of entries that were read on it: on any thread, and
//! whether or not the owner of the connection has had its turn.
//!
//! The kernel is asked. It does not know of bytes that are still delayed in the network, or by the host of a
//! virtual machine. So if a heartbeat went out late, because nothing ran here for that long, the connection
//! is not relied on until a heartbeat is answered: its answer comes after all earlier bytes of the node.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use socket2::SockRef;

use crate::clock::{self, Nanos};
use crate::node;

/// How late a heartbeat may go out on a busy machine.
const LATE_MAX: Duration = Duration::from_millis(250);

/// The inbox of one connection.
#[derive(Debug)]
pub(in crate::upstream) struct Inbox {
    /// A second descriptor of the socket.
    socket: OwnedFd,
    /// Whether bytes that were read may not be processed yet.
    taking: AtomicBool,
    /// The time by which the next heartbeat has to go out.
    heartbeat_by: AtomicU64,
    heartbeat_interval: Nanos,
}

// === impl Inbox ===

impl Inbox {
    /// The inbox of `socket`, to whose node a heartbeat is sent each `heartbeat_interval`.
    ///
    /// # Errors
    /// There is no descriptor left.
    pub(in crate::upstream) fn new(socket: impl AsFd, heartbeat_interval: Duration) -> io::Result<Inbox> {
        Ok(Inbox {
            socket: socket.as_fd().try_clone_to_owned()?,
            taking: AtomicBool::new(false),
            heartbeat_by: AtomicU64::new(0),
            heartbeat_interval: clock::nanos(heartbeat_interval),
        })
    }

    /// Sets whether bytes that were read may not be processed yet.
    pub(in crate::upstream) fn set_taking(&self, taking: bool) {
        self.taking.store(taking, Ordering::Release);
    }

    /// Notes that a heartbeat goes out at `now`.
    pub(in crate::upstream) fn beats(&self, now: Nanos) {
        if self.is_relied_on(now) {
            self.confirm(now);
        }
    }

    /// Notes the answer to the heartbeat that was sent at `sent_at`.
    pub(in crate::upstream) fn confirm(&self, sent_at: Nanos) {
        let next = sent_at.saturating_add(self.heartbeat_interval + clock::nanos(LATE_MAX));
        self.heartbeat_by.fetch_max(next, Ordering::AcqRel);
    }

    /// Whether the kernel is known to have all bytes that the node sent.
    pub(in crate::upstream) fn is_relied_on(&self, now: Nanos) -> bool {
        now < self.heartbeat_by.load(Ordering::Acquire)
    }
}

impl node::NodeInbox for Inbox {
    fn is_empty(&self, now: Nanos) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        let nothing = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
        // In this order: what was read before the kernel was asked is being dealt with, or was.
        self.is_relied_on(now)
            && SockRef::from(&self.socket).peek(&mut byte).is_err_and(nothing)
            && !self.taking.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::node::NodeInbox as _;

    const INTERVAL: Duration = Duration::from_millis(500);

    #[test]
    fn an_inbox_is_empty_once_what_came_was_dealt_with() {
        let (mut node, mut ours) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let inbox = Inbox::new(&ours, INTERVAL).unwrap();
        inbox.confirm(1);
        assert!(inbox.is_empty(1));
        node.write_all(b"x").unwrap();
        assert!(!inbox.is_empty(1));
        inbox.set_taking(true);
        assert_eq!(ours.read(&mut [0; 9]).unwrap(), 1);
        assert!(!inbox.is_empty(1), "it was read, and not dealt with");
        inbox.set_taking(false);
        assert!(inbox.is_empty(1));
        drop(node);
        assert!(!inbox.is_empty(1), "its end waits there");
    }

    #[test]
    fn after_a_late_heartbeat_one_has_to_be_answered() {
        let (_node, ours) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let inbox = Inbox::new(&ours, INTERVAL).unwrap();
        assert!(!inbox.is_empty(1), "none was answered yet");
        inbox.confirm(1_000);
        let late = 1_000 + clock::nanos(INTERVAL + LATE_MAX);
        assert!(inbox.is_empty(late - 1) && !inbox.is_empty(late));
        inbox.beats(late - 1);
        assert!(inbox.is_empty(late), "it went out in time");
        let late = late - 1 + clock::nanos(INTERVAL + LATE_MAX);
        inbox.beats(late);
        assert!(!inbox.is_empty(late), "I4");
        inbox.confirm(late);
        assert!(inbox.is_empty(late + 1));
    }
}
