//! One stream socket, over TCP or a Unix path, in an event loop. Reads and writes go straight to the system
//! call.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

// === impl Socket ===

impl Socket {
    /// Hands the socket to the event loop, for reads alone: a registration for writes too would wake the loop
    /// each time that the peer takes a reply in.
    #[expect(
        deprecated,
        reason = "the new form is unsafe; its condition holds, the socket keeps its descriptor"
    )]
    pub(crate) fn register(self) -> io::Result<AsyncFd<Socket>> {
        match &self {
            Socket::Tcp(stream) => stream.set_nonblocking(true)?,
            Socket::Unix(stream) => stream.set_nonblocking(true)?,
        }
        AsyncFd::with_interest(self, Interest::READABLE)
    }

    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => (&mut &*stream).read(buffer),
            Socket::Unix(stream) => (&mut &*stream).read(buffer),
        }
    }

    /// Writes all of `bytes`. On a non-blocking socket a full send buffer is an error: what is outstanding in
    /// a closed loop is a few KiB at most, so a peer that leaves no room for it has stopped reading.
    pub(crate) fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Socket::Tcp(stream) => (&mut &*stream).write_all(bytes),
            Socket::Unix(stream) => (&mut &*stream).write_all(bytes),
        }
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Socket::Tcp(stream) => stream.as_raw_fd(),
            Socket::Unix(stream) => stream.as_raw_fd(),
        }
    }
}
