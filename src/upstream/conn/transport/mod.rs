//! The byte stream of one upstream connection: connects the socket, writes requests, and reads whole frames.
//!
//! Must never know: what a frame means, or which node is meant to answer; `conn/handshake.rs` asks that.
//! Begin with [`Transport`]; another kind of stream, such as TLS, is one more variant of `TransportStream`.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream};
use tokio_util::io::poll_read_buf;

use crate::memory::{MemoryCeiling, MemoryHold, MemoryUse, SMALL_BYTES};
use crate::net::write_queue::WriteQueue;
use crate::node::NodeId;
use crate::protocol::resp::encode;
use crate::protocol::resp::frame::{FrameError, FrameScanner};
use crate::upstream::conn::connect;
use crate::upstream::conn::inbox::Inbox;
use crate::upstream::conn::non_redis;
use crate::upstream::options::UpstreamOptions;
use crate::upstream::shared::SharedUpstream;

/// Room made before each read.
const READ_BYTES: usize = 16 * 1024;

/// Bytes that the kernel may hold unsent: the progress of a large request is measured by the bytes that the
/// kernel accepts.
const UNSENT_BYTES_MAX: u32 = 128 * 1024;

/// The buffer is given back once it has grown for a reply longer than this, and little is left in it.
const KEPT_CAPACITY_BYTES_MAX: usize = 256 * 1024;

/// Replaces a reply that is too long.
const TOO_LONG: &str = "OOM nearside: a reply is longer than upstream_reply_bytes_max; the command was sent, and what it did stands; the reply was passed over";

/// What became of its command.
const PASSED_OVER: &str = "the command was sent, and what it did stands; the reply was passed over";

/// A connected socket with what has arrived on it.
#[derive(Debug)]
pub(in crate::upstream) struct Transport {
    stream: TransportStream,
    arrived: BytesMut,
    /// A long reply stood in the buffer, which has been that large since.
    is_outgrown: bool,
    scanner: FrameScanner,
    /// What has arrived in part, and what was cut.
    partial: MemoryHold,
    /// Bytes of the large frames that were handed on since others had their turn: they are not counted
    /// elsewhere yet.
    cut: usize,
    /// Others have their turn.
    waits: bool,
    /// The error that replaces a frame which is passed over.
    refusal: String,
    /// Bytes that were read since the last call of [`Transport::take_received`].
    received: u64,
    /// Whether the first bytes have shown what kind of server answers.
    is_known: bool,
    /// The view of what has arrived, for the readers of L1.
    inbox: Option<Arc<Inbox>>,
    /// The last read took all that was there.
    is_drained: bool,
}

/// What happened on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::upstream) enum TransportEvent {
    /// Something was read.
    Read,
    /// There may be room to write.
    Room,
}

#[derive(Debug)]
enum TransportStream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

// === impl Transport ===

