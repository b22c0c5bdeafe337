//! A client's connection: its socket as a stream of requests and a queue of replies.
//!
//! Requests are scanned in the buffer that all connections of a worker read into, so an idle connection holds
//! no memory for reading; only the rest of an incomplete request is kept here.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use crate::memory::{MemoryCeiling, SMALL_BYTES};
use crate::net::socket::Socket;
use crate::net::unread::UnreadBytes;
use crate::net::walk::{Flow, Next, WalkEnd, walk};
use crate::net::write_queue::WriteQueue;
use crate::protocol::resp::request::Request;
use crate::protocol::resp::scan::{ProtocolError, RequestLimits, RequestScanner};

/// What one read takes in at most.
const READ_BYTES: usize = 32 * 1024;

/// The buffer that all connections of a worker read into. It is empty between any two polls of them.
#[derive(Clone, Debug)]
pub struct ReadBuffer(Rc<RefCell<Box<[u8]>>>);

/// Why no request comes.
#[derive(Debug)]
pub enum EndReason {
    /// The client closed its side.
    Closed,
    /// The socket failed.
    Failed(io::Error),
    /// The client sent bytes that are no request.
    Broken(ProtocolError),
    /// The client sent more than may wait while an earlier request of it is carried out; the bound.
    Ahead(&'static str),
    /// The next request is skipped, and the one behind it is read: it has at least this many bytes, and that
    /// is more than this bound lets it.
    Skipped(usize, &'static str),
}

/// What is done with what arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Intake {
    /// Parsed.
    Open,
    /// It belongs to a request that is skipped.
    Skipping,
    /// Nothing more arrives: the client closed its side while nothing was looked at.
    Ended,
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    socket: Socket,
    buffer: ReadBuffer,
    scanner: RequestScanner,
    /// What was read and not walked yet.
    rest: UnreadBytes,
    /// The bytes of the request that the rest begins with, if that is shown again.
    again: usize,
    intake: Intake,
    /// Bytes that have come of the request that is skipped, if one is.
    skipped: usize,
    /// Bytes that are still read from the socket: without end, until the daemon ends.
    takes: usize,
    ceiling: Arc<MemoryCeiling>,
    /// Replies on their way out.
    pub out: WriteQueue,
}

// === impl ReadBuffer ===

impl Default for ReadBuffer {
    fn default() -> ReadBuffer {
        ReadBuffer(Rc::new(RefCell::new(vec![0; READ_BYTES].into())))
    }
}

// === impl Connection ===

impl Connection {
    /// The connection over `stream`. `limits` bounds its requests, and `ceiling` the memory for them.
    ///
    /// # Errors
    /// The event loop refused the socket.
    pub fn new(
        stream: socket2::Socket,
        buffer: ReadBuffer,
        limits: RequestLimits,
        ceiling: Arc<MemoryCeiling>,
    ) -> io::Result<Connection> {
        let socket = Socket::new(stream)?;
        let scanner = RequestScanner::new(limits);
        let (rest, out) = (UnreadBytes::default(), WriteQueue::default());
        let (intake, skipped, takes) = (Intake::Open, 0, usize::MAX);
        Ok(Connection { socket, buffer, scanner, rest, again: 0, intake, skipped, takes, ceiling, out })
    }

    /// Holds the client, from its next request on, to what one may send that has a password to say yet; or no
    /// more.
    pub fn limit_unauthenticated(&mut self, restrained: bool) {
        self.scanner.limit_unauthenticated(restrained);
    }

