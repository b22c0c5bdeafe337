//! A client's socket, TCP or Unix, registered with the event loop for reads only.
//!
//! A reply is written at once. Only when the socket is full is its room waited for, over a duplicate
//! descriptor that lives just as long. A socket that is registered for writes as well wakes the loop each
//! time the peer takes a reply in; for a Unix socket that is once per request.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::task::{Context, Poll, ready};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::net::write_queue::WriteQueue;

/// What is written in one turn, as far as it goes; a single write may take more.
const WRITE_BYTES: usize = 1024 * 1024;

/// A connected stream that the event loop watches.
#[derive(Debug)]
pub struct Socket {
    stream: AsyncFd<socket2::Socket>,
    /// Exists while the socket is full.
    full: Option<AsyncFd<OwnedFd>>,
}

// === impl Socket ===

impl Socket {
    /// Watches `stream`, which must not block.
    ///
    /// # Errors
    /// The event loop refused the descriptor.
    pub fn new(stream: socket2::Socket) -> io::Result<Socket> {
        Ok(Socket { stream: watch(stream, Interest::READABLE)?, full: None })
    }

    /// Reads what has arrived into `buf`; ready with 0 at the end of the stream.
    ///
    /// # Errors
    /// The socket failed.
    pub fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.stream.poll_read_ready(cx))?;
            match guard.get_inner().read(buf) {
                Ok(count) => {
                    // A short read emptied the socket: the next bytes will wake us, so there is nothing to
                    // ask for.
                    if count > 0 && count < buf.len() {
                        guard.clear_ready();
                    }
                    return Poll::Ready(Ok(count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => guard.clear_ready(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Writes what waits in `queue`, as far as the socket takes it, and returns whether any was taken.
    /// Afterwards either the queue is empty, or [`Socket::poll_room`] says when to go on: when the socket
    /// is not full any more, or at once, because so much was written that others are to have their turn.
    ///
    /// # Errors
    /// The socket failed.
    pub fn write(&mut self, queue: &mut WriteQueue) -> io::Result<bool> {
        let mut stream = self.stream.get_ref();
        let (mut progress, waited) = (false, queue.len());
        while !queue.is_empty() {
            let written = queue.write_with(|slices| match slices {
                // One slice is the common case, and a plain write is cheaper than a vectored one.
                [one] => stream.write(one),
                _ => stream.write_vectored(slices),
            });
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                // A client that takes its replies as fast as they are written would keep everybody else
                // waiting.
                Ok(_) if waited - queue.len() >= WRITE_BYTES && !queue.is_empty() => {
                    self.full = None;
                    return Ok(true);
                }
                Ok(_) => progress = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.full.is_none() {
                        let duplicate = stream.as_fd().try_clone_to_owned()?;
                        self.full = Some(watch(duplicate, Interest::WRITABLE)?);
                    }
                    return Ok(progress);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.full = None;
        Ok(progress)
    }

    /// How many bytes have arrived that were not read.
    ///
    /// # Errors
    /// The socket failed.
    pub fn arrived(&self) -> io::Result<usize> {
        let arrived = rustix::io::ioctl_fionread(self.stream.get_ref())?;
        Ok(usize::try_from(arrived).unwrap_or(usize::MAX))
    }

    /// Tells the peer that nothing more comes, behind what was written.
    ///
    /// # Errors
    /// The socket failed.
    pub fn half_close(&self) -> io::Result<()> {
        self.stream.get_ref().shutdown(Shutdown::Write)
    }

    /// Ready when a full socket may take more.
    ///
    /// # Errors
    /// The event loop failed.
    pub fn poll_room(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(full) = &self.full else { return Poll::Ready(Ok(())) };
        let mut guard = ready!(full.poll_write_ready(cx))?;
        // The write that follows finds out how much room there is.
        guard.clear_ready();
        Poll::Ready(Ok(()))
    }
}

/// Registers a descriptor. Its owner keeps it open and unchanged for as long as it is registered.
#[expect(unsafe_code, reason = "tokio's safe constructor is deprecated in favour of this one")]
pub(super) fn watch<T: OwnsDescriptor>(owner: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    // SAFETY: the descriptor must stay open and stay the same until the registration ends. `AsyncFd` owns
    // `owner`, both kinds of owner hold one descriptor from their making to their drop, and nothing here
    // takes it out.
    Ok(unsafe { AsyncFd::register_with_interest(owner, interest) }?)
}

/// What holds one open descriptor for as long as it lives.
pub(super) trait OwnsDescriptor: std::os::fd::AsRawFd {}

impl OwnsDescriptor for socket2::Socket {}

impl OwnsDescriptor for OwnedFd {}
