//! The socket of one upstream connection: connect it, and read whole frames from it.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};

use crate::node::NodeId;
use crate::resp::frame::FrameScanner;
use crate::write_queue::WriteQueue;

/// Room made before each read.
const READ_BYTES: usize = 16 * 1024;

/// A connected socket with what has arrived on it.
#[derive(Debug)]
pub(super) struct Wire {
    stream: Stream,
    arrived: BytesMut,
    scanner: FrameScanner,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

// === impl Wire ===

impl Wire {
    /// Connects to `node`. A dead peer is noticed by the kernel within about `patience`.
    pub(super) async fn connect(node: &NodeId, patience: Duration) -> io::Result<Wire> {
        let address = node.address();
        let stream = if address.starts_with('/') {
            Stream::Unix(UnixStream::connect(address).await?)
        } else {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let socket = SockRef::from(&stream);
            // The kernel counts these in whole seconds and takes no 0.
            let seconds = patience.max(Duration::from_secs(1));
            socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(seconds).with_interval(seconds))?;
            socket.set_tcp_user_timeout(Some(patience))?;
            Stream::Tcp(stream)
        };
        Ok(Wire { stream, arrived: BytesMut::new(), scanner: FrameScanner::default() })
    }

    /// Waits until there is something to read or, if `to_write`, room to write.
    pub(super) async fn ready(&self, to_write: bool) -> io::Result<()> {
        let interest = if to_write { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        match &self.stream {
            Stream::Tcp(stream) => stream.ready(interest).await,
            Stream::Unix(stream) => stream.ready(interest).await,
        }
        .map(drop)
    }

    /// Writes what waits in `queue`, as far as the socket takes it; returns how many bytes it took.
    pub(super) fn write(&self, queue: &mut WriteQueue) -> io::Result<u64> {
        let mut written = 0;
        while !queue.is_empty() {
            let result = queue.write_with(|slices| match &self.stream {
                Stream::Tcp(stream) => stream.try_write_vectored(slices),
                Stream::Unix(stream) => stream.try_write_vectored(slices),
            });
            match result {
                Ok(count) => written += count as u64,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }

    /// Reads what has arrived; `false` when nothing has.
    pub(super) fn read(&mut self) -> io::Result<bool> {
        self.arrived.reserve(READ_BYTES);
        let result = match &self.stream {
            Stream::Tcp(stream) => stream.try_read_buf(&mut self.arrived),
            Stream::Unix(stream) => stream.try_read_buf(&mut self.arrived),
        };
        match result {
            Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed by the node")),
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The next whole frame of what was read.
    pub(super) fn next_frame(&mut self) -> io::Result<Option<Bytes>> {
        let length = self.scanner.scan(&self.arrived);
        let length = length.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(length.map(|length| self.arrived.split_to(length).freeze()))
    }

    /// Whether a frame has arrived in part.
    pub(super) fn is_amid_frame(&self) -> bool {
        !self.arrived.is_empty()
    }

    /// Writes `bytes` and waits for the next frame that is no push, so often as `replies` says.
    pub(super) async fn converse(&mut self, bytes: &Bytes, replies: usize) -> io::Result<Vec<Bytes>> {
        let mut queue = WriteQueue::default();
        queue.push(bytes);
        let mut frames = Vec::with_capacity(replies);
        while frames.len() < replies {
            self.write(&mut queue)?;
            self.ready(!queue.is_empty()).await?;
            self.read()?;
            while let Some(frame) = self.next_frame()? {
                if frame.first() != Some(&b'>') {
                    frames.push(frame);
                }
            }
        }
        Ok(frames)
    }
}
