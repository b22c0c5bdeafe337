//! One client's connection: its socket as a stream of requests and a queue of replies.
//!
//! Requests are walked in the buffer that all connections of a worker read into, so an idle connection holds no
//! memory for reading; only what is left of an incomplete request is kept here.

use std::cell::{OnceCell, RefCell};
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use crate::resp::request::Request;
use crate::resp::scan::{AHEAD_MAX, ProtocolError, RequestLimits, RequestScanner, Scan};
use crate::socket::{Socket, Stream};
use crate::write_queue::WriteQueue;

/// What one read takes in at most.
const READ_BYTES: usize = 32 * 1024;

/// The buffer that all connections of a worker read into. It is empty between any two polls of them.
#[derive(Clone, Debug)]
pub struct ReadBuffer(Rc<RefCell<Box<[u8]>>>);

/// What to do after a request was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Look at the next one.
    Next,
    /// Take no more for now.
    Pause,
    /// Take no more for now, and show this one again.
    Again,
}

/// Why no more requests come.
#[derive(Debug)]
pub enum Ended {
    /// The client closed its side.
    Closed,
    /// The socket failed.
    Failed(io::Error),
    /// The client sent what is no request.
    Broken(ProtocolError),
    /// The client sent more than may wait while an earlier request of it is carried out.
    Ahead,
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    socket: Socket,
    buffer: ReadBuffer,
    scanner: RequestScanner,
    /// What was read and not walked yet.
    rest: Vec<u8>,
    /// The client closed its side while nothing was looked at.
    ended: bool,
    /// Bytes that are still read from the socket: without end, until the daemon ends.
    takes: usize,
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
    /// The connection over `stream`, whose requests are held to `limits`.
    ///
    /// # Errors
    /// The event loop refused the socket.
    pub fn new(stream: Stream, buffer: ReadBuffer, limits: RequestLimits) -> io::Result<Connection> {
        let socket = Socket::new(stream)?;
        let scanner = RequestScanner::new(limits);
        let out = WriteQueue::default();
        Ok(Connection { socket, buffer, scanner, rest: Vec::new(), ended: false, takes: usize::MAX, out })
    }

    /// Holds the client, from its next request on, to what one may send that has a password to say yet; or no more.
    pub fn restrain(&mut self, restrained: bool) {
        self.scanner.restrain(restrained);
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
    ) -> Poll<Result<(), Ended>> {
        if self.ended || self.takes == 0 {
            return Poll::Ready(Err(Ended::Closed));
        }
        let buffer = self.buffer.clone();
        let mut buffer = buffer.0.borrow_mut();
        let room = buffer.len().min(self.takes);
        let count = match ready!(self.socket.poll_read(cx, &mut buffer[..room])) {
            Ok(0) => return Poll::Ready(Err(Ended::Closed)),
            Ok(count) => count,
            Err(error) => return Poll::Ready(Err(Ended::Failed(error))),
        };
        self.note_taken(count);
        if !self.rest.is_empty() {
            self.rest.extend_from_slice(&buffer[..count]);
            return Poll::Ready(self.walk_rest(ahead, handle));
        }
        let walked = walk(&mut self.scanner, &buffer[..count], &mut self.out, ahead, handle);
        Poll::Ready(walked.map(|walked| self.rest.extend_from_slice(&buffer[walked..count])))
    }

    /// Shows the requests that were read before and put off.
    ///
    /// # Errors
    /// What was read is no request.
    pub fn walk_rest(
        &mut self,
        ahead: impl FnMut(&[u8]),
        handle: impl FnMut(Request<'_>, &mut WriteQueue) -> Flow,
    ) -> Result<(), Ended> {
        let walked = walk(&mut self.scanner, &self.rest, &mut self.out, ahead, handle)?;
        if walked == self.rest.len() {
            self.rest = Vec::new();
        } else {
            self.rest.drain(..walked);
        }
        Ok(())
    }

    /// Reads what has arrived and keeps it for later, `bytes_max` at most. Ready when the client closed its side,
    /// or when it sent more than that: nothing of it is looked at now, and a client that leaves is noticed all the same.
    pub fn poll_ahead(&mut self, cx: &mut Context<'_>, bytes_max: usize) -> Poll<Ended> {
        if self.ended {
            return Poll::Ready(Ended::Closed);
        }
        let buffer = self.buffer.clone();
        let mut buffer = buffer.0.borrow_mut();
        while self.rest.len() <= bytes_max {
            if self.takes == 0 {
                return Poll::Pending;
            }
            let room = buffer.len().min(self.takes);
            match ready!(self.socket.poll_read(cx, &mut buffer[..room])) {
                Ok(0) => {
                    self.ended = true;
                    return Poll::Ready(Ended::Closed);
                }
                Ok(count) => {
                    self.note_taken(count);
                    self.rest.extend_from_slice(&buffer[..count]);
                }
                Err(error) => return Poll::Ready(Ended::Failed(error)),
            }
        }
        Poll::Ready(Ended::Ahead)
    }

    /// Takes what has arrived by now, and nothing that comes later: then its input ends as if the client had closed its side.
    /// Returns how many bytes have arrived and are not done with.
    ///
    /// # Errors
    /// The socket failed.
    pub fn take_no_more(&mut self) -> io::Result<usize> {
        self.takes = self.socket.arrived()?;
        Ok(self.takes + self.rest.len())
    }

    #[inline]
    fn note_taken(&mut self, count: usize) {
        if self.takes != usize::MAX {
            self.takes -= count;
        }
    }

    /// Tells the client that nothing more comes.
    ///
    /// # Errors
    /// The socket failed.
    pub fn half_close(&mut self) -> io::Result<()> {
        self.rest = Vec::new();
        self.socket.half_close()
    }

    /// Reads what has arrived and throws it away; false at the end of the stream.
    pub fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut buffer = self.buffer.0.borrow_mut();
        self.socket.poll_read(cx, &mut buffer).map_ok(|count| count > 0)
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

/// Shows the requests in `bytes` to `handle`; returns how many bytes are done with.
#[inline]
fn walk(
    scanner: &mut RequestScanner,
    bytes: &[u8],
    out: &mut WriteQueue,
    mut ahead: impl FnMut(&[u8]),
    mut handle: impl FnMut(Request<'_>, &mut WriteQueue) -> Flow,
) -> Result<usize, Ended> {
    let (mut at, mut walked) = (0, 0);
    loop {
        let scanned = scanner.scan(&bytes[at..]).map_err(Ended::Broken)?;
        let length = match &scanned {
            Scan::Incomplete => return Ok(at),
            Scan::Nothing(length) | Scan::Request(length) => *length,
            Scan::LargeRequest(length, _) | Scan::Inline(length, _) => *length,
        };
        // A request that came alone has nothing to be fetched together with.
        if walked % AHEAD_MAX == 0 && at + length < bytes.len() {
            ahead(&bytes[at..]);
        }
        walked += 1;
        let flow = match scanned {
            Scan::Incomplete | Scan::Nothing(_) => Flow::Next,
            Scan::Request(_) => {
                let copy = OnceCell::new();
                handle(Request::new(&bytes[at..at + length], scanner.args(), &copy), out)
            }
            Scan::LargeRequest(_, args) => {
                let copy = OnceCell::new();
                handle(Request::new(&bytes[at..at + length], &args, &copy), out)
            }
            Scan::Inline(_, request) => handle(request.as_request(), out),
        };
        match flow {
            Flow::Next => at += length,
            Flow::Pause => return Ok(at + length),
            Flow::Again => return Ok(at),
        }
    }
}