impl Transport {
    /// Connects to `node`: each step of it within `connect_timeout`, so there is no need to bound it once
    /// more. A dead peer is noticed by the kernel within about the time that a reply may take.
    pub(in crate::upstream) async fn connect(
        node: &NodeId,
        options: &UpstreamOptions,
        shared: &SharedUpstream,
    ) -> io::Result<Transport> {
        let (address, request_timeout) = (node.address(), options.request_timeout);
        let stream = if address.starts_with('/') {
            let connecting = UnixStream::connect(address);
            TransportStream::Unix(
                connect::in_time(connecting, options.connect_timeout, "no connection").await?,
            )
        } else {
            let stream = connect::connect(address, options.connect_timeout, &shared.names).await?;
            stream.set_nodelay(true)?;
            let socket = SockRef::from(&stream);
            // The kernel counts these in whole seconds and takes no 0.
            let seconds = request_timeout.max(Duration::from_secs(1));
            socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(seconds).with_interval(seconds))?;
            socket.set_tcp_user_timeout(Some(request_timeout))?;
            socket.set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
            TransportStream::Tcp(stream)
        };
        Ok(Transport::new(stream, options.reply_bytes_max, &shared.ceiling))
    }

    fn new(stream: TransportStream, reply_bytes_max: usize, ceiling: &Arc<MemoryCeiling>) -> Transport {
        Transport {
            stream,
            arrived: BytesMut::new(),
            is_outgrown: false,
            scanner: FrameScanner::new(reply_bytes_max),
            partial: ceiling.hold(MemoryUse::Replies),
            cut: 0,
            waits: false,
            refusal: String::new(),
            received: 0,
            is_known: false,
            inbox: None,
            is_drained: false,
        }
    }

    /// The view of its unread bytes, for lookups in L1. Each read has to be processed before the next one.
    ///
    /// # Errors
    /// There is no descriptor left.
    pub(in crate::upstream) fn inbox(&mut self, heartbeat_interval: Duration) -> io::Result<Arc<Inbox>> {
        if let Some(inbox) = &self.inbox {
            return Ok(inbox.clone());
        }
        let inbox = Arc::new(match &self.stream {
            TransportStream::Tcp(stream) => Inbox::new(stream, heartbeat_interval),
            TransportStream::Unix(stream) => Inbox::new(stream, heartbeat_interval),
        }?);
        Ok(self.inbox.insert(inbox).clone())
    }

    /// Whether the last read took all that had arrived.
    pub(in crate::upstream) fn is_drained(&self) -> bool {
        self.is_drained
    }

    /// Sets the most bytes of a reply or push from here on.
    pub(in crate::upstream) fn bound_replies(&mut self, bytes_max: usize) {
        self.scanner.bound(bytes_max);
    }

    /// Waits until something was read or, if `to_write`, until there may be room to write. Nothing is lost
    /// when the wait is given up.
    pub(in crate::upstream) async fn event(&mut self, to_write: bool) -> io::Result<TransportEvent> {
        poll_fn(|cx| self.poll_event(cx, to_write)).await
    }

    fn poll_event(&mut self, cx: &mut Context<'_>, to_write: bool) -> Poll<io::Result<TransportEvent>> {
        self.arrived.reserve(READ_BYTES);
        if std::mem::take(&mut self.waits) {
            self.cut = 0;
        }
        if let Some(inbox) = &self.inbox {
            inbox.set_taking(true);
        }
        let read = match &mut self.stream {
            TransportStream::Tcp(stream) => poll_read_buf(Pin::new(stream), cx, &mut self.arrived),
            TransportStream::Unix(stream) => poll_read_buf(Pin::new(stream), cx, &mut self.arrived),
        };
        self.waits = read.is_pending();
        if self.waits
            && let Some(inbox) = &self.inbox
        {
            inbox.set_taking(false);
        }
        self.is_drained = self.arrived.len() < self.arrived.capacity();
        match (read, to_write) {
            (Poll::Ready(Ok(0)), _) => {
                Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed by the node")))
            }
            (Poll::Ready(read), _) => {
                self.received += *read.as_ref().unwrap_or(&0) as u64;
                Poll::Ready(read.map(|_| TransportEvent::Read))
            }
            (Poll::Pending, false) => Poll::Pending,
            (Poll::Pending, true) => match &self.stream {
                TransportStream::Tcp(stream) => stream.poll_write_ready(cx),
                TransportStream::Unix(stream) => stream.poll_write_ready(cx),
            }
            .map_ok(|()| TransportEvent::Room),
        }
    }

    /// Writes what waits in `queue`, as far as the socket takes it; returns how many bytes it took.
    pub(in crate::upstream) fn write(&self, queue: &mut WriteQueue) -> io::Result<u64> {
        let mut written = 0;
        while !queue.is_empty() {
            let result = queue.write_with(|slices| match &self.stream {
                TransportStream::Tcp(stream) => stream.try_write_vectored(slices),
                TransportStream::Unix(stream) => stream.try_write_vectored(slices),
            });
            match result {
                Ok(count) => written += count as u64,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }

    /// The next whole frame. A reply that is too long, or for which there is no memory, is replaced by an
    /// error that says so; its bytes are skipped, and later replies come after it.
    pub(in crate::upstream) fn next_frame(&mut self) -> io::Result<Option<Bytes>> {
        let broken = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        if self.scanner.is_passing() {
            return self.pass().map_err(broken);
        }
        let is_push = self.arrived.first() == Some(&b'>');
        let length = match self.scanner.scan(&self.arrived) {
            // It would be unknown what became stale.
            Err(error @ FrameError::TooLong) if is_push => return Err(broken(error)),
            Err(FrameError::TooLong) => {
                self.refusal = TOO_LONG.to_owned();
                return self.refuse().map_err(broken);
            }
            other => other.map_err(broken)?,
        };
        let Some(length) = length else {
            let arrived = self.arrived.len();
            let announced = self.scanner.announced().max(arrived);
            let ceiling = self.partial.ceiling();
            if !ceiling.is_small(announced) && !ceiling.fits(announced - arrived) {
                if is_push {
                    return Err(broken(FrameError::TooLong));
                }
                self.refusal = ceiling.refusal("a reply", announced, PASSED_OVER);
                return self.refuse().map_err(broken);
            }
            self.partial.set(arrived + self.cut);
            if announced > SMALL_BYTES {
                // At once, and not by doubling again and again.
                self.arrived.reserve(announced - arrived + READ_BYTES);
            }
            return Ok(None);
        };
        let frame = self.arrived.split_to(length).freeze();
        self.is_outgrown |= length > KEPT_CAPACITY_BYTES_MAX;
        if length > SMALL_BYTES {
            self.cut += length;
            self.partial.set(self.arrived.len() + self.cut);
        }
        if self.is_outgrown && self.arrived.len() <= KEPT_CAPACITY_BYTES_MAX {
            // Otherwise the buffer would take the memory of the frame again once that is dropped, and keep
            // it.
            self.arrived = BytesMut::from(&self.arrived[..]);
            self.is_outgrown = false;
        }
        Ok(Some(frame))
    }

    /// Gives up the frame that has arrived in part.
    fn refuse(&mut self) -> Result<Option<Bytes>, FrameError> {
        self.partial.ceiling().counts.replies_refused.fetch_add(1, Ordering::Relaxed);
        self.scanner.begin_pass();
        self.pass()
    }

    /// Skips the bytes of a frame that have arrived. Returns the error that replaces it once it has ended.
    fn pass(&mut self) -> Result<Option<Bytes>, FrameError> {
        let passed = self.scanner.pass(&self.arrived)?;
        self.arrived.advance(passed.bytes);
        if self.arrived.len() <= KEPT_CAPACITY_BYTES_MAX {
            // What it stood in may be large.
            self.arrived = BytesMut::from(&self.arrived[..]);
            self.is_outgrown = false;
        }
        self.partial.set(self.arrived.len() + self.cut);
        Ok(passed.ended.then(|| encode::error_reply(std::mem::take(&mut self.refusal))))
    }

    /// How many bytes were read since the last call.
    pub(in crate::upstream) fn take_received(&mut self) -> u64 {
        std::mem::take(&mut self.received)
    }

    /// Whether arriving bytes are skipped, because they belong to a reply that was refused.
    pub(in crate::upstream) fn is_passing(&self) -> bool {
        self.scanner.is_passing()
    }

    /// Whether a frame has arrived in part.
    pub(in crate::upstream) fn is_amid_frame(&self) -> bool {
        !self.arrived.is_empty() || self.scanner.is_passing()
    }

    /// The least length of the frame that has arrived in part, once [`Self::next_frame`] found no whole one.
    pub(in crate::upstream) fn expected(&self) -> Option<usize> {
        let announced = || self.scanner.announced().max(self.arrived.len());
        self.is_amid_frame().then(|| if self.scanner.is_passing() { usize::MAX } else { announced() })
    }

    /// The least length of a reply, not a push, that has arrived in part; 0 where none has.
    pub(in crate::upstream) fn expected_reply(&self) -> usize {
        let is_push = self.arrived.first() == Some(&b'>') && !self.scanner.is_passing();
        if is_push { 0 } else { self.expected().unwrap_or(0) }
    }

    /// Whether no unread byte waits on it, and not its end. Asks the kernel, because the event loop may not
    /// know yet.
    pub(in crate::upstream) fn is_quiet(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        let peeked = match &self.stream {
            TransportStream::Tcp(stream) => SockRef::from(stream).peek(&mut byte),
            TransportStream::Unix(stream) => SockRef::from(stream).peek(&mut byte),
        };
        !self.is_amid_frame() && peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Whether `frame` replaces a reply that was too long.
    pub(in crate::upstream) fn is_in_place_of_a_long_one(frame: &[u8]) -> bool {
        frame.strip_prefix(b"-").is_some_and(|text| text.starts_with(TOO_LONG.as_bytes()))
    }

    /// Whether a reply was too long, or a connection ended because one was: it would be as long the next
    /// time.
    pub(in crate::upstream) fn is_about_length(replies: &io::Result<Vec<Bytes>>) -> bool {
        match replies {
            Ok(replies) => replies.iter().any(|reply| Transport::is_in_place_of_a_long_one(reply)),
            Err(error) => {
                let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
                cause == Some(&FrameError::TooLong)
            }
        }
    }

    /// Writes `bytes` and waits for `replies` frames that are no pushes. Checks the first frame as soon as it
    /// is there: if it is wrong, the others are not waited for.
    pub(in crate::upstream) async fn round_trip(
        &mut self,
        bytes: &Bytes,
        replies: usize,
        mut judge: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<Vec<Bytes>> {
        let mut queue = WriteQueue::default();
        queue.push(bytes);
        let mut frames = Vec::with_capacity(replies);
        while frames.len() < replies {
            let came = match self.write(&mut queue) {
                Ok(_) => self.event(!queue.is_empty()).await,
                Err(error) => Err(error),
            };
            // Of a long reply the beginning is taken out before its end has come.
            if !self.is_known {
                if let Some(text) = non_redis::describe(&self.arrived, came.is_err()) {
                    return Err(io::Error::new(io::ErrorKind::Unsupported, text));
                }
                self.is_known = self.arrived.len() >= non_redis::TELLING_BYTES;
            }
            came.map_err(|error| if self.received == 0 { non_redis::unanswered(error) } else { error })?;
            while let Some(frame) = self.next_frame()? {
                if frame.first() != Some(&b'>') {
                    if frames.is_empty() {
                        judge(&frame)?;
                    }
                    frames.push(frame);
                }
            }
        }
        Ok(frames)
    }
}

#[cfg(test)]
mod tests;