    /// Reads what has arrived and shows each request in it to `handle`. Ready when something was read.
    ///
    /// Where more than one came, `ahead` gets the bytes that are walked next.
    #[inline]
    pub fn poll_requests(
        &mut self,
        cx: &mut Context<'_>,
        ahead: impl FnMut(&[u8]),
        handle: impl FnMut(Request<'_>, &mut WriteQueue) -> Flow,
    ) -> Poll<Result<(), EndReason>> {
        if self.intake != Intake::Open || self.takes == 0 {
            return self.poll_skip(cx);
        }
        let buffer = self.buffer.clone();
        let mut buffer = buffer.0.borrow_mut();
        let count = ready!(self.poll_read(cx, &mut buffer))?;
        if !self.rest.is_empty() {
            self.rest.extend_from_slice(&buffer[..count]);
            return Poll::Ready(self.walk_rest(ahead, handle));
        }
        let walked = walk(&mut self.scanner, &buffer[..count], None, &mut self.out, ahead, handle);
        Poll::Ready(walked.map_err(EndReason::Broken).and_then(|WalkEnd { at, next }| {
            self.rest.extend_from_slice(&buffer[at..count]);
            self.go_on(next)
        }))
    }

    /// Shows the requests that were read before and put off.
    ///
    /// # Errors
    /// What was read is no request.
    pub fn walk_rest(
        &mut self,
        ahead: impl FnMut(&[u8]),
        handle: impl FnMut(Request<'_>, &mut WriteQueue) -> Flow,
    ) -> Result<(), EndReason> {
        if self.intake == Intake::Skipping {
            return Ok(());
        }
        // A large request is in a buffer of its own, so that a task that needs it for longer need not copy
        // it.
        let first = std::mem::take(&mut self.again).max(self.scanner.announced());
        let large = first > SMALL_BYTES && self.scanner.may_end_within(self.rest.len());
        let shared = large.then(|| Bytes::from(self.rest.take()));
        let bytes = shared.as_deref().unwrap_or(&self.rest);
        let WalkEnd { at, next } =
            walk(&mut self.scanner, bytes, shared.as_ref(), &mut self.out, ahead, handle)
                .map_err(EndReason::Broken)?;
        match shared {
            Some(shared) if at == 0 => self.rest = Vec::from(shared).into(),
            Some(shared) => self.rest = shared[at..].to_vec().into(),
            None => self.rest.advance(at),
        }
        self.go_on(next)
    }

    /// Makes room for what the rest begins with, or has it skipped.
    #[inline]
    fn go_on(&mut self, next: Next) -> Result<(), EndReason> {
        if matches!(next, Next::Later) { Ok(()) } else { self.go_on_with_half(next) }
    }

    fn go_on_with_half(&mut self, next: Next) -> Result<(), EndReason> {
        match next {
            Next::Later => Ok(()),
            Next::Again(bytes) => {
                self.again = bytes;
                Ok(())
            }
            Next::TooLarge(bytes) => self.skip(bytes, "request_bytes_max"),
            Next::Part => {
                let kept = self.rest.len();
                let announced = self.scanner.announced().max(kept);
                if self.ceiling.is_small(announced) {
                    return Ok(());
                }
                if !self.ceiling.fits(announced - kept) && self.scanner.can_skip() {
                    return self.skip(announced, "memory_max");
                }
                if self.rest.room() < READ_BYTES {
                    // By a part of what there is, so that very many arguments are not moved for each of them.
                    self.rest.reserve_exact((announced - kept).max(kept / 4) + READ_BYTES);
                }
                Ok(())
            }
        }
    }

    /// Gives up the request that the rest begins with: its bytes are dropped, and those that still come are
    /// skipped.
    fn skip(&mut self, bytes: usize, bound: &'static str) -> Result<(), EndReason> {
        let rest = self.rest.take();
        let begun = self.scanner.begin_skip();
        self.skipped = begun.max(1);
        self.pass_over(&rest[begun..])?;
        Err(EndReason::Skipped(bytes, bound))
    }

    fn pass_over(&mut self, arrived: &[u8]) -> Result<(), EndReason> {
        let skipped = self.scanner.skip(arrived).map_err(EndReason::Broken)?;
        self.skipped = self.skipped.saturating_add(skipped.bytes);
        self.rest = arrived[skipped.bytes..].to_vec().into();
        self.intake = if skipped.ended { Intake::Open } else { Intake::Skipping };
        Ok(())
    }

    /// Reads on where what arrives is not looked at.
    #[cold]
    fn poll_skip(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), EndReason>> {
        if self.intake == Intake::Ended || self.takes == 0 {
            return Poll::Ready(Err(EndReason::Closed));
        }
        let buffer = self.buffer.clone();
        let mut buffer = buffer.0.borrow_mut();
        let count = ready!(self.poll_read(cx, &mut buffer))?;
        let mut arrived = self.rest.take();
        arrived.extend_from_slice(&buffer[..count]);
        Poll::Ready(self.pass_over(&arrived))
    }

    /// Reads what has arrived and keeps it for later, at most `bytes_max` bytes. Ready when the client closed
    /// its side, or sent more than that. No request is scanned now, but a client that leaves is noticed.
    pub fn poll_ahead(&mut self, cx: &mut Context<'_>, bytes_max: usize) -> Poll<EndReason> {
        if self.intake == Intake::Ended {
            return Poll::Ready(EndReason::Closed);
        }
        let buffer = self.buffer.clone();
        let mut buffer = buffer.0.borrow_mut();
        while self.rest.len() <= bytes_max {
            if self.takes == 0 {
                return Poll::Pending;
            }
            if !self.ceiling.is_small(self.rest.len()) && !self.ceiling.fits(READ_BYTES) {
                return Poll::Ready(EndReason::Ahead("memory_max"));
            }
            match ready!(self.poll_read(cx, &mut buffer)) {
                Ok(count) => self.rest.extend_from_slice(&buffer[..count]),
                Err(end) => {
                    if matches!(end, EndReason::Closed) {
                        self.intake = Intake::Ended;
                    }
                    return Poll::Ready(end);
                }
            }
        }
        Poll::Ready(EndReason::Ahead("request_bytes_max"))
    }

    /// The bytes that it keeps of what was read.
    #[inline]
    pub fn kept(&self) -> usize {
        self.rest.held() + self.scanner.args_bytes()
    }

    /// Ends the input after the bytes that have arrived by now, as if the client had closed its side. Returns
    /// how many bytes have arrived and were not used yet.
    ///
    /// # Errors
    /// The socket failed.
    pub fn take_no_more(&mut self) -> io::Result<usize> {
        self.takes = self.socket.arrived()?;
        Ok(self.takes + self.rest.len())
    }

    /// Reads what has arrived into `buffer`, as far as it is still taken. Ready with the number of bytes, at
    /// least one.
    #[inline]
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize, EndReason>> {
        let room = buffer.len().min(self.takes);
        Poll::Ready(match ready!(self.socket.poll_read(cx, &mut buffer[..room])) {
            Ok(0) => Err(EndReason::Closed),
            Ok(count) => {
                if self.takes != usize::MAX {
                    self.takes -= count;
                }
                Ok(count)
            }
            Err(error) => Err(EndReason::Failed(error)),
        })
    }

    /// Tells the client that nothing more comes.
    ///
    /// # Errors
    /// The socket failed.
    pub fn half_close(&mut self) -> io::Result<()> {
        self.rest = UnreadBytes::default();
        self.socket.half_close()
    }

    /// Reads what has arrived and throws it away; false at the end of the stream.
    pub fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut buffer = self.buffer.0.borrow_mut();
        self.socket.poll_read(cx, &mut buffer).map_ok(|count| count > 0)
    }

    /// How many bytes of an incomplete request have come, including skipped ones.
    pub fn half_len(&self) -> usize {
        self.rest.len() + if self.intake == Intake::Skipping { self.skipped } else { 0 }
    }

    /// Whether there are any.
    #[inline]
    pub fn has_half(&self) -> bool {
        !self.rest.is_empty() || self.intake == Intake::Skipping
    }

    /// Whether anything was read that has not been walked, if only half a request.
    pub fn has_rest(&self) -> bool {
        !self.rest.is_empty()
    }

    /// Writes what waits, as far as the socket takes it; whether it took any.
    ///
    /// # Errors
    /// The socket failed.
    pub fn flush(&mut self) -> io::Result<bool> {
        self.socket.write(&mut self.out)
    }

    /// Ready when a socket that was full may take more.
    ///
    /// # Errors
    /// The event loop failed.
    pub fn poll_room(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_room(cx)
    }
}
